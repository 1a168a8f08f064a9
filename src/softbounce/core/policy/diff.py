"""The differences between two policies after all levels are merged, for an operator's review."""

from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields, is_dataclass
from typing import Any

from softbounce.core.durations import words
from softbounce.core.policy.merge import matches
from softbounce.core.policy.model import Policy, Rate, Rule, Target
from softbounce.core.recipients import Channel
from softbounce.core.subject import channel_of_code

_COUNTS = {"max_attempts", "more_than", "of_last", "least", "probe"}  # numbers that are no durations
_WRITTEN = {  # keys that have another name in the file
    "escalation.by": "escalation.group_by",
    "escalation.wait": "escalation.group_wait",
    "defaults.suppression.brake.lasts": "defaults.suppression.brake.for",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One changed value: its key, old and new text, and its line (of the old file if it was removed)."""

    key: str  # "codes.SMS_EXPIRED.retry.delays"
    old: str
    new: str
    at: str  # "config/policy.yaml:39"


def changes(old: Policy, new: Policy) -> list[Change]:
    """Return each difference once, under the level that sets it, however many codes it affects.

    The merged rules of every code, merchant, channel and SMTP reply that either policy names are compared, so
    a changed line without effect, or another spelling of the same duration, is no difference.
    """
    found = dict.fromkeys(
        change
        for key in _keys(old, new)
        for change in _of_rules(old, new, old.rule_for(**key), new.rule_for(**key))
    )
    return [*found, *_beside(old, new)]


def _keys(old: Policy, new: Policy) -> Iterator[dict[str, Any]]:
    names = dict.fromkeys(name for policy in (new, old) for name, _ in policy.rules)
    codes = dict.fromkeys([*(name.rpartition("codes.")[2] for name in names), "?", None])
    replies = sorted(old.replies | new.replies)
    merchants = (None, *sorted(old.merchants | new.merchants))
    for code in codes:
        known = channel_of_code(code or "")
        mine = {(smtp.rstrip("*"), text) for name, smtp, text in replies if code and matches(name, code)}
        for channel in [known] if known else Channel:
            for merchant in merchants:
                for smtp, text in (("", ""), *sorted(mine)):
                    key = {"code": code, "channel": channel, "merchant": merchant}
                    yield key | {"smtp": smtp or None, "text": text}


def _of_rules(old: Policy, new: Policy, was: Rule, now: Rule) -> Iterator[Change]:
    before, after = _typed(was), _typed(now)
    for key in dict.fromkeys([*now.sources, *was.sources]):
        old_source, new_source = was.sources.get(key), now.sources.get(key)
        if before.get(key) == after.get(key) and (old_source is None) == (new_source is None):
            continue
        if key == "retry.max_attempts" and before["retry.delays"] != after["retry.delays"]:
            said = now.sources.get("retry.delays")
            if said and new_source and said.line == new_source.line:
                continue  # the number of tries follows from the list of delays
        names_new = new_source is not None and (new_source.line or old_source is None)
        source, policy = (new_source, new) if names_new else (old_source, old)
        if source is None:
            continue
        rule = now if names_new else was
        level = rule.name if source.layer == "built-in" else source.layer
        yield Change(
            key=f"{level}.{key}",
            old=old_source.value if old_source else "none",
            new=new_source.value if new_source else "none",
            at=policy.at(source.line),
        )


def _typed(rule: Rule) -> dict[str, object]:
    """Return a rule's values by the keys of its ``sources``."""
    found: dict[str, object] = {
        "retry": rule.off,
        "retry.delays": rule.delays,
        "retry.backoff": rule.delays,
        "retry.max_attempts": len(rule.delays),
        **{name: getattr(rule, name) for name in ("do", "fault", "timezone", "several_recipients")},
        **{f"retry.{name}": getattr(rule, name) for name in ("jitter", "give_up_after", "settle", "then")},
    }
    for name in ("quiet_hours", "confirm", "soft_bounce", "suppression"):
        value = getattr(rule, name)
        found[name] = value and astuple(value)  # quiet hours have no equality of their own
    return found


def _beside(old: Policy, new: Policy) -> Iterator[Change]:
    """Yield the differences outside of the rules."""
    was, now = _flat(old), _flat(new)
    for key in dict.fromkeys([*was, *now]):
        if was.get(key, "none") != now.get(key, "none"):
            yield Change(key=key, old=was.get(key, "none"), new=now.get(key, "none"), at=new.file)


def _flat(policy: Policy) -> dict[str, str]:
    found = {
        "feedback": policy.feedback,
        "unanswered_after": words(policy.unanswered_after),
        "unreadable_recipient": policy.unreadable_recipient,
        "digits_without_plus": "international" if policy.lacks_plus else "unreadable",
        "ignore_failures_before": str(policy.ignore_failures_before),
        "escalation.notify": " ".join(target.name for target in policy.notify),
    }
    found |= {f"escalation.targets.{name}": _target(target) for name, target in policy.targets.items()}
    blocks = {"limits": policy.limits, "retention": policy.retention, "escalation": policy.grouping}
    blocks |= {"defaults.suppression.brake": policy.brake}
    blocks |= {f"providers.{name}": provider for name, provider in policy.providers.items()}
    return found | {
        _WRITTEN.get(key, key): text for name, block in blocks.items() for key, text in _leaves(name, block)
    }


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - whatever a block holds
    key = name.rpartition(".")[2]
    if value is None:
        yield name, "off"
    elif isinstance(value, Rate):
        yield name, f"{value.count} in {words(value.per)}"
    elif is_dataclass(value):
        for one in fields(value):
            yield from _leaves(f"{name}.{one.name}", getattr(value, one.name))
    elif isinstance(value, tuple):
        yield name, " ".join(value)
    else:
        yield name, words(value) if isinstance(value, int) and key not in _COUNTS else str(value)


def _target(target: Target) -> str:
    return " ".join(str(part) for part in astuple(target)[1:] if part is not None)
