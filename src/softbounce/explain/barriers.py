"""What the store has against a retry, and the command or line of the policy that would change it."""

from collections.abc import Iterator, Mapping
from typing import Any

from softbounce.core.decide import Plan
from softbounce.core.durations import words
from softbounce.core.policy.model import Policy
from softbounce.core.records import Delivery, Json
from softbounce.core.texts import plain, when, word
from softbounce.explain import delivery as deliveries
from softbounce.explain.recipient import lifting
from softbounce.explain.remedies import Obstacle, line_of, quiet_at
from softbounce.store import Situation
from softbounce.store.controls import Mode
from softbounce.store.retries import Story, pause_fields

WHY = "--reason ..."
ALL = "*"
EVEN_STALE = 2  # its mark in a record


def against(situation: Situation, decision: Plan, *, policy: Policy, zone: str) -> Iterator[Obstacle]:
    """Yield each of them as it will stand at the moment asked about; an ended delivery has what ended it."""
    story, became = situation.story, deliveries.becomes(situation)
    if deliveries.is_observed(story):
        yield Obstacle("mode was observe: noted, not sent", f"softbounce mode on {WHY}, for later tries")
    elif became == "held":
        yield from _held(story, decision, policy)
    elif became == "suppressed":
        if not (verdict := situation.verdict):
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


def _waiting(situation: Situation, decision: Plan, *, policy: Policy, zone: str) -> Iterator[Obstacle]:
    delivery, at = situation.story.delivery, situation.at
    is_due, is_urgent = (delivery.due or 0) <= at, bool(delivery.head.get("q"))
    found = [*_mode(situation, zone)]
    if not is_urgent:
        found += _pauses(situation, zone)
    found += _breaker(situation, policy, zone)
    if is_due or delivery.waits_for == "rate":
        found += _caps(situation, policy, zone)
    if is_due and not is_urgent and (quiet := quiet_at(at, decision, policy)):
        found.append(quiet)
    if delivery.waits_for == "incident":
        undo = f"softbounce suppressions undo incident:CASE {WHY}"
        of = f"CASE: softbounce explain r_{delivery.rid} --channel {delivery.channel}"
        found.append(Obstacle(f"waits for {word('state', 'incident')}", f"{undo} ({of})"))
    elif delivery.waits_for == "sink":
        what = f"waits for {word('state', 'sink')}"
        found.append(Obstacle(what, "softbounce doctor says what is wrong with it"))
    if delivery.deadline < at and delivery.head.get("q") != EVEN_STALE:
        end = when(delivery.deadline, zone, at)
        what = f"past its deadline, {end}: nothing is sent any more"
        line = line_of(decision, policy, "retry.give_up_after")
        found.append(Obstacle(what, f"{line}, for later reports"))
    if is_due and not found and not situation.workers:
        found.append(Obstacle("no worker was heard of within a minute", "softbounce worker"))
    yield from found


def mode_over(merchant: str, modes: Mapping[str, Mode]) -> Mode:
    """Return the mode that binds a merchant's retries, of those by merchant that differ and ``*``, of all."""
    return modes[ALL] if modes[ALL].mode == "off" else modes.get(merchant, modes[ALL])


def _mode(situation: Situation, zone: str) -> Iterator[Obstacle]:
    mode = mode_over(situation.story.delivery.merchant, {mode.merchant: mode for mode in situation.modes})
    if mode.mode != "on":
        whom = "" if mode.merchant == ALL else f" for merchant {mode.merchant}"
        by = plain(f"by {mode.by}: {mode.reason}")
        switch = "softbounce mode on" + (whom and f" --merchant {mode.merchant}")
        since = when(mode.at, zone, situation.at)
        yield Obstacle(f"mode {mode.mode}{whom} since {since}, {by}", f"{switch} {WHY}")


def pauses_of(delivery: Delivery, pauses: Mapping[str, Json], now: int) -> Iterator[tuple[str, Json]]:
    """Yield those of the pauses that hold a delivery back, by the field that they are kept under."""
    for field in pause_fields(delivery):
        if (entry := pauses.get(field)) and int(entry["z"]) > now:
            yield field, entry


def _pauses(situation: Situation, zone: str) -> Iterator[Obstacle]:
    delivery, at = situation.story.delivery, situation.at
    for field, entry in pauses_of(delivery, situation.pauses, at):
        kind, _, value = field.partition(":")
        by = plain(f"by {entry.get('by', '')}: {entry.get('reason', '')}")
        named = {"reference": delivery.reference, "recipient": f"r_{value}"}.get(kind, value)
        what = f"its {kind} is paused until {when(int(entry['z']), zone, at)}, {by}"
        yield Obstacle(what, plain(f"softbounce retries resume {kind}:{named} {WHY}"))


def breaker_state(name: str, head: Mapping[str, Any], policy: Policy, now: int) -> tuple[str, int | None]:
    """Return closed, open, half-open or ramping; and until when (ms), as far as that is known."""
    terms = policy.provider(name)
    breaker = terms.breaker if terms else None
    if "s" in head and (breaker or head.get("m")):
        is_open = head["s"] == "open" and head["u"] > now
        return ("open", head["u"]) if is_open else ("half-open", None)
    if breaker and "r" in head and now < head["r"] + breaker.ramp_up:
        return "ramping", head["r"] + breaker.ramp_up
    return "closed", None


def _breaker(situation: Situation, policy: Policy, zone: str) -> Iterator[Obstacle]:
    name = situation.story.delivery.provider
    state, until = breaker_state(name, situation.breaker, policy, situation.at)
    if state == "closed":
        return
    end = f" until {when(until, zone, situation.at)}" if until else ""
    by_itself = {
        "open": "it is probed then",
        "half-open": "it closes once its probes arrive",
        "ramping": "it lets through more and more until then",
    }[state]
    change = by_itself if state == "ramping" else f"softbounce breakers close {name} {WHY}; else {by_itself}"
    yield Obstacle(plain(f"the breaker of its provider {name} is {state}{end}"), plain(change))


def _caps(situation: Situation, policy: Policy, zone: str) -> Iterator[Obstacle]:
    delivery, limits, at = situation.story.delivery, policy.limits, situation.at
    is_capped = False
    for field, left in situation.left.items():
        kind = field.partition(":")[0]
        cap = limits.resends_per_claim if kind == "claim" else limits.resends_per_recipient
        times = [moment for moment in left if moment > at - cap.per]
        if len(times) >= cap.count:
            free = when(times[-cap.count] + cap.per, zone, at)
            name = f"limits.resends_per_{kind}"
            what = f"{name}: {cap.count}/{words(cap.per)} have left, the next may {free}"
            yield Obstacle(what, f"{name} in {policy.file}")
            is_capped = True
    if delivery.waits_for == "rate" and not is_capped:
        known = delivery.provider if delivery.provider in policy.providers else '"*"'
        what = f"waits for {word('state', 'rate')}"
        yield Obstacle(what, plain(f"providers.{known}.rate in {policy.file}"))
