"""Two simpler ways in the same world: no retry at all, and a plain retry that remembers nothing."""

from dataclasses import dataclass

from softbounce.core.durations import MINUTE
from softbounce.demo.world import Message, World

PLAIN = [minutes * MINUTE for minutes in (1, 2, 4, 8, 16)]


@dataclass(slots=True, kw_only=True)
class Score:
    """What one way of retrying did in the world, as the world counts it."""

    delivered: int = 0
    recovered: int = 0
    late: int = 0  # of those recovered: the receipt came late, and no resend helped
    extra: int = 0
    extra_to_lost: int = 0
    doubled: int = 0  # the same message twice on a phone
    at_night: int = 0
    cases: int | None = None


def count_send(score: Score, message: Message, moment: int) -> None:
    """Count one send beyond the first."""
    score.extra += 1
    score.extra_to_lost += message.person.is_lost
    score.at_night += message.person.channel == "sms" and message.person.is_night(moment)


def count_arrivals(score: Score, message: Message, arrivals: list[int], *, has_failed: bool) -> None:
    """Count what arrived of one message after all its sends."""
    score.delivered += bool(arrivals)
    score.recovered += bool(arrivals) and has_failed
    score.late += bool(arrivals) and has_failed and message.is_late and len(arrivals) == 1
    score.doubled += message.person.channel == "sms" and len(arrivals) > 1


def no_retry(world: World) -> Score:
    """Send once."""
    score = Score()
    for message in world.messages:
        arrived, reports = world.carry(message, message.sent)
        count_arrivals(score, message, [arrived] if arrived else [], has_failed=reports[0].code is not None)
    return score


def plain_retry(world: World) -> Score:
    """Send again 1, 2, 4, 8, 16 minutes after a failure, whatever the code, until a delivery is known."""
    score = Score()
    for message in world.messages:
        arrived, reports = world.carry(message, message.sent)
        arrivals = [arrived] if arrived else []
        has_failed = reports[0].code is not None
        known = min((report.at for report in reports if report.code is None), default=None)
        moment = reports[0].at
        for delay in PLAIN if has_failed else ():
            moment += delay
            if known is not None and known <= moment:
                break
            count_send(score, message, moment)
            arrived, reports = world.carry(message, moment)
            if arrived:
                arrivals.append(arrived)
            delivered = min((report.at for report in reports if report.code is None), default=None)
            known = min((at for at in (known, delivered) if at is not None), default=None)
            if reports[0].code is None:
                break
            moment = reports[0].at
        count_arrivals(score, message, arrivals, has_failed=has_failed)
    return score
