"""Why a message that the store knows stands as it does: its last report, and what is against a try."""

from collections.abc import Iterator
from dataclasses import replace

from softbounce.core.decide import Plan
from softbounce.core.policy.model import Policy
from softbounce.core.records import Json
from softbounce.core.timestamps import iso
from softbounce.explain import decision, delivery
from softbounce.explain.barriers import against
from softbounce.explain.recipient import counted
from softbounce.store import Situation

OUTCOMES = {"waiting": "scheduled", "leased": "handed over", "out": "handed over"}  # by state


def as_json(situation: Situation, policy: Policy, *, zone: str, all_layers: bool = False) -> Json:
    """Return the delivery, and the decision on its last report if one is kept, with ``whyNot``."""
    story = situation.story
    told, became = delivery.as_json(story, reveal=False), delivery.becomes(situation)
    if became in ("cancelled", "suppressed", "delivered"):  # its record may say so later
        told |= {"outcome": became, "nextTry": None}
    elif delivery.is_observed(story):
        told |= {"outcome": "observed"}
    if (planned := delivery.last_report(story, policy)) is None:
        return told
    decided = decision.as_json(planned, policy=policy, all_layers=all_layers)
    if decided["escalate"]:
        decided["escalate"]["count"] = _soft_bounces(situation, planned)
    if became == "suppressed":
        until, origin = iso(situation.verdict.until), planned.rule.suppression.origin
        decided["suppress"] = {"recipient": told["recipient"], "until": until, "origin": origin}
    why_not = decision.why_not(facts(situation, planned, policy, zone=zone))
    return told | decided | {"nextTry": told["nextTry"], "whyNot": why_not}


def as_text(situation: Situation, policy: Policy, *, zone: str, all_layers: bool = False) -> Iterator[str]:
    """Yield the same as lines for a person; times are in the reader's ``zone``."""
    if (planned := delivery.last_report(situation.story, policy)) is None:
        yield from delivery.as_text(situation, zone=zone)
        return
    known = facts(situation, planned, policy, zone=zone)
    yield from decision.explain_text(replace(known, all_layers=all_layers))
    revision = situation.story.delivery.revision
    if revision != policy.revision:
        yield f"  decided under policy {revision}; the lines are of {policy.file} as it is now"


def facts(situation: Situation, planned: Plan, policy: Policy, *, zone: str) -> decision.Facts:
    """Return what completes the decision on a report from what the store knows of its delivery."""
    story = situation.story
    kept = story.delivery
    place, due = delivery.place(planned, kept), kept.due
    became = delivery.becomes(situation)
    is_waiting = became == "waiting" and place <= len(planned.dues)
    if is_waiting and planned.dues[place - 1].at // 1000 * 1000 == due:
        due = planned.dues[place - 1].at  # the store keeps seconds
    if delivery.is_observed(story):
        became = "observed"
    outcome = OUTCOMES.get(str(became), became)
    return decision.Facts(
        plan=planned,
        policy=policy,
        now=situation.at,
        zone=zone,
        outcome=outcome,
        headline=None if is_waiting or outcome == "held" else delivery.headline(situation, zone=zone),
        rid=None if kept.rid.startswith("*") else kept.rid,
        shown=delivery.shown(story),
        attempt=kept.attempt,
        place=place,
        due=due,
        deadline=kept.deadline,
        soft_bounces=_soft_bounces(situation, planned),
        case=delivery.case_of(story),
        history=tuple(delivery.history_text(story)),
        obstacles=tuple(against(situation, planned, policy=policy, zone=zone)),
    )


def _soft_bounces(situation: Situation, planned: Plan) -> int | None:
    """Return how many soft bounces count towards an escalation; None where nobody in particular is meant."""
    if situation.story.delivery.rid.startswith("*"):
        return None
    return counted(situation.soft_bounces, planned.rule.soft_bounce)
