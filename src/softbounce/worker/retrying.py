"""How the worker repeats calls that may succeed later: with jitter, up to a limit, until it is to stop."""

import threading
from collections.abc import Callable

import tenacity

from softbounce.errors import TryAgain


def retrier(
    stopping: threading.Event,
    *,
    errors: type[Exception] | tuple[type[Exception], ...] = TryAgain,
    limit: float | None = None,
    on_failure: Callable[[tenacity.RetryCallState], None] | None = None,
) -> tenacity.Retrying:
    """Return a caller that repeats a call on ``errors`` after 0.1 s doubling to 5 s.

    It raises the last error after ``limit`` seconds, or once ``stopping`` is set; a first call is made in any
    case. ``on_failure`` is called after each failure that another call will follow.
    """
    over = tenacity.stop_when_event_set(stopping)
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(errors),
        wait=tenacity.wait_exponential_jitter(multiplier=0.1, max=5, jitter=0.1),
        stop=over if limit is None else over | tenacity.stop_after_delay(limit),
        sleep=tenacity.sleep_using_event(stopping),
        before_sleep=on_failure,
        reraise=True,
    )
