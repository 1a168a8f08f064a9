"""Notices to people by whatever apprise knows: Slack, e-mail, PagerDuty and a hundred more."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from softbounce.errors import InvalidSettings
from softbounce.worker.sinks.sink import Handed, MayBegin, Message
from softbounce.worker.sinks.target_secrets import apprise_url

if TYPE_CHECKING:
    from apprise import Apprise


class ToApprise:
    """Sends the text of each notice to the one address that a variable holds. Logs name the variable.

    A plugin's time-out is for each read, so ``deliver`` may take long: call it in a thread of its own.
    """

    def __init__(self, variable: str) -> None:
        """``variable`` names where the address stands."""
        self.name = f"apprise:{variable}"
        self._variable = variable

    def deliver(self, messages: Sequence[Message], may_begin: MayBegin) -> Handed:
        """Send one message per notice; the id in its last line is the same when it is sent again."""
        try:
            target = self._target()
        except InvalidSettings as error:
            return Handed(count=0, failure=str(error))
        for count, (name, body) in enumerate(messages):
            if not may_begin():
                return Handed(count=count)
            try:
                is_taken = target.notify(**_notification(name, body))
            except Exception as error:  # noqa: BLE001 - any refusal rests; a plugin's own words may hold the address
                return Handed(count=count, failure=f"{type(error).__name__} on the way to {self.name}")
            if not is_taken:
                return Handed(count=count, failure=f"{self.name} did not take it")
        return Handed(count=len(messages))

    def _target(self) -> "Apprise":
        """Return apprise with the one address. Raises ``InvalidSettings``."""
        url = apprise_url(self._variable)
        from apprise import Apprise, AppriseAsset  # noqa: PLC0415 - an extra, and half a second

        # With a time-out apprise leaves hung calls in a pool of few threads, which all its targets share and
        # the exit of the process waits for. Without one it calls in our own thread.
        asset = AppriseAsset(app_id="softbounce", service_timeout=0, http_redirects=False)
        target = Apprise(asset=asset)
        if not target.add(url) or len(target) != 1:
            message = f"the variable {self._variable} holds not one address that apprise knows"
            raise InvalidSettings(message)
        return target


def _notification(ident: str, body: Any) -> dict[str, Any]:  # noqa: ANN401 - the body of a group's notice
    kind = str(body["type"]).removeprefix("softbounce.").replace("_", " ")
    return {
        "title": f"softbounce: {body['count']} {kind}",
        "body": f"{body['text']}\n{ident}",
        "body_format": "text",
        "notify_type": "warning" if kind == "escalated" else "info",
    }
