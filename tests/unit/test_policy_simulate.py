"""``softbounce policy simulate``: two policies on one record; every number of the small ones counted by hand."""

import json
import logging
from itertools import count
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner

from softbounce.cli.policy import app
from softbounce.testing import delivered, failed

EMAIL_RULES = """
version: 1
name: {name}
channels:
  email: {{}}
  sms: {{quiet_hours: {quiet}}}
codes:
  BOUNCE_TRANSIENT_GENERAL: {{do: retry, fault: recipient, retry: {{delays: {delays}, jitter: 0%, settle: 0s}}}}
  SMS_EXPIRED: {{do: retry, fault: recipient, retry: {{delays: {delays}, jitter: 0%, settle: 0s}}}}
  BOUNCE_PERMANENT_NO_EMAIL: {{do: suppress, fault: recipient}}
"""


@pytest.fixture(autouse=True)
def logging_as_before():
    """The command sets up the logs of its whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def simulate(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    numbers = count()

    def policy(delays="[1h, 3h]", quiet="off"):
        path = Path(f"policy{next(numbers)}.yaml")
        path.write_text(EMAIL_RULES.format(name=path.stem, delays=delays, quiet=quiet), encoding="utf-8")
        return path

    def simulate(events, a=None, b=None, *options):
        lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
        Path("log.ndjson").write_text("\n".join(lines), encoding="utf-8")
        a = policy() if a is None else a
        return CliRunner().invoke(
            app, ["simulate", "-a", str(a), "-b", str(b or a), "--events", "log.ndjson", *options]
        )

    simulate.policy = policy
    return simulate


def at(event, time, day=23):
    """Date an event, and receive it at once."""
    moment = f"2026-11-{day}T{time}:00Z"
    return event | {"date": moment, "receivedAt": moment}


def bounce(reference, time, code="BOUNCE_TRANSIENT_GENERAL", **more):
    """Return an e-mail that failed."""
    return at(failed(reference, code, to=f"{reference}@example.com", **more), time)


def arrived(reference, time, **more):
    """Return an e-mail that was delivered."""
    return at(delivered(reference, channel="email", to=f"{reference}@example.com", **more), time)


def rows(found):
    """Return the range of A, of B, and whether the row is exact, by row."""
    return {
        row["name"]: (
            (row["a"]["low"], row["a"]["high"]),
            (row["b"]["low"], row["b"]["high"]),
            row["exact"],
        )
        for row in json.loads(found.stdout)["rows"]
    }


FOUR = [
    arrived("m1", "09:00"),  # never failed
    bounce("m2", "09:00", "BOUNCE_PERMANENT_NO_EMAIL"),
    bounce("m3", "09:00"),  # got its second resend, at the latest at 12:30
    bounce("m3", "10:00", resendId="x"),
    arrived("m3", "12:30", resendId="y"),
    bounce("m4", "09:00"),  # never arrived
]


def test_each_number_of_four_messages_is_the_one_counted_by_hand(simulate):
    """m3 goes at 10:00 in vain, then at 13:00; m4 goes at 10:00 and arrives, or goes twice and is given up."""
    found = simulate(FOUR, None, None, "--json")

    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["events"] == 6
    assert rows(found) == {
        "suppressed": ((1, 1), (1, 1), True),
        "escalated": ((0, 0), (0, 0), True),
        "delivered": ((2, 3), (2, 3), False),
        "resends": ((3, 4), (3, 4), False),
        "nights": ((0, 0), (0, 0), True),
        "given_up": ((0, 1), (0, 1), False),
    }


def test_a_policy_with_shorter_delays_resends_more(simulate):
    """Sends before the recipient is reachable are in vain, and the more of them there are."""
    found = simulate(FOUR, None, simulate.policy("[15m, 15m, 15m, 15m, 5h]"), "--json")

    (low, high), (more_low, more_high), _ = rows(found)["resends"]
    assert more_low > low
    assert more_high > high


def test_what_the_first_reports_say_alone_is_exact_and_one_number(simulate):
    """A suppression by the first report depends on no send."""
    found = simulate(FOUR, simulate.policy(), simulate.policy("[2h]"))

    lines = {line[:20].strip(): line[20:].split() for line in found.stdout.splitlines()[2:]}
    assert lines["suppressed recipients"[:20]][-1] == "exact"
    assert lines["delivered"][-1] == "estimated"
    assert "2 - 3" in found.stdout
