"""Notices to people's own systems: one signed POST each, after Standard Webhooks 1.0."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec.json import encode as to_json
from standardwebhooks import Webhook

from softbounce.errors import InvalidSettings
from softbounce.worker.sinks.sink import Handed, MayBegin, Message
from softbounce.worker.sinks.target_secrets import signing_keys

if TYPE_CHECKING:
    from softbounce.worker.sinks.http import HttpClient

HAD_IT = 409  # the status of a receiver that knows the id already


class ToWebhook:
    """POSTs to one address, signed with every secret that a variable holds, redirects never followed.

    The variable holds ``whsec_`` and base64; two, separated by a space, while a secret is replaced.
    """

    def __init__(self, url: str, *, secret: str, timeout: float, now: Callable[[], int]) -> None:
        """``secret`` names the variable; ``timeout`` in seconds, of one request; ``now`` in ms since 1970."""
        self.name = f"webhook:{urlsplit(url).hostname}"  # the path may be a secret of its own
        self._url, self._secret, self._timeout, self._now = url, secret, timeout, now
        self._http: HttpClient | None = None

    def deliver(self, messages: Sequence[Message], may_begin: MayBegin) -> Handed:
        """Send one request per message. Any 2xx has taken it, 409 had it already; others are tried again.

        Raises ``StoreUnreachable``, because the time comes from the store.
        """
        try:
            keys = [Webhook(key) for key in signing_keys(self._secret)]
        except InvalidSettings as error:
            return Handed(count=0, failure=str(error))
        now = datetime.fromtimestamp(self._now() // 1000, UTC)
        for count, (name, body) in enumerate(messages):
            if not may_begin():
                return Handed(count=count)
            try:
                status = self._post(name, to_json(body).decode(), keys=keys, now=now)
            except TimeoutError as error:
                return Handed(count=count, failure=f"{error} from {self.name}")
            except Exception as error:  # noqa: BLE001 - any refusal rests; urllib3's own words may name the path
                return Handed(count=count, failure=f"{type(error).__name__} on the way to {self.name}")
            if not 200 <= status < 300 and status != HAD_IT:  # noqa: PLR2004 - the class of success
                return Handed(count=count, failure=f"{self.name} answers {status}")
        return Handed(count=len(messages))

    def _post(self, ident: str, body: str, *, keys: Sequence[Webhook], now: datetime) -> int:
        headers = {
            "content-type": "application/json",
            "user-agent": "softbounce",
            "webhook-id": ident,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(key.sign(ident, now, body) for key in keys),
        }
        return self._client.post(self._url, body.encode(), headers).status

    @property
    def _client(self) -> "HttpClient":
        if self._http is None:
            from softbounce.worker.sinks.http import HttpClient  # noqa: PLC0415 - 40 ms that most workers never need

            self._http = HttpClient(limit=self._timeout)
        return self._http
