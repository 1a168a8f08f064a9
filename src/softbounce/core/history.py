"""What happened to a delivery, line by line: the store keeps short names, everybody else says these."""

from msgspec import Struct, field
from msgspec.json import Decoder


class HistoryLine(Struct, frozen=True, kw_only=True):
    """One thing that happened. Times are ms, unless they end in ``_s``."""

    at: int = field(name="t")  # when the store wrote it
    recipient: str = field(name="y", default="")  # the delivery's id without the reference
    kind: str = field(name="k")  # failed, delivered, resent, observed, hurried, replanned, held, an outcome
    outcome: str | None = field(name="o", default=None)  # of a report
    attempt: int = field(name="a", default=0)
    due_s: int | None = field(name="d", default=None)  # of the next try
    case: str | None = field(name="c", default=None)
    escalated: int = field(name="x", default=0)  # 1: this report escalated its recipient
    note: str | None = field(name="n", default=None)
    # of a report, as it came; never the address
    dated_s: int | None = field(name="at", default=None)
    event_id: str | None = field(name="id", default=None)
    type: str | None = None
    code: str | None = None
    smtp: str | None = None
    text: str | None = None  # the pattern of policy that its message held and that decided
    shown: str | None = field(name="to", default=None)  # the masked address
    do: str | None = None  # where it is not the rule's
    country: str | None = None
    domain: str | None = None
    operator: str | None = None
    campaign: str | None = None
    provider: str | None = None
    zone: str | None = None
    no_zone: str | None = None  # a timezone that names none, and was left out
    until: int | None = None  # its notAfter
    endless: bool = False  # its notAfter was no date that anybody means, and was left out
    misdated: str | None = None  # why its date was not used
    unread: str | None = None  # why its recipient cannot be read, or which of several was left out
    several: int = 1  # how many recipients it named

    @property
    def dated(self) -> int:
        """When it happened, as the report says, else when the store wrote it."""
        return self.at if self.dated_s is None else self.dated_s * 1000


read_lines = Decoder(HistoryLine).decode_lines
