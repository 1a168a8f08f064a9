"""The blocks of the policy file for providers and for notices to people."""

from typing import Annotated, Literal, Self

from pydantic import Field, Tag, model_validator

from softbounce.core.durations import MINUTE
from softbounce.core.policy.values import (
    Block,
    Duration,
    Off,
    OrOff,
    Positive,
    Rate,
    Share,
    VariableName,
    WebAddress,
)

IN_CLEAR = "no secret stands in this file; name a variable that holds it: {env: DESK_SECRET}"


class OpenWhen(Block):
    """What opens a breaker: the share of failures among the newest answers to resends."""

    failures: Share = 0.5
    of_last: Annotated[int, Field(ge=1, le=1000)] = 100
    least: Annotated[int, Field(ge=1, le=1000)] = Field(20, description="With fewer answers it stays closed")
    within: Positive = Field(10 * MINUTE, description="Older answers do not count")

    @model_validator(mode="after")
    def _can_happen(self) -> Self:
        if self.least > self.of_last:
            message = "least is more than of_last, so it would never open"
            raise ValueError(message)
        return self


class OpenFor(Block):
    """How long a breaker stays open: base, and longer each time that the probes fail, up to cap."""

    base: Positive = MINUTE
    factor: Annotated[float, Field(ge=1, le=10)] = 2
    cap: Positive = 15 * MINUTE


class Breaker(Block):
    """When a provider gets no resends for a while."""

    open_when: OpenWhen = OpenWhen()
    open_for: OpenFor = OpenFor()
    probe: Annotated[int, Field(ge=1, le=100)] = Field(5, description="Resends that try whether it is back")
    ramp_up: Duration = Field(10 * MINUTE, description="Then the rate grows from nothing over this time")


class Provider(Block):
    """What one provider, or with the name * each provider, gets."""

    rate: Rate | None = Field(None, description="Resends to this provider, for example 50/s")
    breaker: Annotated[Annotated[Breaker, Tag("block")] | Off, OrOff] | None = None


class LogTarget(Block):
    """A line in the worker's log."""

    type: Literal["log"]


class CeleryTarget(Block):
    """A Celery task."""

    type: Literal["celery"]
    task: Annotated[str, Field(min_length=1)]
    queue: Annotated[str, Field(min_length=1)] | None = None


class StreamTarget(Block):
    """A Redis stream."""

    type: Literal["stream"]
    stream: Annotated[str, Field(min_length=1)]


class Secret(Block):
    """Where a secret stands; never in the file itself."""

    env: VariableName = Field(description="A variable of the worker's environment")

    @model_validator(mode="before")
    @classmethod
    def _is_elsewhere(cls, value: object) -> object:
        if isinstance(value, str):
            raise ValueError(IN_CLEAR)  # noqa: TRY004 - pydantic makes a finding of it
        return value


class WebhookTarget(Block):
    """A signed POST (Standard Webhooks) to a system of yours."""

    type: Literal["webhook"]
    url: WebAddress = Field(description="https; http is for this machine only. Redirects are not followed")
    secret: Secret


class AppriseTarget(Block):
    """Slack, e-mail, PagerDuty and others, by apprise (an extra)."""

    type: Literal["apprise"]
    url: Secret = Field(description="It holds tokens, so it stands in a variable")


Target = Annotated[
    LogTarget | CeleryTarget | StreamTarget | WebhookTarget | AppriseTarget, Field(discriminator="type")
]


class Escalation(Block):
    """Who hears about cases."""

    group_by: list[Literal["merchant", "channel", "code"]] | None = Field(
        None, description="People get one notice for what these have in common; the pipeline gets each"
    )
    group_wait: Duration | None = Field(None, description="Collect so long before a group is told")
    repeat: Positive | None = Field(None, description="Least time between two notices of a group that grows")
    notify: list[str] | None = Field(None, description="Names out of targets")
    targets: dict[str, Target] | None = None
