"""Plans a waiting retry anew under another policy, from its record and the failure that scheduled it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from softbounce.core.decide import confirmation, only_recipient, rule_of_delivery
from softbounce.core.history import HistoryLine
from softbounce.core.policy.model import Disposition, Policy, Rule
from softbounce.core.recipients import Channel
from softbounce.core.records import Delivery, row_of
from softbounce.core.schedule import due_times


class Effect(StrEnum):
    """What a reschedule does to one retry."""

    EARLIER = "earlier"
    LATER = "later"
    DROPPED = "dropped"
    UNCHANGED = "unchanged"
    KEPT = "kept"  # the new rule would hold or suppress: only a person may do that to a waiting retry


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One retry and its new values, as ``replan.lua`` takes them."""

    delivery: str
    effect: Effect
    wanted: Mapping[str, Any]
    payload: bytes


def replanned(delivery: Delivery, failure: HistoryLine, *, policy: Policy, now: int) -> Effect | Move:
    """Return the move of a waiting retry under ``policy``, or why it stays as it is.

    ``failure``: the history line that scheduled it. A retry that is due, or that a person made due, is
    unchanged. Times are compared in seconds, because records keep seconds.
    """
    if delivery.is_urgent or delivery.due is None or delivery.due <= now:
        return Effect.UNCHANGED
    channel = Channel(delivery.channel) if delivery.channel else None
    rule = rule_of_delivery(delivery, policy, smtp=failure.smtp, text=failure.text)
    do = _verdict(rule)
    if do not in (Disposition.RETRY, Disposition.DROP):
        return Effect.KEPT
    at, received, limits = failure.dated, failure.at, policy.limits
    dues = due_times(
        rule,
        at=at,
        now=received,
        min_delay=limits.min_delay,
        seed=f"{delivery.reference}|{delivery.channel}",
        subject=only_recipient(delivery.recipients, channel, lacks_plus=policy.lacks_plus),
        timezone=delivery.extra.get("timezone"),
    )
    done = delivery.answered(rule.fault)
    deadline = min(delivery.first_failed + rule.give_up_after, delivery.own_deadline) // 1000
    is_over = do is Disposition.DROP or done >= len(dues) or delivery.attempt > limits.max_attempts
    due, is_quiet = (0, False) if is_over else (dues[done].at // 1000, dues[done].quiet)
    old = delivery.due // 1000
    wanted: dict[str, Any] = {"attempt": delivery.attempt, "was_due": old}
    if is_over or due > deadline:
        effect = Effect.DROPPED
        wanted |= {"due": now // 1000, "deadline": now // 1000 - 1, "last": delivery.attempt}
    elif abs(due - old) <= 1:
        return Effect.UNCHANGED
    else:
        effect = Effect.EARLIER if due < old else Effect.LATER
        last = min(delivery.attempt + len(dues) - done - 1, limits.max_attempts)
        wanted |= {"due": due, "deadline": deadline, "last": last}
        if is_quiet:
            wanted["waits_for"] = "quiet"
    payload = row_of(delivery, rule, revision=policy.revision)
    return Move(delivery=delivery.id, effect=effect, wanted=wanted, payload=payload)


def _verdict(rule: Rule) -> Disposition:
    confirm = confirmation(rule) if rule.do is Disposition.SUPPRESS else None
    do = confirm.meanwhile if confirm else rule.do
    return Disposition.HOLD if do is Disposition.RETRY and rule.off else do
