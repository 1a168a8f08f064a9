"""The policy file as pydantic models: its keys, their types, and the JSON schema for editors.

A key that is not set is None here and comes from a more general level; ``core.policy.merge`` reads
``model_fields_set`` and never compares with None.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, Tag, model_validator
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema
from typing_extensions import override

from softbounce.core.durations import DAY, HOUR, MINUTE, words
from softbounce.core.policy.sections import Escalation, Provider
from softbounce.core.policy.values import (
    Blame,
    Block,
    Clock,
    CodeName,
    Days,
    Duration,
    Jitter,
    Moment,
    Never,
    Off,
    OrOff,
    Positive,
    Rate,
    Reply,
    ReplyText,
    Tries,
    Verdict,
    Zone,
    ZoneOrRecipient,
)

LEAST_GRACE = 72 * HOUR  # receipts come up to 48 h late


def _grace(value: int) -> int:
    if value < LEAST_GRACE:
        message = f"{words(value)} is too short: receipts come days late; write {words(LEAST_GRACE)} or more"
        raise ValueError(message)
    return value


def _trimmed(name: str) -> str:
    if name != name.strip():
        message = "has blanks around it: ids are compared without them, so it would match no merchant"
        raise ValueError(message)
    return name


class Limits(Block):
    """What no rule and no merchant goes past."""

    max_attempts: Annotated[int, Field(ge=1, le=100)] | None = None
    min_delay: Positive | None = Field(None, description="Least wait before any resend")
    resends_per_recipient: Rate | None = Field(None, description="For example 6/1d")
    resends_per_claim: Rate | None = Field(None, description="For example 12/7d")
    handover_rate: Rate | None = Field(None, description="All merchants together, for example 50/s")


class Retention(Block):
    """How long state is kept."""

    dedupe: Positive | None = Field(None, description="Longer than the longest retry window")
    history: Positive | None = None
    cancelled: Positive | None = None
    dead_letters: Positive | None = None
    audit: Positive | None = None
    closed_cases: Positive | None = None


class Backoff(Block):
    """Delays that grow: base, base * factor, base * factor * factor ... up to cap."""

    base: Positive | None = None
    factor: Annotated[float, Field(ge=1, le=10)] | None = None
    cap: Positive | None = None


class Retry(Block):
    """When to resend, and how often. Either ``delays`` or ``backoff``."""

    delays: Annotated[list[Duration], Field(min_length=1, max_length=100)] | None = Field(
        None,
        description="Waits before the tries; the last one repeats. They set max_attempts to their number",
    )
    backoff: Backoff | None = None
    jitter: Jitter | None = Field(None, description="Largest deviation of a delay, for example 20%, or full")
    max_attempts: Tries | None = Field(None, description="Resends, without the pipeline's first send")
    give_up_after: Positive | None = Field(None, description="From the first failure, waiting included")
    settle: Duration | None = Field(None, description="Least wait before the first resend, for late receipts")
    then: Literal["review", "suppress", "drop"] | None = Field(None, description="When the tries are used up")

    @model_validator(mode="after")
    def _one_schedule(self) -> Self:
        if {"delays", "backoff"} <= self.model_fields_set:
            message = "delays or backoff, not both"
            raise ValueError(message)
        return self


class Quiet(Block):
    """When nothing may leave."""

    start: Clock = Field(alias="from")
    end: Clock = Field(alias="to")
    zone: ZoneOrRecipient = Field("recipient", description="recipient, or a time zone")
    days: Days = Field(frozenset(range(7)), description="all, or a list; the day on which it gets quiet")
    spread: Duration = Field(45 * MINUTE, description="Tries moved to the end are spread over this time")

    @model_validator(mode="after")
    def _leaves_room(self) -> Self:
        sendable = (self.start - self.end) % (24 * 60) * MINUTE
        if not sendable:
            message = "from and to are the same time; for none write quiet_hours: off"
            raise ValueError(message)
        if self.spread > sendable:
            message = f"spread is longer than the {words(sendable)} outside of the quiet hours"
            raise ValueError(message)
        return self


class SoftBounce(Block):
    """When repeated soft bounces of one recipient become a case."""

    count: Literal["messages", "events"] | None = None
    escalate_at: Annotated[int, Field(ge=1, le=100)] | None = None
    within: Positive | None = None
    apart: Duration | None = None
    reset_on: Literal["delivered", "never"] | None = None
    then: Literal["notify", "hold", "suppress"] | None = None
    hold_for: Positive | None = None


class Suppression(Block):
    """How long a suppression lasts, and how far it reaches."""

    expires: Never | None = Field(None, description="A duration, or never")
    scope: Literal["all", "merchant"] | None = None


class Brake(Block):
    """When sudden suppressions become one incident, which one command undoes."""

    by: Annotated[list[Literal["code", "country", "domain"]], Field(min_length=1)] = Field(
        ["code", "country", "domain"], description="What the suppressions of one group have in common"
    )
    more_than: Annotated[int, Field(ge=1, le=1_000_000)] = 50
    within: Positive = Field(HOUR, description="The window in which new suppressions are counted")
    times_usual: Annotated[float, Field(ge=1, le=1000)] = Field(
        5, description="Times the average of earlier windows"
    )
    then: Literal["provisional"] = "provisional"
    lasts: Positive = Field(DAY, alias="for", description="How long a provisional suppression lasts")


BrakeOrOff = Annotated[Annotated[Brake, Tag("block")] | Off, OrOff]


class DefaultSuppression(Suppression):
    """What the defaults say of suppressions; the brake is one for all levels."""

    brake: BrakeOrOff | None = None


RetryOrOff = Annotated[Annotated[Retry, Tag("block")] | Off, OrOff]
QuietOrOff = Annotated[Annotated[Quiet, Tag("block")] | Off, OrOff]


class Layer(Block):
    """What defaults, a channel or a merchant may say."""

    timezone: Zone | None = Field(None, description="Where the recipient's own zone cannot be derived")
    several_recipients: Literal["retry", "hold"] | None = None
    retry: RetryOrOff | None = Field(None, description="off at any level wins: the delivery is held")
    quiet_hours: QuietOrOff | None = None
    soft_bounce: SoftBounce | None = None
    suppression: Suppression | None = None
    unknown_code: Literal["hold", "retry", "drop"] | None = Field(None, description="A code without a rule")


class Defaults(Layer):
    """What everybody gets."""

    suppression: DefaultSuppression | None = None


class Confirm(Block):
    """How many reports it takes to suppress a recipient."""

    reports: Annotated[int, Field(ge=2, le=10)]
    within: Positive
    apart: Duration
    meanwhile: Literal["retry", "drop"]

    @model_validator(mode="after")
    def _can_happen(self) -> Self:
        if self.apart * (self.reports - 1) >= self.within:
            message = "within is too short for so many reports so far apart"
            raise ValueError(message)
        return self


ConfirmOrOff = Annotated[Annotated[Confirm, Tag("block")] | Off, OrOff]


class When(Block):
    """One softer verdict, by the reply: by its status, its text, or both."""

    smtp: Annotated[list[Reply], Field(min_length=1)] | None = Field(
        None, description='For example ["4*", "5.2.2", "552"]; none: no status; *: any, and none'
    )
    text: Annotated[list[ReplyText], Field(min_length=1, max_length=50)] | None = Field(
        None,
        description="Any of these parts, capitals aside, in the first 4,096 characters of details.message",
    )
    do: Verdict
    fault: Blame | None = Field(None, description="Who is to blame then; no reply moves it to the recipient")
    confirm: Confirm | None = None
    retry: Retry | None = None
    suppression: Suppression | None = None

    @model_validator(mode="after")
    def _looks_at_the_reply(self) -> Self:
        if not {"smtp", "text"} & self.model_fields_set:
            message = 'smtp, text or both are needed here; smtp: ["*"] takes every reply'
            raise ValueError(message)
        return self


class MerchantCode(Block):
    """What a merchant changes in the rule for a code."""

    do: Verdict | None = None
    fault: Blame | None = Field(None, description="Who is to blame; only recipient may suppress or count")
    origin: Literal["event", "provider"] | None = Field(None, description="provider: an echo of its own list")
    confirm: ConfirmOrOff | None = None
    when: Annotated[list[When], Field(max_length=50)] | None = Field(
        None, description="Softer verdicts by the reply; the first match wins"
    )
    retry: RetryOrOff | None = None
    quiet_hours: QuietOrOff | None = None
    suppression: Suppression | None = None


class Code(MerchantCode):
    """The rule for a reason code."""

    do: Verdict


class Merchant(Layer):
    """What one merchant changes."""

    codes: dict[CodeName, MerchantCode] | None = None


class Channels(Block):
    """What a channel changes."""

    sms: Layer | None = None
    email: Layer | None = None
    letter: Layer | None = None


class File(Block):
    """The policy of softbounce."""

    version: Literal[1]
    name: Annotated[str, Field(min_length=1, max_length=60)] = "default"
    limits: Limits = Limits()
    retention: Retention = Retention()
    feedback: Literal["delivered", "none"] = "delivered"
    unanswered_after: Annotated[Duration, AfterValidator(_grace)] = Field(
        LEAST_GRACE, description="Past its deadline, a resend without an answer ends; 72h or more"
    )
    unreadable_recipient: Literal["hold", "retry"] = Field(
        "hold", description="what becomes of a retry to whom nobody can read"
    )
    digits_without_plus: Literal["unreadable", "international"] = Field(
        "unreadable", description="what 447911123456 in a report is on sms"
    )
    ignore_failures_before: Moment = Field(None, description="never, or a date")
    defaults: Defaults = Defaults()
    channels: Channels = Channels()
    codes: dict[CodeName, Code] = Field(
        {}, description="The exact name beats a wildcard, the longer the shorter"
    )
    providers: dict[Annotated[str, Field(min_length=1, max_length=200)], Provider] = Field(
        {}, description="By name; * for those without an entry of their own"
    )
    merchants: dict[Annotated[str, AfterValidator(_trimmed)], Merchant] = Field({})
    escalation: Escalation = Escalation()


class _Schema(GenerateJsonSchema):
    """A key that is left out has no value; null is no value either."""

    @override
    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    @override
    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def schema() -> dict[str, Any]:
    """Return the JSON schema of the policy file."""
    return {"$schema": _Schema.schema_dialect, **File.model_json_schema(schema_generator=_Schema)}
