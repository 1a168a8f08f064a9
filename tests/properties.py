"""How a property is tried: for a bounded time, and its failing example is shown before it is made smaller.

``tests/conftest.py`` tries every ``@given`` test so. A state machine calls ``hold(get_state_machine_test(Machine, settings=...))``.
"""

import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import pytest
from hypothesis import Phase, core, settings
from hypothesis.control import current_build_context

SECONDS = 60.0  # for new examples; what they have found is made smaller without a limit of ours


class TimeIsUp(BaseException):
    """No example has failed so far, and that is enough."""


def show(text: str) -> None:
    """Write to the terminal at once, whatever becomes of this test."""
    sys.stderr.write(text)


def hold(
    test: Any,
    arguments: Mapping[str, Any] | None = None,
    *,
    seconds: float = SECONDS,
    now: Callable[[], float] = time.monotonic,
    show: Callable[[str], None] = show,
) -> None:
    """Call a test made by ``@given``: new examples for so many seconds, and if one fails, a smaller one.

    It is called a second time to make the example smaller: by the same seed, so that it meets the same one.
    """
    function, handle = getattr(test, "__func__", test), test.hypothesis
    inner, given, seed = (
        handle.inner_test,
        function._hypothesis_internal_use_settings,
        function._hypothesis_internal_use_seed,
    )
    end = now() + seconds

    @wraps(inner)
    def bounded(*args: Any, **named: Any) -> Any:
        result = inner(*args, **named)
        # Not before it: one that ends before its first draw, where another drew, is called flaky.
        if now() >= end and not current_build_context().is_final:
            raise TimeIsUp
        return result

    def call(body: Callable[..., Any], without: Phase) -> None:
        phases = [phase for phase in given.phases if phase is not without]
        handle.inner_test, function._hypothesis_internal_use_settings = body, settings(given, phases=phases)
        test(**arguments or {})

    try:
        if seed is None and not given.derandomize and core.global_force_seed is None:
            function._hypothesis_internal_use_seed = random.getrandbits(64)
        call(bounded, Phase.shrink)
    except TimeIsUp:
        return
    except (Exception, pytest.fail.Exception) as found:
        if Phase.shrink in given.phases:
            show(
                "".join(traceback.format_exception(found)) + "\nThat was the first; now for a smaller one.\n"
            )
            signal.setitimer(signal.ITIMER_REAL, 0)  # the limit of pytest-timeout is one for tests that hang
            call(inner, Phase.reuse)  # what was kept counts as small already
        raise
    finally:
        (
            handle.inner_test,
            function._hypothesis_internal_use_settings,
            function._hypothesis_internal_use_seed,
        ) = inner, given, seed
