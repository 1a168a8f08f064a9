"""What holds a try back, and what would change that: a command, or a line of the policy."""

from dataclasses import dataclass

from softbounce.core.decide import Plan
from softbounce.core.durations import words
from softbounce.core.policy.model import Policy
from softbounce.core.reasons import Fault
from softbounce.core.schedule import Due, out_of_quiet, zones_for
from softbounce.core.texts import clock


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a try does not leave now, and what would change it."""

    what: str
    change: str = ""  # empty: nothing does, or what already says it

    @property
    def sentence(self) -> str:
        """Both, as one line."""
        return f"{self.what}.   Change it: {self.change}" if self.change else f"{self.what}."


def until_due(
    decision: Plan, due: Due, *, policy: Policy, place: int = 1, is_stored: bool = False
) -> Obstacle:
    """Return what holds the next try, at ``place`` among the delays, back until its time.

    ``is_stored``: a store has it, so that a command can send it now.
    """
    command = f"softbounce retries run-now {decision.event.reference} --reason ..." if is_stored else ""
    if due not in decision.dues:
        return Obstacle("its time was set anew, by a person or after a wait", command)
    if due.quiet and (quiet := quiet_at(due.planned, decision, policy)):
        return Obstacle(f"{quiet.what}. Set by {quiet.change}", command)
    names = ["retry.delays", "retry.backoff"]
    if place > 1:
        return Obstacle(f"its delay has not passed. Set by {line_of(decision, policy, *names)}", command)
    if _is_settling(decision, due):
        names.insert(0, "retry.settle")
    return Obstacle(f"it {reason_of(decision, due)}. Set by {line_of(decision, policy, *names)}", command)


def quiet_at(moment: int, decision: Plan, policy: Policy) -> Obstacle | None:
    """Return the quiet hours that hold back what is due at a moment (ms), or None outside of them."""
    quiet, zones = decision.rule.quiet_hours, zones_of(decision)
    if quiet is None or (over := out_of_quiet(moment, quiet, zones, 0.0)) <= moment:
        return None
    what = f"quiet hours until {clock(over, zones[0])} {zones[0]}"
    return Obstacle(what, line_of(decision, policy, "quiet_hours"))


def line_of(decision: Plan, policy: Policy, *names: str) -> str:
    """Return ``quiet_hours, config/policy.yaml:31`` for the first of these settings that the rule has."""
    sources = decision.rule.sources
    return next((f"{name}, {policy.at(sources[name].line)}" for name in names if name in sources), "")


def reason_of(decision: Plan, due: Due) -> str:
    """Say what determined the time of the first try."""
    rule, zone = decision.rule, zones_of(decision)[0]
    if due.quiet:
        return f"was due {clock(due.planned, zone)} {zone}, in quiet hours"
    if _is_settling(decision, due):
        return f"waits {words(rule.settle)} for late receipts"
    nominal = rule.delays[0]
    if due.planned - decision.at > nominal * (1 + (rule.jitter or 0)) + 1:
        return "is due as soon as limits.min_delay allows"
    return f"is due {clock(due.planned, zone)} {zone}, {words(nominal)} after the failure and jittered"


def _is_settling(decision: Plan, due: Due) -> bool:
    rule = decision.rule
    return rule.fault is Fault.RECIPIENT and due.planned == decision.at + rule.settle


def zones_of(decision: Plan) -> tuple[str, ...]:
    """Return the zones whose night counts."""
    return zones_for(decision.rule, decision.subject, decision.event.timezone)[0]
