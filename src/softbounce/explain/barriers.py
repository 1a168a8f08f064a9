"""What the store has against a retry, and the command or line of the policy that would change it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from softbounce.core.decide import Plan
from softbounce.core.durations import words
from softbounce.core.policy.model import Policy
from softbounce.core.records import Delivery
from softbounce.core.texts import plain, when, word
from softbounce.explain import delivery as deliveries
from softbounce.explain.recipient import lifting
from softbounce.explain.remedies import Obstacle, line_of, quiet_at
from softbounce.store import Situation
from softbounce.store.situations import Gate, Story

WHY = "--reason ..."
ALL = "*"


def against(situation: Situation, decision: Plan, *, policy: Policy, zone: str) -> Iterator[Obstacle]:
    """Yield each of them as it will stand at the moment asked about; an ended delivery has what ended it."""
    story, became = situation.story, deliveries.becomes(situation)
    if deliveries.is_observed(story):
        yield Obstacle("mode was observe: noted, not sent", f"softbounce mode on {WHY}, for later tries")
    elif became == "held":
        yield from _held(story, decision, policy)
    elif became == "suppressed":
        verdict = situation.verdict
        if situation.end and not situation.end.field:
            yield Obstacle("none of its recipients is left: each is suppressed, cancelled or reached")
        elif not verdict and verdict.recipient:
            later = "" if story.delivery.state == "waiting" else "; this message has ended, send it anew"
            change = lifting(verdict.recipient, verdict.reason)
            yield Obstacle("its recipient is suppressed", change and change + later)
    elif became == "given_up":
        names = ("do",) if decision.rule.do == "drop" else ("retry.give_up_after",)
        yield Obstacle("it was given up", f"{line_of(decision, policy, *names)}, for later reports")
    elif became == "waiting":
        yield from _waiting(situation, decision, policy=policy, zone=zone)


def _held(story: Story, decision: Plan, policy: Policy) -> Iterator[Obstacle]:
    case = deliveries.case_of(story)
    release = [f"softbounce cases resolve {case} --release {WHY}"] if case else []
    rule = decision.rule
    if rule.off:
        later = line_of(decision, policy, "retry")
    elif rule.name.endswith(".unknown_code"):
        later = f"a rule for {story.delivery.code} under codes: of {policy.file}"
    else:
        later = line_of(decision, policy, "do")
    what = f"held by case {case}" if case else "held"
    yield Obstacle(what, "; ".join([*release, f"for later reports: {later}"]))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a gate is put into words with."""

    delivery: Delivery
    at: int
    decision: Plan
    policy: Policy
    zone: str

    def when(self, moment: int) -> str:
        return when(moment, self.zone, self.at)


def _waiting(situation: Situation, decision: Plan, *, policy: Policy, zone: str) -> Iterator[Obstacle]:
    delivery, at = situation.story.delivery, situation.at
    asked = _Asked(delivery, at, decision, policy, zone)
    is_due, waits_for = (delivery.due or 0) <= at, delivery.waits_for
    gates = [gate for gate in situation.gates if is_due or waits_for == "rate" or gate.why != "capped"]
    met = {gate.why for gate in gates}
    found = [_TOLD[gate.why](gate, asked) for gate in gates if gate.why in _TOLD]
    if is_due and not delivery.is_urgent and (quiet := quiet_at(at, decision, policy)):
        found.append(quiet)
    if waits_for == "rate" and not met & {"rate", "capped"}:
        found.append(_rate(None, asked))
    elif waits_for == "incident" and "incident" not in met:
        found.append(_incident(None, asked))
    elif waits_for == "sink":
        what = f"waits for {word('state', 'sink')}"
        found.append(Obstacle(what, "softbounce doctor says what is wrong with it"))
    if is_due and not found and not situation.workers:
        found.append(Obstacle("no worker was heard of within a minute", "softbounce worker"))
    yield from found


def _mode(gate: Gate, asked: _Asked) -> Obstacle:
    entry, is_own = gate.entry or {}, gate.field != ALL
    whom = f" for merchant {gate.field}" if is_own else ""
    switch = f"softbounce mode on --merchant {gate.field}" if is_own else "softbounce mode on"
    since = asked.when(int(entry.get("at", 0)))
    what = (
        f"mode {entry.get('mode')}{whom} since {since}, by {entry.get('by', '')}: {entry.get('reason', '')}"
    )
    return Obstacle(plain(what), plain(f"{switch} {WHY}"))


def _pause(gate: Gate, asked: _Asked) -> Obstacle:
    entry, (kind, _, value) = gate.entry or {}, gate.field.partition(":")
    named = {"reference": asked.delivery.reference, "recipient": f"r_{value}"}.get(kind, value)
    until = asked.when(int(gate.until or 0))
    what = f"its {kind} is paused until {until}, by {entry.get('by', '')}: {entry.get('reason', '')}"
    return Obstacle(plain(what), plain(f"softbounce retries resume {kind}:{named} {WHY}"))


def _cap(gate: Gate, asked: _Asked) -> Obstacle:
    kind, limits = gate.field.partition(":")[0], asked.policy.limits
    cap = limits.resends_per_claim if kind == "claim" else limits.resends_per_recipient
    name, free = f"limits.resends_per_{kind}", asked.when(int(gate.until or 0))
    what = f"{name}: {cap.count}/{words(cap.per)} have left, the next may {free}"
    return Obstacle(what, f"{name} in {asked.policy.file}")


def _breaker(gate: Gate, asked: _Asked) -> Obstacle:
    name, state = asked.delivery.provider, gate.field
    end = f" until {asked.when(gate.until)}" if gate.until else ""
    by_itself = {
        "open": "it is probed then",
        "half-open": "it closes once its probes arrive",
        "ramping": "it lets through more and more until then",
    }[state]
    change = by_itself if state == "ramping" else f"softbounce breakers close {name} {WHY}; else {by_itself}"
    return Obstacle(plain(f"the breaker of its provider {name} is {state}{end}"), plain(change))


def _rate(gate: Gate | None, asked: _Asked) -> Obstacle:
    if gate and gate.field == "ramping":
        return _breaker(gate, asked)
    name = asked.delivery.provider
    known = name if name in asked.policy.providers else '"*"'
    change = plain(f"providers.{known}.rate in {asked.policy.file}")
    return Obstacle(f"waits for {word('state', 'rate')}", change)


def _incident(_: Gate | None, asked: _Asked) -> Obstacle:
    undo = f"softbounce suppressions undo incident:CASE {WHY}"
    of = f"CASE: softbounce explain r_{asked.delivery.rid} --channel {asked.delivery.channel}"
    return Obstacle(f"waits for {word('state', 'incident')}", f"{undo} ({of})")


def _too_late(_: Gate, asked: _Asked) -> Obstacle:
    what = f"past its deadline, {asked.when(asked.delivery.deadline)}: nothing is sent any more"
    line = line_of(asked.decision, asked.policy, "retry.give_up_after")
    return Obstacle(what, f"{line}, for later reports")


def _crash_loop(*_: object) -> Obstacle:
    return Obstacle("three hand-overs of it began and none ended: the next claim holds it")


_TOLD: Mapping[str, Callable[[Gate, _Asked], Obstacle]] = {  # of a gate that ends the try becomes() tells
    "off": _mode,
    "observe": _mode,
    "paused": _pause,
    "capped": _cap,
    "breaker": _breaker,
    "rate": _rate,
    "incident": _incident,
    "too_late": _too_late,
    "crash loop": _crash_loop,
}
