"""A policy as softbounce applies it: typed, merged, immutable. ``core.policy.file`` reads it from YAML.

All durations are milliseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from softbounce.core.durations import HOUR
from softbounce.core.reasons import Fault
from softbounce.core.recipients import Channel

Failure = tuple[str | None, Channel | None, str | None, str | None]  # code, channel, merchant, status
MOST_CACHED = 10_000  # cached rules; most policies have fewer combinations


class Disposition(StrEnum):
    """What policy decides about a failure."""

    RETRY = "retry"
    SUPPRESS = "suppress"
    HOLD = "hold"
    DROP = "drop"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a value of a rule comes from, for ``explain``."""

    value: str  # as an operator writes it: "90m 4h 12h 24h", "20:00-08:00"
    layer: str  # "defaults", "channels.sms", "merchants.42", "codes.X", "merchants.42.codes.X", "built-in"
    line: int  # 0: built in, -1: a what-if
    below: tuple["Source", ...] = ()  # the values that it replaced, the most recent one last

    @property
    def replaces(self) -> str | None:
        """The value that it replaced: ``backoff 1h x2, :11``."""
        if not self.below:
            return None
        last = self.below[-1]
        return f"{last.value}, {f':{last.line}' if last.line else 'built-in'}"


LEAST_SENDABLE = 6 * HOUR  # with fewer sendable hours a day the tries crowd


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuietHours:
    """When nothing may leave: from ``start`` to ``end``, in minutes of the local day; may pass midnight.

    ``eq=False``: the cache of nights compares by identity, because hashing six fields cost 0.5 us a try.
    """

    start: int
    end: int
    zone: str  # "recipient", or a fixed IANA name
    days: frozenset[int]  # 0 = Monday; the days on which quiet hours start
    spread: int  # moved tries are spread over so many ms after the end


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftBounce:
    """When repeated soft bounces of one recipient open a case."""

    count: str  # messages | events
    escalate_at: int
    within: int
    apart: int
    reset_on: str  # delivered | never
    then: str  # notify | hold | suppress
    hold_for: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionTerm:
    """How long a suppression lasts, and for which merchants."""

    expires: int | None  # None: never
    scope: str  # all | merchant
    origin: str  # event | provider


@dataclass(frozen=True, slots=True, kw_only=True)
class Brake:
    """When sudden new suppressions of a group become provisional, and one incident."""

    by: tuple[str, ...]  # some of code, country, domain
    more_than: int
    within: int
    times_usual: float
    lasts: int  # ms that a provisional suppression lasts

    def group(self, code: str, country: str | None, domain: str | None) -> str:
        """Return the group that a suppression counts in."""
        known = {"code": code, "country": country, "domain": domain}
        return " ".join(value for name in self.by if (value := known[name]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """How many reports it takes to suppress a recipient."""

    reports: int
    within: int
    apart: int
    meanwhile: Disposition  # RETRY | DROP


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The merged rule for one (code, channel, merchant, SMTP reply), within the limits."""

    name: str  # "codes.SMS_EXPIRED", "merchants.42.codes.X", "defaults.unknown_code", "defaults.unclassified"
    line: int
    do: Disposition
    fault: Fault
    off: bool  # whether any level says retry: off
    delays: tuple[int, ...]  # before jitter, one for each try; () if it allows none
    jitter: float | None  # largest relative deviation; None: full, anything from 0 to the delay
    give_up_after: int
    settle: int
    then: str  # review | suppress | drop
    quiet_hours: QuietHours | None
    timezone: str  # used if the recipient's zone is not known
    several_recipients: Disposition  # RETRY | HOLD
    soft_bounce: SoftBounce
    suppression: SuppressionTerm
    confirm: Confirm | None
    texts: tuple[str, ...] = ()  # the patterns that its ``when`` looks for in a reply's text
    text: str | None = None  # the pattern by which a branch of ``when`` applied
    sources: dict[str, Source] = field(default_factory=dict, compare=False)  # "do", "retry.delays", ...

    @property
    def retries(self) -> bool:
        """Whether a first report is tried again."""
        return is_retried(self.do, self.confirm)


def is_retried(do: Disposition, confirm: Confirm | None) -> bool:
    """Return whether the first report is retried, also while ``confirm`` waits for another one."""
    return do is Disposition.RETRY or (confirm is not None and confirm.meanwhile is Disposition.RETRY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """At most ``count`` in ``per`` ms."""

    count: int
    per: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits for all rules and merchants."""

    max_attempts: int
    min_delay: int
    resends_per_recipient: Rate
    resends_per_claim: Rate
    handover_rate: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """When resends to a provider stop for a while."""

    failures: float  # share of the answers that opens it, 0 to 1
    of_last: int
    least: int
    within: int
    base: int  # how long it stays open at first
    factor: float
    cap: int
    probe: int
    ramp_up: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Limits for one provider; None: no limit."""

    rate: Rate | None
    breaker: Breaker | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long each kind of state is kept."""

    dedupe: int
    history: int
    cancelled: int
    dead_letters: int
    audit: int
    closed_cases: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where notices for people go."""

    name: str
    type: str  # log | celery | stream | webhook | apprise
    task: str | None = None
    queue: str | None = None
    stream: str | None = None
    url: str | None = None
    secret: str | None = None  # name of the variable with the secret; apprise: with the whole URL


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """How notices for people are grouped: one notice for all with the same values of ``by``."""

    by: tuple[str, ...]  # some of merchant, channel, code
    wait: int  # ms from the first notice of a group until it is sent
    repeat: int  # least ms between two notices of a group


def fold(text: str) -> str:
    """Return the form in which a reply's text and a pattern are compared: no capitals, single blanks."""
    return " ".join(text.casefold().split())


class Resolve(Protocol):
    """Merge all levels of a policy file into one rule."""

    def __call__(
        self,
        *,
        code: str | None,
        channel: Channel | None,
        merchant: str | None,
        smtp: str | None,
        found: tuple[str, ...] = (),
    ) -> Rule:
        """Return the rule; ``found``: the patterns of its ``when`` that the text holds. Never raise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A whole policy file, checked. ``core.policy.file.load`` makes it."""

    revision: str  # 8 hex digits of the hash of the file's text
    name: str
    file: str  # as given: "config/policy.yaml"
    limits: Limits
    retention: Retention
    brake: Brake | None  # None: off
    providers: Mapping[str, Provider]  # "*" is for providers without an entry
    feedback: str  # delivered | none
    unanswered_after: int  # ms past its deadline after which a resend without an answer has ended
    unreadable_recipient: Disposition  # HOLD | RETRY
    lacks_plus: bool  # whether a report's digits without a plus are an international number
    ignore_failures_before: int | None  # ms; None: never
    codes: tuple[str, ...]  # the names under codes:, in the file's order
    rules: tuple[tuple[str, int], ...]  # name and line of every rule about codes
    merchants: frozenset[str]
    replies: frozenset[tuple[str, str, str]]  # code, status and text of every pattern of a ``when``
    targets: Mapping[str, Target]
    notify: tuple[Target, ...]
    grouping: Grouping
    resolve: Resolve = field(repr=False, compare=False)
    _rules: dict[tuple[Failure, tuple[str, ...]], Rule] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def rules_count(self) -> int:
        """The number of code rules, without those of merchants."""
        return len(self.codes)

    def rule_for(
        self,
        *,
        code: str | None,
        channel: Channel | None,
        merchant: str | None,
        smtp: str | None = None,
        text: str | None = None,
    ) -> Rule:
        """Return the rule for one failure; ``code`` None: a report without an error. Cached, never raises.

        ``text``: the reply's message as reported. It costs time only where a ``when`` looks at it.
        """
        key = (code, channel, merchant if merchant in self.merchants else None, smtp)
        rule = self._cached(key)
        if rule.texts and text:
            folded = fold(text)
            rule = self._cached(key, tuple(pattern for pattern in rule.texts if pattern in folded))
        return rule

    def _cached(self, key: Failure, found: tuple[str, ...] = ()) -> Rule:
        rule = self._rules.get((key, found))
        if rule is None:
            code, channel, merchant, smtp = key
            rule = self.resolve(code=code, channel=channel, merchant=merchant, smtp=smtp, found=found)
            if len(self._rules) >= MOST_CACHED:
                self._rules.clear()
            self._rules[key, found] = rule
        return rule

    def provider(self, name: str) -> Provider | None:
        """Return a provider's entry, else the entry ``*``, else None."""
        return self.providers.get(name) or self.providers.get("*")

    def at(self, line: int) -> str:
        """Return ``config/policy.yaml:39``; line 0 is a built-in value, -1 a what-if."""
        if line < 0:
            return "--set"
        return f"{self.file}:{line}" if line else "built-in"
