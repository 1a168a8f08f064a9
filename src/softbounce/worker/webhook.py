"""Notices to people's own systems: one signed POST each, after Standard Webhooks 1.0."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec.json import encode as to_json
from standardwebhooks import Webhook

from softbounce.errors import StoreUnreachable
from softbounce.settings import secret_trouble, signing_keys
from softbounce.worker.sinks import Handed, MayBegin, Message

if TYPE_CHECKING:
    from urllib3 import PoolManager

HAD_IT = 409  # the receiver knows the id already


class ToWebhook:
    """POSTs to one address, signed with every secret that a variable holds, redirects never followed.

    The variable holds ``whsec_`` and base64; two, separated by a space, while a secret is replaced.
    """

    def __init__(self, url: str, *, secret: str, timeout: float, now: Callable[[], int]) -> None:
        """``secret`` names the variable; ``timeout`` in seconds, ``now`` in ms since 1970."""
        self.name = f"webhook:{urlsplit(url).hostname}"  # the path may be a secret of its own
        self._url, self._secret, self._timeout, self._now = url, secret, timeout, now
        self._pool: PoolManager | None = None

    def deliver(self, messages: Sequence[Message], may_begin: MayBegin) -> Handed:
        """Send one request a message; any 2xx has taken it, 409 had it already, the rest comes again.

        Raises ``StoreUnreachable``: the time comes from there.
        """
        for count, (name, body) in enumerate(messages):
            if not may_begin():
                return Handed(count=count)
            try:
                failure = self._post(name, to_json(body).decode())
            except StoreUnreachable:
                raise
            except Exception as error:  # noqa: BLE001 - any refusal rests; urllib3's own words may name the path
                failure = f"{type(error).__name__} on the way to {self.name}"
            if failure:
                return Handed(count=count, failure=failure)
        return Handed(count=len(messages))

    def _post(self, ident: str, body: str) -> str:
        """Return why it was not taken, or nothing."""
        if wrong := secret_trouble(self._secret):
            return wrong
        now = datetime.fromtimestamp(self._now() // 1000, UTC)
        signatures = [Webhook(key).sign(ident, now, body) for key in signing_keys(self._secret)]
        answer = self._client.request(
            "POST",
            self._url,
            body=body.encode(),
            headers={
                "content-type": "application/json",
                "user-agent": "softbounce",
                "webhook-id": ident,
                "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": " ".join(signatures),
            },
            redirect=False,
            preload_content=False,  # what it says beside the status may be endless
        )
        answer.close()
        is_taken = 200 <= answer.status < 300 or answer.status == HAD_IT  # noqa: PLR2004 - the class of success
        return "" if is_taken else f"{self.name} answers {answer.status}"

    @property
    def _client(self) -> "PoolManager":
        if self._pool is None:
            from urllib3 import PoolManager, Timeout  # noqa: PLC0415 - 40 ms that most workers never need

            self._pool = PoolManager(retries=False, timeout=Timeout(total=self._timeout))
        return self._pool
