"""The types of single values of a policy file, each with its check and its JSON schema.

A ``ValueError`` tells the operator what to write instead.
"""

from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
)

from softbounce.core.durations import (
    CLOCK,
    DURATION,
    RATE,
    SHARE,
    matching,
    parse_clock,
    parse_duration,
    parse_rate,
    parse_share,
    shown,
)
from softbounce.core.policy.model import fold

CODE = r"^(\*|[A-Z][A-Z0-9_]*\*?)$"
REPLY = r"^(none|\*|[0-9]{1,3}\*?|[245]\.[0-9.]{0,7}\*?)$"
SHORTEST, LONGEST = 4, 100  # characters of a pattern of a reply's text; a shorter one is in half of all texts
VARIABLE = r"^[A-Z_][A-Z0-9_]*$"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _never(value: object) -> int | None:
    return None if value == "never" else parse_duration(value)


def _jitter(value: object) -> float | None:
    return None if value == "full" else parse_share(value)


def _moment(value: object) -> int | None:
    if value == "never":
        return None
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        message = f"{shown(value)} is no date; write never, 2026-11-20 or 2026-11-20T08:00:00+01:00"
        raise ValueError(message) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round((moment - datetime.fromtimestamp(0, UTC)).total_seconds()) * 1000


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (OSError, ValueError, LookupError):  # also raised for a folder or an absolute path
        places = [name for name in available_timezones() if "/" in name]  # not names such as EST
        near = get_close_matches(value[:60], places, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "use a name such as Europe/Berlin"
        message = f"no time zone {shown(value)}; {hint}"
        raise ValueError(message) from None
    return value


def _zone_or_recipient(value: str) -> str:
    return value if value == "recipient" else _zone(value)


def _code(value: str) -> str:
    return matching(CODE, value, "reason code; use capitals, digits and _, and * at the end only")


def _reply(value: str) -> str:
    return matching(REPLY, value, "SMTP reply; write for example 552, 5.2.2, 5.4.*, 4*, * or none, in quotes")


def _reply_text(value: str) -> str:
    pattern = fold(value)
    if not SHORTEST <= len(pattern) <= LONGEST or not pattern.isprintable():
        message = (
            f"{shown(value)} is no part of a reply; write {SHORTEST} to {LONGEST} characters of one line"
        )
        raise ValueError(message)
    return pattern


def _web_address(value: str) -> str:
    try:
        parts = urlsplit(value)
        is_near = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
        is_fine = bool(parts.hostname) and parts.port != 0 and not parts.username
        is_fine = is_fine and (parts.scheme == "https" or is_near)
    except ValueError:
        is_fine = False
    if not is_fine or " " in value or not value.isprintable():
        message = "this is no https address without a user; write for example https://desk.example/hooks"
        raise ValueError(message)
    return value


def _variable(value: str) -> str:
    return matching(VARIABLE, value, "name of a variable; use capitals, digits and _")


def _days(value: object) -> frozenset[int]:
    names = list(DAYS) if value == "all" else value
    if not isinstance(names, list) or not names or any(name not in DAYS for name in names):
        message = f"days are all, or a list of {', '.join(DAYS)}"
        raise ValueError(message)
    return frozenset(DAYS.index(name) for name in names)


def _is_off(value: object) -> str:
    return "block" if isinstance(value, dict | BaseModel) else "off"


def _text(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern})


Duration = Annotated[int, BeforeValidator(parse_duration), _text(DURATION)]
Positive = Annotated[int, Field(gt=0), BeforeValidator(parse_duration), _text(DURATION)]
Never = Annotated[int | None, BeforeValidator(_never), _text(f"^never$|{DURATION}")]
Rate = Annotated[tuple[int, int], BeforeValidator(parse_rate), _text(RATE)]
Share = Annotated[float, Field(gt=0, le=1), BeforeValidator(parse_share), _text(SHARE)]
Jitter = Annotated[float | None, BeforeValidator(_jitter), _text(f"^full$|{SHARE}")]
Clock = Annotated[int, BeforeValidator(parse_clock), _text(CLOCK)]
Moment = Annotated[int | None, BeforeValidator(_moment), WithJsonSchema({"type": "string"})]
Zone = Annotated[str, AfterValidator(_zone)]
ZoneOrRecipient = Annotated[str, AfterValidator(_zone_or_recipient)]
CodeName = Annotated[str, AfterValidator(_code), _text(CODE)]
Reply = Annotated[str, AfterValidator(_reply), _text(REPLY)]
ReplyText = Annotated[str, AfterValidator(_reply_text), _text(f"^.{{{SHORTEST},{LONGEST}}}$")]
Days = Annotated[
    frozenset[int],
    BeforeValidator(_days),
    WithJsonSchema(
        {"anyOf": [{"const": "all"}, {"type": "array", "items": {"enum": [*DAYS]}, "minItems": 1}]}
    ),
]
WebAddress = Annotated[str, AfterValidator(_web_address)]
VariableName = Annotated[str, AfterValidator(_variable), _text(VARIABLE)]
Tries = Annotated[int, Field(ge=0, le=100)]
Verdict = Literal["retry", "suppress", "hold", "drop", "ignore"]
Blame = Literal["recipient", "message", "provider", "config"]

OrOff = Discriminator(_is_off)
Off = Annotated[Literal["off"], Tag("off")]


class Block(BaseModel):
    """A block of keys; an unknown key is refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


BUILT_IN: dict[str, Any] = {
    "limits": {
        "max_attempts": 12,
        "min_delay": "30s",
        "resends_per_recipient": "6/1d",
        "resends_per_claim": "12/7d",
        "handover_rate": "50/s",
    },
    "retention": {
        "dedupe": "14d",
        "history": "90d",
        "cancelled": "400d",
        "dead_letters": "30d",
        "audit": "400d",
        "closed_cases": "90d",
    },
    "defaults": {
        "timezone": "Europe/Berlin",
        "several_recipients": "retry",
        "retry": {
            "backoff": {"base": "1h", "factor": 2, "cap": "12h"},
            "jitter": "20%",
            "max_attempts": 6,
            "give_up_after": "72h",
            "settle": "0s",
            "then": "review",
        },
        "quiet_hours": "off",
        "soft_bounce": {
            "count": "messages",
            "escalate_at": 3,
            "within": "30d",
            "apart": "24h",
            "reset_on": "delivered",
            "then": "notify",
            "hold_for": "14d",
        },
        "suppression": {
            "expires": "365d",
            "scope": "all",
            "brake": {
                "by": ["code", "country", "domain"],
                "more_than": 50,
                "within": "1h",
                "times_usual": 5,
                "then": "provisional",
                "for": "24h",
            },
        },
        "unknown_code": "hold",
    },
    "escalation": {
        "group_by": ["merchant", "channel", "code"],
        "group_wait": "5m",
        "repeat": "24h",
        "notify": ["log"],
        "targets": {"log": {"type": "log"}},
    },
}
"""The values where a file sets none: limits, retention, defaults and escalation of the shipped file."""
