"""The values that decided, each with its line in the policy and the layers it passed through."""

from collections.abc import Iterator
from typing import Any

from softbounce.core.decide import Plan
from softbounce.core.durations import words
from softbounce.core.policy.model import Policy, Rule, Source
from softbounce.core.reasons import Fault
from softbounce.core.schedule import zones_for
from softbounce.core.texts import word

SETTINGS = {
    "scheduled": ("retry.delays", "retry.backoff", "retry.settle", "quiet_hours"),
    "suppressed": ("suppression",),
}
Row = tuple[str, ...]


def setting_rows(decision: Plan, policy: Policy, outcome: str, *, all_layers: bool = False) -> Iterator[Row]:
    """Yield name, value, line, layer and notes of the settings that made this outcome.

    ``all_layers`` yields every setting, and below each what it overrode, layer by layer, the nearest first.
    """
    rule = decision.rule
    fault = rule.sources.get("fault")
    fault_at = "same line"
    if fault is not None and fault.line != rule.line:
        fault_at = f":{fault.line}" if fault.line > 0 else policy.at(fault.line)
    said = rule.sources.get("do")
    by = ("--set", "--set") if said and said.line < 0 else (policy.at(rule.line), rule.name)
    text = f", the reply says '{rule.text}'" if rule.text else ""
    yield "do", rule.do.value, *by, f"fault {rule.fault}, {fault_at}{text}"
    if all_layers and said:
        yield from _below(said, policy)
    others = [name for name in rule.sources if name != "do"] if all_layers else SETTINGS.get(outcome, ())
    is_idle = {
        "quiet_hours": rule.quiet_hours is None,
        "retry.settle": rule.fault is not Fault.RECIPIENT,
    }
    for name in others:
        source = rule.sources.get(name)
        if source is None or (is_idle.get(name) and not all_layers):
            continue
        notes = [f"(replaces {source.replaces})"] if source.replaces and not all_layers else []
        if name == "quiet_hours" and not is_idle[name]:
            notes.insert(0, _whose_night(decision))
        delays = " ".join(map(words, rule.delays))
        if name in ("retry.delays", "retry.backoff") and delays not in (source.value, ""):
            notes.insert(0, f"tries after {delays}")
        yield name, source.value, policy.at(source.line), source.layer, " ".join(notes)
        if all_layers:
            yield from _below(source, policy)


def _whose_night(decision: Plan) -> str:
    """Say which zones count, why, and which of the number's zones do not."""
    subject = decision.subject
    zones, named_by = zones_for(decision.rule, subject, decision.event.timezone)
    if not subject or named_by != "country" or len(subject.zones) == 1:
        return f"zone {', '.join(zones)}, {word('zone', named_by)}"
    text = f"zone not known, country {subject.country or 'not known'}: quiet in any of {', '.join(zones)}"
    others = ", ".join(subject.zones[len(zones) :])
    return f"{text}; not in {others}, where fewer live" if others else text


def _below(source: Source, policy: Policy) -> Iterator[Row]:
    for layer in reversed(source.below):
        yield "", layer.value, policy.at(layer.line), layer.layer, "overridden"


def settings_json(rule: Rule, policy: Policy) -> dict[str, Any]:
    """Return every setting by name: value, layer, line, what it replaced, and all layers under it."""

    def told(source: Source) -> dict[str, str]:
        return {"value": source.value, "layer": source.layer, "at": policy.at(source.line)}

    return {
        name: told(source) | {"replaces": source.replaces, "below": [told(layer) for layer in source.below]}
        for name, source in rule.sources.items()
    }
