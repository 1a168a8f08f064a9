"""What the ledger must do, said once more in plain Python, from the design and not from the scripts."""

from dataclasses import dataclass, field

LATE = 5 * 60_000  # ms; a failure dated so much before the newest claim still answers it
STRIKES = 3
DELAYS = {"SMS_EXPIRED": (60_000, 120_000, 240_000), "PROVIDER_ERROR": (30_000, 60_000)}
POLICY = """\
version: 1
limits: {max_attempts: 4, min_delay: 1s, resends_per_recipient: 900/1d, resends_per_claim: 900/1d, handover_rate: 9000/s}
defaults:
  retry: {jitter: 0%, give_up_after: 13d}
  soft_bounce: {escalate_at: 3, within: 12d, apart: 0s, then: notify}
codes:
  SMS_EXPIRED: {do: retry, fault: recipient, retry: {delays: [60s, 120s, 240s]}}
  PROVIDER_ERROR: {do: retry, fault: provider, retry: {delays: [30s, 60s]}}
  INVALID_MOBILE_NUMBER: {do: suppress, fault: recipient}
  PLACEHOLDER_ERROR: {do: hold, fault: message}
  DEADLINE_EXCEEDED: {do: drop, fault: message}
"""
MAX_ATTEMPTS = 4


@dataclass
class Message:
    """One message to its recipient."""

    to: str
    state: str = "new"  # waiting leased out held ended
    ended: str = ""
    attempt: int = 0
    answered: dict[str, int] = field(default_factory=lambda: {"SMS_EXPIRED": 0, "PROVIDER_ERROR": 0})
    due: int = 0  # or the end of the lease
    token: int = 0
    strikes: int = 0
    claimed: int = 0
    counted: int = 0  # the newest try that was ever claimed
    arrived: bool = False  # before anything failed

    def end(self, how: str) -> str:
        """End it, and say how."""
        self.state, self.ended = "ended", how
        return how


@dataclass
class Model:
    """All messages, and what binds them."""

    messages: dict[str, Message] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    suppressed: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)
    bounced: dict[str, set[str]] = field(default_factory=dict)  # recipient -> messages
    escalated: set[str] = field(default_factory=set)
    mode: str = "on"
    closed_until: int = 0  # the breaker that a person opened

    def failed(
        self, event: str, ref: str, to: str, code: str, *, at: int, now: int, resend: int = 0
    ) -> tuple[str, bool]:
        """Return the outcome of a failure report, and whether it escalates its recipient."""
        if event in self.seen:
            return "duplicate", False
        self.seen.add(event)
        m = self.messages.setdefault(ref, Message(to))
        escalates = self._bounced(m, ref, code)
        return self._failed(m, ref, code, at=at, now=now, resend=resend), escalates

    def _bounced(self, m: Message, ref: str, code: str) -> bool:
        if code != "SMS_EXPIRED" or m.ended == "delivered":
            return False
        bounced = self.bounced.setdefault(m.to, set())
        bounced.add(ref)
        if len(bounced) < 3 or m.to in self.escalated:
            return False
        self.escalated.add(m.to)
        return True

    def _failed(self, m: Message, ref: str, code: str, *, at: int, now: int, resend: int) -> str:
        if m.state == "waiting" and resend == m.attempt == m.counted:
            m.state = "leased"  # it waits as if it had not left, and yet somebody answers it
        answers = m.state in ("leased", "out") and (
            resend == m.attempt or (not resend and at >= m.claimed - LATE)
        )
        if answers:
            m.token += m.state == "leased"
            if code in m.answered:
                m.answered[code] += 1
        if code == "INVALID_MOBILE_NUMBER":
            self.suppressed.add(m.to)
            if m.ended != "delivered":
                m.end("suppressed")
            return "suppressed"
        if m.state == "ended":
            return "ended"
        if ref in self.cancelled:
            return m.end("cancelled")
        if m.state == "held":
            return "held"
        if m.to in self.suppressed:
            return m.end("suppressed")
        if code == "PLACEHOLDER_ERROR":
            m.state = "held"
            return "held"
        if m.state == "waiting":
            return "coalesced"
        if m.state != "new" and not answers:
            return "superseded"
        if code == "DEADLINE_EXCEEDED":
            return m.end("given_up")
        done = m.answered[code]
        if m.attempt >= MAX_ATTEMPTS or done >= len(DELAYS[code]):
            return m.end("given_up")
        m.state, m.attempt, m.strikes = "waiting", m.attempt + 1, 0
        m.due = max(at + DELAYS[code][done], now + 1000)
        return "scheduled"

    def delivered(self, ref: str, to: str) -> str:
        """Return the outcome of a delivery report."""
        m = self.messages.setdefault(ref, Message(to))
        if m.arrived:
            return "duplicate"  # under whatever id, as no record of it keeps one
        self.bounced.pop(to, None)
        if m.ended == "delivered":
            return "ended"
        m.arrived = m.state == "new"
        m.end("delivered")
        return "delivered"

    def due(self, now: int) -> set[str]:
        """Return what a claim may look at."""
        return {ref for ref, m in self.messages.items() if m.state in ("waiting", "leased") and m.due <= now}

    def verdict(self, ref: str) -> str:
        """Return how a due retry ends instead of leaving, or an empty text."""
        m = self.messages[ref]
        if ref in self.cancelled:
            return "cancelled"
        if m.to in self.suppressed:
            return "suppressed"
        return "held" if m.strikes >= STRIKES else ""

    def claim(self, ref: str, *, now: int, lease: int) -> int:
        """Lease one retry and return its token."""
        m = self.messages[ref]
        m.state, m.token, m.strikes, m.claimed, m.counted = (
            "leased",
            m.token + 1,
            m.strikes + 1,
            now,
            m.attempt,
        )
        m.due = now + lease
        return m.token

    def finish(self, ref: str, token: int, result: str, *, now: int, delay: int) -> str:
        """Return the answer to a hand-over that has ended."""
        m = self.messages[ref]
        if token != m.token or m.state != "leased":
            again = ("waiting",) if result == "later" else ("out", "ended")
            return "done" if token == m.token and m.state in again else "stale"
        if result == "handed_over":
            m.state, m.strikes = "out", 0
        elif result == "later":  # its own strike is taken back, those of crashes stay
            m.state, m.due, m.strikes = "waiting", now + delay, m.strikes - 1
        else:
            m.end("cancelled")
        return "done"
