"""Named points at which a test ends the process, as ``kill -9`` would: ``SOFTBOUNCE_FAULT=point:nth``.

``point:nth:stop`` freezes it there with SIGSTOP, until somebody sends SIGCONT.
"""

import os
import signal
from functools import cache
from itertools import count

POINTS = {
    "intake.read": "reports are read, none is decided",
    "intake.decided": "before accept",
    "intake.accepted": "after accept, before the acknowledgement",
    "intake.acknowledged": "after the acknowledgement",
    "intake.taken_over": "reports of a dead worker are taken over, not yet decided",
    "celery.received": "a report by Celery, before accept",
    "celery.accepted": "a report by Celery, accepted and not yet acknowledged",
    "celery.buried": "what Celery cannot read is kept, and not yet acknowledged",
    "pump.claimed": "after claim",
    "handover.begun": "before the first command of a batch leaves",
    "handover.half": "one command has left, the next has not (Celery)",
    "handover.out": "every command of the batch has left, before finish",
    "pump.finished": "after finish",
    "notices.claimed": "after the claim of notices",
    "notices.told": "notices are out, before they are forgotten",
    "notices.finished": "after notices are forgotten",
    "policy.read": "a changed policy is read and not yet in force",
    "policy.loaded": "a changed policy is in force",
    "chores.swept": "after a sweep",
    "stop.begun": "the worker is to stop, what has begun is not finished",
    "stop.drained": "all that had begun is finished, the process has not ended",
}
"""Every point with what it means."""

_passed = count(1)


def reached(point: str) -> None:
    """Kill or freeze the process if ``SOFTBOUNCE_FAULT`` names ``point``; else it costs two comparisons."""
    if (plan := _plan()) and plan[0] == point and next(_passed) == plan[1]:
        os.kill(os.getpid(), plan[2])


@cache
def _plan() -> tuple[str, int, signal.Signals] | None:
    point, _, rest = os.environ.get("SOFTBOUNCE_FAULT", "").partition(":")
    nth, _, word = rest.partition(":")
    return (point, int(nth or 1), signal.SIGSTOP if word == "stop" else signal.SIGKILL) if point else None
