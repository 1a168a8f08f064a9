"""Whoever starts a process for a test waits for its end."""

import signal
import subprocess
import sys

import pytest
from tests.servers import end

DEAF = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
)
OBEYS = "import signal; print(flush=True); signal.pause()"


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(("program", "patience"), [(OBEYS, 20), (DEAF, 0.1)], ids=["obeys", "deaf"])
def test_a_process_that_is_ended_is_gone_whatever_it_does(program, patience, frozen):
    """In order where it obeys, by force where it is frozen or hears nothing; never left behind."""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603 - our own words
        process.stdout.readline()
        if frozen:
            process.send_signal(signal.SIGSTOP)
        code = end(process, patience=0.1 if frozen else patience)

        assert process.returncode == code < 0
        assert frozen or code == (-signal.SIGTERM if program == OBEYS else -signal.SIGKILL)
