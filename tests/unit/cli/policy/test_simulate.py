"""``softbounce policy simulate``: two policies on one record; every number of the small ones counted by hand."""

import json
import random
from itertools import count
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from softbounce.cli.policy.file import app
from softbounce.core.durations import HOUR
from softbounce.errors import InvalidPolicy, InvalidSettings
from softbounce.simulate.recording import read
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


pytestmark = pytest.mark.usefixtures("logging_as_before")


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


def test_a_message_arrives_at_its_first_receipt_and_one_that_never_failed_in_any_case():
    """Whatever order receipts come in, and whichever resend they name."""
    events = [
        bounce("m3", "09:00"),
        arrived("m3", "15:00", resendId="z"),
        arrived("m3", "12:30", resendId="y"),
        arrived("m1", "09:00", resendId="x"),
    ]
    record = read(json.dumps(event).encode() for event in events)
    (fate,) = record.fates.values()

    assert (fate.arrived - fate.failed, record.apart) == (3.5 * HOUR, 1)


def test_the_rate_of_a_provider_is_lifted_as_the_hand_over_rate_is(simulate):
    """How many leave a second is no property of a policy's rules: all of forty leave, in both policies."""
    slow = simulate.policy()
    slow.write_text(slow.read_text() + 'providers: {"*": {rate: 1/1d}}\n')
    found = simulate([bounce(f"m{n}", "09:00", claim=n + 1) for n in range(40)], None, slow, "--json")

    a, b, _ = rows(found)["resends"]
    assert a == b == (40, 80)


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


@pytest.mark.parametrize("seed", range(4))
def test_a_policy_differs_from_itself_in_nothing(simulate, seed):
    """Chance follows from the delivery alone, and no run sees what another left."""
    rng = random.Random(seed)
    events = []
    for number in range(150):
        reference, hour = f"m{number}", rng.randrange(20)
        if rng.random() < 0.4:
            events.append(bounce(reference, f"{hour:02}:{rng.randrange(60):02}", claim=number))
        if rng.random() < 0.7:
            more = {"resendId": "x"} if rng.random() < 0.5 else {}
            events.append(arrived(reference, f"{hour + rng.randrange(4):02}:59", **more))
        phone = f"+49151234{rng.randrange(30):05}"
        events.append(
            at(failed(f"s{number}", to=phone, claim=number), f"{hour:02}:30", day=20 + rng.randrange(8))
        )

    found = simulate(events, None, None, "--json")

    assert found.exit_code == 0, found.output
    for row in json.loads(found.stdout)["rows"]:
        assert row["a"] == row["b"], row["name"]
        assert row["difference"] == {"low": 0, "high": 0}, row["name"]
    assert rows(found)["resends"][0][0] > 100


def test_a_verdict_that_a_send_could_change_is_estimated_even_where_both_worlds_agree(simulate):
    """The send to m1 arrives in both worlds and clears what counts against the recipient of m2."""
    again = bounce("m2", "15:00")
    again["claim"]["communication"]["recipients"] = ["m1@example.com"]

    alone = simulate([bounce("m1", "09:00"), arrived("m1", "09:50", resendId="x")], None, None, "--json")
    known = simulate(
        [bounce("m1", "09:00"), arrived("m1", "09:50", resendId="x"), again], None, None, "--json"
    )

    assert rows(alone)["resends"] == ((1, 1), (1, 1), True)
    assert rows(alone)["delivered"] == ((1, 1), (1, 1), False)
    assert rows(alone)["escalated"] == ((0, 0), (0, 0), True)
    assert rows(known)["escalated"] == ((0, 0), (0, 0), False)
    assert rows(known)["suppressed"] == ((0, 0), (0, 0), False)


def test_a_late_receipt_delivers_whatever_was_sent(simulate):
    """A receipt that answers no resend comes under any policy, and ends what waits."""
    found = simulate([bounce("m1", "09:00"), arrived("m1", "09:30")], None, None, "--json")

    assert rows(found)["delivered"] == ((1, 1), (1, 1), True)
    assert rows(found)["resends"] == ((0, 0), (0, 0), True)


def test_a_text_in_the_night_is_one_where_the_recipient_is(simulate):
    """A keeps to the night of Berlin, 21:30 there; B does not. --night says it where A has no quiet hours."""
    quiet = simulate.policy(quiet='{from: "20:00", to: "08:00", spread: 0s}')
    events = [at(failed("m1", to="+4915112345678"), "19:30")]

    assert rows(simulate(events, quiet, simulate.policy(), "--json"))["nights"][:2] == ((0, 0), (1, 2))
    assert rows(simulate(events, None, None, "--json"))["nights"][:2] == ((0, 0), (0, 0))
    assert rows(simulate(events, None, None, "--json", "--night", "20:00-08:00"))["nights"][0] == (1, 2)


def test_each_resend_costs_the_price_of_its_country_or_else_of_its_channel(simulate):
    """One text to Germany, one to France, and both are tried twice if nobody is reached."""
    events = [at(failed("m1", to="+4915112345678"), "09:30"), at(failed("m2", to="+33612345678"), "09:30")]

    found = simulate(events, None, None, "--json", "--price", "sms=0.10", "--price", "sms:de=0.03")

    assert rows(found)["cost"][0] == (0.13, 0.26)


def test_lines_that_cannot_be_read_are_named_and_the_rest_is_done(simulate):
    """Exit code 5: done in part, each failure on stderr."""
    undated = failed("m9", "BOUNCE_TRANSIENT_GENERAL")

    found = simulate([*FOUR, "not json", undated], None, None, "--json")

    assert found.exit_code == 5
    assert rows(found)["resends"][0] == (3, 4)
    assert '"event": 7, "reason": "is not JSON' in found.stderr
    assert '"event": 8, "reason": "has no time' in found.stderr
    assert "2 of 8 failed" in found.stderr


def test_a_policy_that_cannot_be_read_is_refused_with_its_findings(simulate):
    """``main`` makes exit code 1 of it, as of any invalid policy."""
    wrong = Path("wrong.yaml")
    wrong.write_text("version: 1\ncodez: {}\n", encoding="utf-8")

    found = simulate(FOUR, wrong)

    assert isinstance(found.exception, InvalidPolicy)
    assert "wrong.yaml:2" in str(found.exception)


@pytest.mark.parametrize(
    "option", ["--price=sms", "--price=fax=1", "--price=sms=-1", "--night=8", "--night=1-1"]
)
def test_options_that_cannot_be_meant_are_refused(simulate, option):
    """The sentence names the option and its form."""
    found = simulate(FOUR, None, None, option)

    assert isinstance(found.exception, InvalidSettings)
    assert option[2:7] in str(found.exception)


def test_the_plot_has_two_bars_a_row_and_every_number_of_the_table(simulate):
    """It is well-formed, and needs no other file."""
    found = simulate(FOUR, None, None, "--svg", "out.svg")

    assert found.exit_code == 0, found.output
    drawn = Path("out.svg").read_text(encoding="utf-8")
    ET.fromstring(drawn)  # noqa: S314 - our own
    assert ">A 3 - 4<" in drawn
    assert ">suppressed recipients, exact<" in drawn


def test_the_bars_in_the_terminal_are_light_where_they_are_a_range(simulate):
    """Two lines a row; the longest bar of a row is its largest figure."""
    found = simulate(FOUR, None, None, "--bars")
    start = found.stdout.index("\n\n")
    lines = found.stdout[start:].strip().splitlines()

    assert len(lines) == 2 * len(rows(simulate(FOUR, None, None, "--json")))
    (resends,) = (line for line in lines if line.startswith("resends"))
    assert resends.count("█") + resends.count("░") == 50
    assert "░" in resends


def test_a_report_of_the_year_9999_does_not_make_the_replay_wait_for_it(simulate):
    """Where nothing waits, the clock passes years in one step."""
    dates = ("0001-01-01T00:00:00+14:00", "2026-11-20T00:00:00Z", "9999-12-31T23:59:59-12:00")
    events = [
        failed(f"m{number}", "BOUNCE_TRANSIENT_GENERAL", to=f"m{number}@example.com", claim=number)
        | {"date": date}
        for number, date in enumerate(dates)
    ]

    assert rows(simulate(events, None, None, "--json"))["resends"][0] == (2, 4)
