"""What the store has against a retry, and the command or line of the policy that would change it."""

from collections.abc import Iterator

from softbounce.cli import story
from softbounce.cli.breakers import state_of
from softbounce.cli.shared.output import zone
from softbounce.cli.standing import lifting, pauses_of
from softbounce.core.decide import Plan
from softbounce.core.durations import words
from softbounce.core.policy.model import Policy
from softbounce.core.records import Delivery
from softbounce.core.texts import plain, when, word
from softbounce.explain.remedies import Obstacle, line_of, quiet_at
from softbounce.store import Store
from softbounce.store.retries import Story

WHY = "--reason ..."
ALL = "*"
EVEN_STALE = 2  # its mark in a record


def against(found: Story, decision: Plan, *, policy: Policy, store: Store, at: int) -> Iterator[Obstacle]:
    """Yield each of them as it will stand at a moment (ms); an ended delivery has what ended it."""
    delivery = found.delivery
    became = story.becomes(delivery, store, at)
    if story.is_observed(found):
        yield Obstacle("mode was observe: noted, not sent", f"softbounce mode on {WHY}, for later tries")
    elif became == "held":
        yield from _held(found, decision, policy)
    elif became == "suppressed":
        verdict = store.suppressions.check(f"r_{delivery.rid}", delivery.channel, merchant=delivery.merchant)
        if not verdict:
            later = "" if delivery.state == "waiting" else "; this message has ended, send it anew"
            change = lifting(verdict.recipient, verdict.reason)
            yield Obstacle("its recipient is suppressed", change and change + later)
    elif became == "given_up":
        names = ("do",) if decision.rule.do == "drop" else ("retry.give_up_after",)
        yield Obstacle("it was given up", f"{line_of(decision, policy, *names)}, for later reports")
    elif became == "waiting":
        yield from _waiting(delivery, decision, policy=policy, store=store, at=at)


def _held(found: Story, decision: Plan, policy: Policy) -> Iterator[Obstacle]:
    case = story.case_of(found)
    release = [f"softbounce cases resolve {case} --release {WHY}"] if case else []
    rule = decision.rule
    if rule.off:
        later = line_of(decision, policy, "retry")
    elif rule.name.endswith(".unknown_code"):
        later = f"a rule for {found.delivery.code} under codes: of {policy.file}"
    else:
        later = line_of(decision, policy, "do")
    what = f"held by case {case}" if case else "held"
    yield Obstacle(what, "; ".join([*release, f"for later reports: {later}"]))


def _waiting(
    delivery: Delivery, decision: Plan, *, policy: Policy, store: Store, at: int
) -> Iterator[Obstacle]:
    is_due, is_urgent = (delivery.due or 0) <= at, bool(delivery.head.get("q"))
    found = [*_mode(delivery, store, at)]
    if not is_urgent:
        found += _pauses(delivery, store, at)
    found += _breaker(delivery, policy, store, at)
    if is_due or delivery.waits_for == "rate":
        found += _caps(delivery, policy, store, at)
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
        end = when(delivery.deadline, zone(), at)
        what = f"past its deadline, {end}: nothing is sent any more"
        line = line_of(decision, policy, "retry.give_up_after")
        found.append(Obstacle(what, f"{line}, for later reports"))
    if is_due and not found and not store.control.workers(now=store.now()):
        found.append(Obstacle("no worker was heard of within a minute", "softbounce worker"))
    yield from found


def _mode(delivery: Delivery, store: Store, now: int) -> Iterator[Obstacle]:
    modes = {mode.merchant: mode for mode in store.control.modes()}
    mode = modes[ALL] if modes[ALL].mode == "off" else modes.get(delivery.merchant, modes[ALL])
    if mode.mode != "on":
        whom = "" if mode.merchant == ALL else f" for merchant {mode.merchant}"
        by = plain(f"by {mode.by}: {mode.reason}")
        switch = "softbounce mode on" + (whom and f" --merchant {mode.merchant}")
        yield Obstacle(f"mode {mode.mode}{whom} since {when(mode.at, zone(), now)}, {by}", f"{switch} {WHY}")


def _pauses(delivery: Delivery, store: Store, now: int) -> Iterator[Obstacle]:
    for field, entry in pauses_of(delivery, store, now):
        kind, _, value = field.partition(":")
        by = plain(f"by {entry.get('by', '')}: {entry.get('reason', '')}")
        named = {"reference": delivery.reference, "recipient": f"r_{value}"}.get(kind, value)
        what = f"its {kind} is paused until {when(int(entry['z']), zone(), now)}, {by}"
        yield Obstacle(what, plain(f"softbounce retries resume {kind}:{named} {WHY}"))


def _breaker(delivery: Delivery, policy: Policy, store: Store, now: int) -> Iterator[Obstacle]:
    name = delivery.provider
    state, until = state_of(name, store.control.breakers().get(name, ({}, ""))[0], policy, now)
    if state == "closed":
        return
    end = f" until {when(until, zone(), now)}" if until else ""
    by_itself = {
        "open": "it is probed then",
        "half-open": "it closes once its probes arrive",
        "ramping": "it lets through more and more until then",
    }[state]
    change = by_itself if state == "ramping" else f"softbounce breakers close {name} {WHY}; else {by_itself}"
    yield Obstacle(plain(f"the breaker of its provider {name} is {state}{end}"), plain(change))


def _caps(delivery: Delivery, policy: Policy, store: Store, now: int) -> Iterator[Obstacle]:
    limits = policy.limits
    fields = {
        f"recipient:{rid}": "recipient" for rid in delivery.head.get("rs", [delivery.rid]) if rid[:1] != "*"
    }
    if delivery.claim.id is not None:
        fields[f"claim:{delivery.claim.id}"] = "claim"
    is_capped = False
    for kind, left in zip(fields.values(), store.retries.left_to(*fields) if fields else (), strict=True):
        cap = limits.resends_per_claim if kind == "claim" else limits.resends_per_recipient
        times = [moment for moment in left if moment > now - cap.per]
        if len(times) >= cap.count:
            free = when(times[-cap.count] + cap.per, zone(), now)
            name = f"limits.resends_per_{kind}"
            what = f"{name}: {cap.count}/{words(cap.per)} have left, the next may {free}"
            yield Obstacle(what, f"{name} in {policy.file}")
            is_capped = True
    if delivery.waits_for == "rate" and not is_capped:
        known = delivery.provider if delivery.provider in policy.providers else '"*"'
        what = f"waits for {word('state', 'rate')}"
        yield Obstacle(what, plain(f"providers.{known}.rate in {policy.file}"))
