"""Named points at which a test ends the process: ``SOFTBOUNCE_FAULT=point:nth``, as ``kill -9`` would."""

import os
import signal
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
    "stop.begun": "the word to stop came, what has begun is not finished",
    "stop.drained": "all that had begun is finished, the process has not ended",
}
"""Every point with what it means."""

_POINT, _, _NTH = os.environ.get("SOFTBOUNCE_FAULT", "").partition(":")
_passed = count(1)


def reached(point: str) -> None:
    """End the process if it is to end here; otherwise this costs a comparison."""
    if point == _POINT and next(_passed) == int(_NTH or 1):
        os.kill(os.getpid(), signal.SIGKILL)
