"""The commands on a store: what they show, what they change, and what they refuse."""

import json
import secrets
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import pytest
from live import HOUR, MINUTE, START, failed
from typer.testing import CliRunner, Result

from softbounce.cli.main import app
from softbounce.core.decide import decide
from softbounce.core.policy import file as policy_file
from softbounce.core.policy.model import Policy
from softbounce.settings import policy_text
from softbounce.store import Finish, Store
from softbounce.store.audit import By
from softbounce.store.ledger import Accepted

NUMBER = "+4915112345678"


@dataclass
class Desk:
    """A store of one test in virtual time, what a worker does to it, and the commands."""

    store: Store
    policy: Policy

    def run(self, *words: object, stdin: str | bytes | None = None) -> Result:
        """Run one command."""
        result = CliRunner().invoke(app, [str(word) for word in words], input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    def data(self, *words: object, stdin: str | bytes | None = None) -> list[dict[str, Any]]:
        """Run one command and return its NDJSON."""
        return [
            json.loads(line) for line in self.run(*words, "-o", "ndjson", stdin=stdin).stdout.splitlines()
        ]

    def report(self, *events: dict[str, Any] | bytes) -> list[Accepted]:
        """Let events be accepted, as a worker does."""
        raws = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
        decisions = [decide(raw, policy=self.policy, now=self.store.now()) for raw in raws]
        return self.store.ledger.accept(decisions, policy=self.policy)

    def pump(self) -> list[str]:
        """Hand over what is due, as a worker does; return the references."""
        claimed = self.store.ledger.claim(policy=self.policy, limit=100, lease=30_000)
        done = [
            Finish(delivery=lease.delivery.id, token=lease.token, result="handed_over", note="stream:x")
            for lease in claimed.leases
        ]
        self.store.ledger.finish(done, policy=self.policy)
        return [lease.delivery.reference for lease in claimed.leases]

    def waiting(self) -> list[str]:
        """Return the references that wait and will leave."""
        return [row["reference"] for row in self.data("retries", "list", "-state:cancelled,suppressed")]

    def audit(self) -> dict[str, Any]:
        """Return the newest audit entry."""
        return self.data("audit", "list", "--limit", 1)[0]


@pytest.fixture
def desk(valkey: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """A namespace of this test alone, at a Sunday morning in Berlin."""
    namespace = f"cli-{secrets.token_hex(4)}"
    monkeypatch.setenv("SOFTBOUNCE_REDIS_URL", valkey)
    monkeypatch.setenv("SOFTBOUNCE_NAMESPACE", namespace)
    monkeypatch.chdir(tmp_path)
    store = Store.open(valkey, namespace=namespace)
    store.set_now(START)
    text, file = policy_text()
    yield Desk(store, policy_file.load(text, file=file))
    store.close()


def mailbox_full(reference: str, **fields: Any) -> dict[str, Any]:
    """Return a report of a full mailbox; each reference has an address of its own."""
    event = failed(
        reference, "BOUNCE_TRANSIENT_MBX_FULL", channel="EMAIL", recipients=[f"{reference}@web.de"]
    )
    return event | {"claim": event["claim"] | fields}


# What waits -------------------------------------------------------------------------------------------------


def test_the_list_shows_what_waits_the_next_one_first(desk):
    """Cause, try, masked recipient and time, in stable names."""
    desk.report(failed("slow"), failed("quick", "PROVIDER_ERROR"))
    quick, slow = desk.data("retries", "list")

    assert (quick["reference"], slow["reference"]) == ("quick", "slow")
    assert (quick["cause"], quick["attempt"], quick["maxAttempts"]) == ("Provider unavailable", 1, 6)
    assert quick["nextTry"].endswith("Z")
    assert "•••" in quick["address"]


def test_the_filter_finds_by_key_by_not_and_by_an_address(desk):
    """An address in a filter is looked for by its hash; nothing keeps it."""
    desk.report(failed("a", recipients=[NUMBER]), failed("b"), mailbox_full("c"))

    assert [row["reference"] for row in desk.data("retries", "list", f"recipient:{NUMBER}")] == ["a"]
    assert {row["reference"] for row in desk.data("retries", "list", "channel:sms")} == {"a", "b"}
    assert [row["reference"] for row in desk.data("retries", "list", "-channel:sms")] == ["c"]
    assert {row["reference"] for row in desk.data("retries", "list", "a", "c")} == {"a", "c"}


def test_an_unknown_filter_key_names_the_nearest(desk):
    """Wrong usage, exit code 2."""
    result = desk.run("retries", "list", "chanel:sms")

    assert result.exit_code == 2
    assert "did you mean 'channel'" in result.stderr


def test_addresses_show_in_full_only_when_asked_for_and_the_audit_knows(desk):
    """Masked on every screen; ``--reveal`` leaves a trace that holds no address itself."""
    desk.report(failed("a", recipients=[NUMBER]))
    masked = desk.run("retries", "list").output + desk.run("retries", "show", "a").output
    masked += desk.run("explain", "a").output + desk.run("retries", "export").output
    (shown,) = desk.data("retries", "list", f"recipient:{NUMBER}", "--reveal")

    assert NUMBER not in masked
    assert shown["address"] == NUMBER
    assert desk.audit()["action"] == "reveal"
    assert NUMBER not in desk.run("audit", "list").output


def test_a_retry_is_sent_now_by_a_person_s_word(desk):
    """The history and the audit say who and why."""
    desk.report(failed("a"))
    result = desk.run("retries", "run-now", "a", "--reason", "customer waits", "--actor", "eva")

    assert desk.pump() == ["a"]
    assert result.exit_code == 0
    assert (desk.audit()["actor"], desk.audit()["reason"]) == ("eva", "customer waits")
    assert "eva: customer waits" in desk.run("explain", "a").stdout


def test_what_matches_nothing_is_refused(desk):
    """The answer is no, exit code 1: a script must not go on as if it had done something."""
    result = desk.run("retries", "run-now", "nobody", "--reason", "x")

    assert (result.exit_code, result.stdout) == (1, "")


def test_a_cancelled_claim_stops_what_waits_and_what_is_reported_later(desk):
    """After the payment no reminder leaves, whichever report comes first."""
    desk.report(failed("before") | {"claim": failed("before")["claim"] | {"id": 54321}})
    result = desk.run("retries", "cancel", "claim:54321", "--reason", "paid")
    (later,) = desk.report(failed("later") | {"claim": failed("later")["claim"] | {"id": 54321}})
    (row,) = desk.data("retries", "list", "before")
    desk.store.set_now(START + 3 * HOUR)

    assert result.exit_code == 0
    assert (row["state"], later.outcome) == ("cancelled", "cancelled")
    assert desk.pump() == []
    assert "Stopped by" in desk.run("explain", "before").stdout
    assert "paid" in desk.run("explain", "before").stdout


def test_a_cancel_before_anything_waits_holds_as_well(desk):
    """The payment may be known before the first failure."""
    assert desk.run("retries", "cancel", "reference:early", "--reason", "paid").exit_code == 0

    assert [answer.outcome for answer in desk.report(failed("early"))] == ["cancelled"]


def test_a_filter_of_several_words_cancels_the_references_it_finds(desk):
    """No marker says "SMS of merchant 1"; each message that matches gets its own."""
    desk.report(failed("a"), mailbox_full("b"))
    desk.run("retries", "cancel", "channel:sms", "merchant:1", "--reason", "wrong text")

    assert desk.waiting() == ["b"]


def test_a_dry_run_changes_nothing(desk):
    """Count and samples only."""
    desk.report(failed("a"))
    result = desk.run("retries", "cancel", "merchant:1", "--reason", "x", "--dry-run")

    assert (result.exit_code, desk.waiting()) == (0, ["a"])
    assert "1 waiting retry matches: a " in result.stderr
    assert desk.data("audit", "list") == []


def test_a_pause_holds_back_and_ends_by_itself(desk):
    """What becomes due waits until the pause is over, and then leaves."""
    desk.report(mailbox_full("a"))
    (row,) = desk.data("retries", "pause", "channel:EMAIL", "--for", "8h", "--reason", "carrier")
    desk.store.set_now(START + 5 * HOUR + 50 * MINUTE)
    held_back = desk.pump()
    told = desk.run("explain", "a").stdout
    desk.store.set_now(START + 8 * HOUR + MINUTE)

    assert (held_back, row["until"]) == ([], "2026-11-22T18:00:00Z")
    assert "its channel is paused until" in told
    assert desk.pump() == ["a"]


def test_a_pause_is_ended_in_the_words_that_made_it(desk):
    """What had become due meanwhile leaves at once."""
    desk.report(mailbox_full("a"), mailbox_full("b"))
    desk.run("retries", "pause", "merchant:1", "channel:email", "--for", "3d", "--reason", "x")
    desk.store.set_now(START + 5 * HOUR + 50 * MINUTE)
    desk.pump()
    result = desk.run("retries", "resume", "merchant:1", "channel:email", "--reason", "over")

    assert result.exit_code == 0
    assert sorted(desk.pump()) == ["a", "b"]


def test_resuming_says_which_other_pause_holds_it_back(desk):
    """An operator who ends one pause must not believe that all is on its way."""
    desk.report(failed("a"))
    desk.run("retries", "pause", "merchant:1", "--reason", "x")
    desk.run("retries", "pause", "channel:sms", "--reason", "y")

    assert "paused by channel:sms" in desk.run("retries", "resume", "merchant:1", "--reason", "over").stdout
    assert "paused" not in desk.run("retries", "resume", "channel:sms", "--reason", "over").stdout


def test_retries_are_found_by_provider(desk):
    """What waits behind a provider that is down."""
    desk.report(failed("a", provider="acme"), failed("b"))

    assert [row["reference"] for row in desk.data("retries", "list", "provider:acme")] == ["a"]


def test_explain_says_when_a_block_was_taken_away(desk):
    """A message that ended for a block tells whether sends are refused still."""
    desk.report(failed("a", "INVALID_MOBILE_NUMBER"))
    before = desk.run("explain", "a").stdout
    desk.run("suppressions", "remove", "code:INVALID_MOBILE_NUMBER", "--reason", "corrected")

    assert "are refused until" in before
    assert "are allowed again" in desk.run("explain", "a").stdout


def test_resuming_what_is_not_paused_names_what_is(desk):
    """A typing error must not look like a success."""
    desk.run("retries", "pause", "merchant:7", "--reason", "x")
    result = desk.run("retries", "resume", "merchant:8", "--reason", "x")

    assert result.exit_code == 1
    assert "merchant:7" in result.stderr


def test_an_export_has_a_row_for_each_retry(desk):
    """CSV for a spreadsheet, whose cells start no formula."""
    desk.report(failed("=cmd()"), failed("b"))
    rows = desk.run("retries", "export", "--format", "csv").stdout.splitlines()

    assert len(rows) == 3
    assert any(row.startswith("'=cmd()") for row in rows)


# Why --------------------------------------------------------------------------------------------------------


def test_explain_tells_a_message_s_whole_story(desk):
    """Headline, rule with its line, history, next tries, end, and how to hurry it."""
    desk.report(failed("a"))
    desk.store.set_now(START + 2 * HOUR)
    desk.pump()
    desk.report(failed("a") | {"eventId": "second", "date": "2026-11-22T14:00:00Z"})
    told = desk.run("explain", "a").stdout

    for part in ("outcome: scheduled", "2 of 4", "codes.SMS_EXPIRED", "resent", "event second", "gives up"):
        assert part in told
    assert "1 of 3 messages" in told
    assert "retries run-now a" in told


def test_explain_as_json_adds_the_history_to_the_decision(desk):
    """One object for each delivery, in stable names."""
    desk.report(failed("a"))
    desk.store.set_now(START + 2 * HOUR)
    desk.pump()
    (told,) = desk.data("explain", "a")

    assert (told["disposition"], told["state"], told["attempt"]) == ("retry", "out", 1)
    assert told["escalate"]["count"] == 1
    assert [step["what"] for step in told["history"]] == ["failed", "resent"]
    assert told["nextTry"] is None


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("BOUNCE_PERMANENT_NO_EMAIL", "outcome: suppressed"),
        ("PLACEHOLDER_ERROR", "outcome: held"),
        ("DEADLINE_EXCEEDED", "outcome: given_up"),
        ("NEVER_SEEN", "outcome: held"),
    ],
)
def test_explain_tells_how_a_message_ended(desk, code, said):
    """Also after the address was let go, in the words of the outcome."""
    desk.report(failed("a", code, channel="EMAIL", recipients=["j@web.de"]))
    told = desk.run("explain", "a").stdout

    assert said in told.splitlines()[0]
    assert "j@web.de" not in told


def test_a_retry_to_somebody_who_was_suppressed_meanwhile_will_not_leave(desk):
    """The list and explain say so before its time comes."""
    desk.report(failed("a", recipients=[NUMBER]))
    desk.run("suppressions", "add", NUMBER, "--reason", "asked")

    assert desk.data("retries", "list")[0]["state"] == "suppressed"
    assert "outcome: suppressed" in desk.run("explain", "a").stdout


def test_explain_says_why_a_due_retry_does_not_leave(desk):
    """The switch is off: who, since when, why."""
    desk.report(failed("a"))
    desk.run("mode", "off", "--reason", "wrong template", "--actor", "eva")

    assert "mode off since" in desk.run("explain", "a").stdout
    assert "by eva: wrong template" in desk.run("explain", "a").stdout


def why_not(desk, reference="a", *more):
    """Return what explain says holds a message back, by what would change it."""
    (told,) = desk.data("explain", reference, *more)
    return {row["change"]: row["what"] for row in told["whyNot"]}


def test_explain_names_the_command_against_each_thing_that_holds_a_retry(desk):
    """Mode, pauses, breaker: each with who, until when, and the words that end it."""
    desk.report(failed("a", recipients=[NUMBER]))
    rid = desk.data("explain", "a")[0]["recipient"]
    desk.run("mode", "off", "--merchant", "1", "--reason", "x")
    desk.run("retries", "pause", "a", "--for", "2d", "--reason", "x")
    desk.run("retries", "pause", f"recipient:{rid}", "--for", "2d", "--reason", "x")
    desk.run("breakers", "open", "sms:1", "--for", "2d", "--reason", "x")
    said = why_not(desk, "a", "--at", "2026-11-22T18:00:00Z")
    for command in (
        "softbounce mode on --merchant 1 --reason ...",
        "softbounce retries resume reference:a --reason ...",
        f"softbounce retries resume recipient:{rid} --reason ...",
        "softbounce breakers close sms:1 --reason ...; else it is probed then",
    ):
        assert command in said
        assert f"Change it: {command}" in desk.run("explain", "a").stdout
        desk.run(*command.partition("; else")[0].split()[1:])
    desk.store.control.beat("w1", {}, now=desk.store.now())

    assert all("ramping" in what for what in why_not(desk, "a", "--at", "2026-11-22T18:00:00Z").values())


def test_explain_at_a_time_to_come_says_what_holds_then(desk):
    """In the night the line of the quiet hours; in the morning nothing, once the pause is over."""
    desk.report(failed("a"))
    desk.run("retries", "pause", "a", "--for", "30h", "--reason", "x")
    desk.store.control.beat("w1", {}, now=desk.store.now())
    night = why_not(desk, "a", "--at", "2026-11-22T22:00:00Z")
    quiet = next(line for line in night if line.startswith("quiet_hours, "))

    assert night[quiet].startswith("quiet hours until 08:00")
    assert "softbounce retries resume reference:a --reason ..." in night
    assert why_not(desk, "a", "--at", "2026-11-24T10:00:00Z") == {}


def test_explain_of_a_due_retry_says_that_no_worker_is_there(desk):
    """Nothing else holds it: then somebody must start one."""
    desk.report(failed("a"))

    assert "softbounce worker" in why_not(desk, "a", "--at", "2026-11-23T10:00:00Z")


def test_explain_refuses_a_time_that_it_knows_nothing_of(desk):
    """The store keeps how things stand, not how they stood; a recipient stands as it is now."""
    desk.report(failed("a", recipients=[NUMBER]))
    past, recipient = (
        desk.run("explain", what, "--at", time)
        for what, time in (("a", "2020-01-01"), (NUMBER, "2027-01-01"))
    )

    assert (past.exit_code, recipient.exit_code) == (2, 2)
    assert "history says what was" in past.output
    assert "as of now" in recipient.output


def test_explain_says_which_cap_holds_a_retry_and_until_when(desk, tmp_path):
    """The policy's own key, what has left, and when the next may."""
    text = policy_text()[0].replace("resends_per_recipient: 6/1d", "resends_per_recipient: 1/1d")
    (tmp_path / "p.yaml").write_text(text)
    desk.policy = policy_file.load(text, file="p.yaml")
    desk.report(failed("a", recipients=[NUMBER]), failed("b", recipients=[NUMBER]))
    desk.store.set_now(START + 3 * HOUR)
    desk.pump()
    (waiting,) = desk.data("retries", "list")
    said = why_not(desk, waiting["reference"], "--policy", "p.yaml")

    assert waiting["state"] == "rate"
    assert said["limits.resends_per_recipient in p.yaml"].startswith(
        "limits.resends_per_recipient: 1/24h have left, the next may tomorrow"
    )


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("PLACEHOLDER_ERROR", "softbounce cases resolve k_1 --release --reason ...; for later reports: do, "),
        ("NEVER_SEEN", "for later reports: a rule for NEVER_SEEN under codes: of "),
        ("BOUNCE_PERMANENT_NO_EMAIL", "softbounce suppressions remove r_"),
        ("DEADLINE_EXCEEDED", "do, "),
    ],
)
def test_explain_says_what_would_change_how_a_message_ended(desk, code, change):
    """A held one is released, a block removed; else the line of the policy counts for later reports."""
    desk.report(failed("a", code, channel="EMAIL", recipients=["j@web.de"]))

    assert change in desk.run("explain", "a").stdout


def test_explain_offers_no_command_against_a_recipients_own_will(desk):
    """Who complained is not written to again by a command that was near at hand."""
    desk.report(failed("a", "COMPLAINT", channel="EMAIL", recipients=["j@web.de"]))

    assert "its recipient is suppressed." in desk.run("explain", "a").stdout
    assert "suppressions remove" not in desk.run("explain", "a").stdout


def test_explain_says_of_an_observed_try_that_nothing_was_sent(desk):
    """In mode observe a try is noted; it is not out."""
    desk.report(failed("a"))
    desk.run("mode", "observe", "--reason", "trial")
    desk.store.set_now(START + 3 * HOUR)
    desk.pump()
    told = desk.run("explain", "a").stdout

    assert "was observed today" in told.splitlines()[0]
    assert told.splitlines()[0].endswith("outcome: observed")
    assert "is out" not in told
    assert desk.data("explain", "a")[0]["outcome"] == "observed"


def test_explain_says_when_the_policy_has_changed_since(desk, monkeypatch, tmp_path):
    """Lines of today's file must not pass for the decision of another one."""
    desk.report(failed("a"))
    (tmp_path / "new.yaml").write_text(policy_text()[0].replace("90m, 4h", "91m, 4h"))
    monkeypatch.setenv("SOFTBOUNCE_POLICY", "new.yaml")

    assert f"decided under policy {desk.policy.revision}" in desk.run("explain", "a").stdout


def test_explain_of_a_recipient_shows_evidence_pause_and_what_waits(desk):
    """By the address in any spelling, or by its hash."""
    desk.report(failed("a", recipients=[NUMBER]), failed("b", "SMS_NOT_DELIVERED", recipients=[NUMBER]))
    (told,) = desk.data("explain", "0049 151 12345678", "--channel", "sms")
    (same,) = desk.data("explain", told["recipient"])

    assert same["waiting"] == told["waiting"]
    assert {row["reference"] for row in told["waiting"]} == {"a", "b"}
    assert list(told["reports"]) == ["SMS_NOT_DELIVERED"]
    assert (told["allowed"], len(told["softBounces"])) == (True, 2)
    assert NUMBER not in desk.run("explain", NUMBER).stdout


def test_what_nobody_knows_is_said_and_exits_1(desk):
    """For a reference; a recipient without a record may be sent to."""
    assert desk.run("explain", "nobody").exit_code == 1
    assert desk.run("retries", "show", "nobody").exit_code == 1
    assert desk.run("explain", NUMBER).exit_code == 0


# Who is refused ---------------------------------------------------------------------------------------------


def test_check_answers_by_exit_code(desk):
    """0 for allowed, 1 for refused, with the reason."""
    before = desk.run("suppressions", "check", NUMBER)
    desk.run("suppressions", "add", NUMBER, "--reason", "asked", "--expires", "90d", "--actor", "eva")
    after = desk.run("suppressions", "check", NUMBER)

    assert (before.exit_code, before.stdout) == (0, "allowed   Sends are allowed.\n")
    assert after.exit_code == 1
    assert after.stdout.startswith("suppressed   Listed by eva: asked. Sends are refused until Sat 20 Feb.")


def test_check_of_a_list_answers_in_order(desk):
    """One line each; what is no address may not be sent to."""
    desk.run("suppressions", "add", NUMBER, "--reason", "asked")
    result = desk.run(
        "suppressions",
        "check",
        "-",
        "--channel",
        "sms",
        "-o",
        "ndjson",
        stdin=f"+4917012345\n{NUMBER}\nnope\n",
    )
    verdicts = [json.loads(line) for line in result.stdout.splitlines()]

    assert [verdict["allowed"] for verdict in verdicts] == [True, False, False]
    assert verdicts[2]["recipient"] is None
    assert result.exit_code == 1


def test_a_merchant_s_block_binds_that_merchant_only(desk):
    """An objection to one sender is none to another."""
    desk.run("suppressions", "add", NUMBER, "--reason", "asked", "--merchant", "7")

    assert desk.run("suppressions", "check", NUMBER, "--merchant", "7").exit_code == 1
    assert desk.run("suppressions", "check", NUMBER, "--merchant", "8").exit_code == 0


def test_an_entry_is_removed_by_address_or_by_filter(desk):
    """Removing what is not there is refused."""
    desk.run("suppressions", "add", NUMBER, "--reason", "asked")
    desk.report(failed("b", "INVALID_MOBILE_NUMBER", recipients=["+4915112345679"]))

    assert desk.run("suppressions", "remove", NUMBER, "--reason", "corrected").exit_code == 0
    assert desk.run("suppressions", "remove", NUMBER, "--reason", "corrected").exit_code == 1
    assert desk.run("suppressions", "remove", "code:INVALID_*", "--reason", "mistake").exit_code == 0
    assert desk.data("suppressions", "list") == []


def test_an_export_imports_again(desk, tmp_path):
    """With reason, expiry and origin; masked too, under the same key."""
    desk.run("suppressions", "add", NUMBER, "--reason", "asked", "--expires", "90d")
    (tmp_path / "list.csv").write_text(desk.run("suppressions", "export").stdout)
    before = desk.data("suppressions", "list")
    desk.run("suppressions", "remove", NUMBER, "--reason", "test")
    result = desk.run("suppressions", "import", "list.csv", "--reason", "back")

    assert (result.exit_code, result.stdout) == (0, "Imported: 1.\n")
    assert NUMBER not in (tmp_path / "list.csv").read_text()
    assert desk.data("suppressions", "list") == before
    assert desk.run("suppressions", "check", NUMBER).exit_code == 1


def test_rows_that_cannot_be_imported_are_listed_and_the_others_are_taken(desk):
    """Exit code 5, a line of JSON on stderr for each."""
    rows = f"address\n{NUMBER}\nnope\n"
    result = desk.run("suppressions", "import", "-", "--channel", "sms", "--reason", "list", stdin=rows)
    problem = json.loads(result.stderr.splitlines()[0])

    assert (result.exit_code, problem["row"], problem["path"]) == (5, 2, "address")
    assert desk.run("suppressions", "check", NUMBER).exit_code == 1


@pytest.mark.parametrize(
    ("text", "form"),
    [("foo,bar\n1,2\n", "csv"), ('{"address": "+4915112345678", "channel": "sms"}\n{"ad', "ndjson")],
)
def test_a_file_that_cannot_be_read_changes_nothing(desk, text, form):
    """Not even the rows before the mistake."""
    result = desk.run("suppressions", "import", "-", "--format", form, "--reason", "list", stdin=text)

    assert (result.exit_code, desk.data("suppressions", "list")) == (2, [])


BOUNCES = "status,reason,email,created\n5.1.1,550 unknown user,gone@example.com,1790000000\n"  # 2026-09-21


def test_the_list_of_ses_is_read_as_its_cli_prints_it(desk, tmp_path):
    """Bounces end as the policy says, from their own day on; complaints never do."""
    rows = [
        {
            "EmailAddress": "gone@example.com",
            "Reason": "BOUNCE",
            "LastUpdateTime": "2026-10-10T21:03:05+02:00",
        },
        {"EmailAddress": "angry@example.com", "Reason": "COMPLAINT", "LastUpdateTime": 1586552585.077},
        {"EmailAddress": "old@example.com", "Reason": "BOUNCE", "LastUpdateTime": 1486552585},
    ]
    (tmp_path / "ses.json").write_text(json.dumps({"SuppressedDestinationSummaries": rows}, indent=1))
    result = desk.run("suppressions", "import", "ses.json", "--from", "ses", "--reason", "move")
    found = {row["code"]: row for row in desk.data("suppressions", "list")}

    assert (result.exit_code, result.stdout) == (0, "Imported: 2. Past their end, and left out: 1.\n")
    assert found["BOUNCE_PERMANENT_GENERAL"]["since"] == "2026-10-10T19:03:05Z"
    assert found["BOUNCE_PERMANENT_GENERAL"]["until"] == "2027-10-10T19:03:05Z"
    assert found["COMPLAINT"]["until"] == "never"
    assert {row["origin"] for row in found.values()} == {"provider"}


def test_a_list_that_lacks_its_last_page_changes_nothing(desk):
    """The cli of SES prints one page, whose NextToken says that the list goes on."""
    row = {"EmailAddress": "gone@example.com", "Reason": "BOUNCE", "LastUpdateTime": 1790000000}
    pages = [{"SuppressedDestinationSummaries": [row], "NextToken": token} for token in ("a", "b")]
    words = ("suppressions", "import", "-", "--format", "ndjson", "--from", "ses", "--reason", "move")
    cut = desk.run(*words, stdin="\n".join(map(json.dumps, pages)))

    assert (cut.exit_code, desk.data("suppressions", "list")) == (2, [])
    assert "NextToken" in cut.stderr
    del pages[1]["NextToken"]
    assert desk.run(*words, stdin="\n".join(map(json.dumps, pages))).exit_code == 0


@pytest.mark.parametrize("first", ["sendgrid-bounces", "sendgrid-unsubscribes"])
def test_consent_stays_consent_whichever_list_comes_first(desk, first):
    """A mailbox that bounced once must not take an opt-out's place, since a bounce ends."""
    lists = {
        "sendgrid-bounces": BOUNCES,
        "sendgrid-unsubscribes": "email,created\nGone@Example.com,1790000001\n",
    }
    for name in sorted(lists, key=lambda name: name != first):
        words = ("import", "-", "--format", "csv", "--from", name, "--reason", "move")
        assert desk.run("suppressions", *words, stdin=lists[name]).exit_code == 0
    (row,) = desk.data("suppressions", "list")

    assert (row["code"], row["until"]) == ("OPT_OUT", "never")


@pytest.mark.parametrize("name", ["sendgrid-bounces", "sendgrid-spam-reports"])
def test_a_list_imported_again_ends_as_it_was(desk, name):
    """As after a crash in the middle: what is there already is left, and counted."""
    words = ("suppressions", "import", "-", "--from", name, "--reason")
    assert desk.run(*words, "move", stdin=BOUNCES).exit_code == 0
    before = desk.data("suppressions", "list")
    desk.store.set_now(START + HOUR)

    said = desk.run(*words, "again", stdin=BOUNCES).stdout
    assert said == "Imported: 0. Listed already, and left as they are: 1.\n"
    assert desk.data("suppressions", "list") == before


def test_opt_outs_of_sinch_are_numbers_without_a_plus(desk):
    """Pages of its consents, one a line, with the identities inside."""
    pages = [{"identities": [{"identity": NUMBER[1:]}]}, {"identities": [{"identity": "+4915112345679"}]}]
    text = "\n".join(json.dumps(page) for page in pages)
    words = ("import", "-", "--format", "ndjson", "--from", "sinch-opt-outs", "--reason", "move")

    assert desk.run("suppressions", *words, stdin=text).stdout == "Imported: 2.\n"
    assert desk.run("suppressions", "check", NUMBER).exit_code == 1
    assert {row["code"] for row in desk.data("suppressions", "list")} == {"OPT_OUT"}


def test_a_list_of_another_provider_changes_nothing(desk):
    """The first row tells: its columns have other names."""
    words = ("import", "-", "--from", "sinch-opt-outs", "--reason", "move")
    result = desk.run("suppressions", *words, stdin=BOUNCES)

    assert (result.exit_code, desk.data("suppressions", "list")) == (2, [])
    assert "no list of sinch-opt-outs" in result.stderr


def test_the_history_of_a_recipient_names_every_change(desk):
    """By the policy and by people, the newest first."""
    desk.report(failed("a", "INVALID_MOBILE_NUMBER", recipients=[NUMBER]))
    desk.run("suppressions", "remove", NUMBER, "--reason", "corrected", "--actor", "eva")
    changes = desk.data("suppressions", "history", NUMBER)

    assert [(change["actor"], change["action"]) for change in changes] == [
        ("eva", "unsuppress"),
        ("policy", "suppress"),
    ]
    assert NUMBER not in json.dumps(changes)


def test_a_forgotten_address_is_gone_and_its_block_stays(desk):
    """Nowhere in the store, the audit included; the hash still refuses."""
    desk.run("suppressions", "add", NUMBER, "--reason", "asked")
    desk.report(failed("a", recipients=[NUMBER]))
    result = desk.run("recipients", "forget", NUMBER, "--reason", "request 77")
    everything = desk.run("suppressions", "export", "--reveal").stdout
    everything += desk.run("retries", "show", "a", "--reveal").stdout
    everything += desk.run("audit", "list", "-o", "json").stdout

    assert result.exit_code == 0
    assert NUMBER not in everything
    assert NUMBER.encode() not in b"".join(entry for entry in _raw_audit(desk.store))
    assert desk.run("suppressions", "check", NUMBER).exit_code == 1


def _raw_audit(store: Store) -> list[bytes]:
    return [json.dumps(entry).encode() for entry in store.control.audit()]


# Cases ------------------------------------------------------------------------------------------------------


def test_a_case_says_what_it_is_and_what_to_do(desk):
    """Grouped by cause, with a count and a suggestion."""
    desk.report(failed("a", "PLACEHOLDER_ERROR"), failed("b", "PLACEHOLDER_ERROR"), failed("c", "NEVER_SEEN"))
    held, unknown = sorted(desk.data("cases", "list"), key=lambda case: -case["count"])
    table = desk.run("cases", "list").stdout

    assert (held["what"], held["count"]) == ("Held: Data for the template missing", 2)
    assert unknown["what"] == "Unknown code NEVER_SEEN"
    assert f"cases resolve {held['case']} --release" in table


def test_a_released_case_sends_what_it_held(desk):
    """Also what failed more than once; the case is closed with its reason."""
    desk.report(failed("a", "PLACEHOLDER_ERROR"), failed("b", "PLACEHOLDER_ERROR"))
    (case,) = desk.data("cases", "list")
    result = desk.run("cases", "resolve", case["case"], "--release", "--reason", "mended")
    desk.store.set_now(START + MINUTE)

    assert result.stdout == f"{case['case']} resolved: 2 released.\n"
    assert sorted(desk.pump()) == ["a", "b"]
    assert desk.data("cases", "list") == []
    assert desk.data("cases", "list", "state:resolved")[0]["how"] == "release"


def test_what_is_past_its_deadline_is_released_only_by_an_express_word(desk):
    """``--even-stale`` asks for the count, however small."""
    desk.report(failed("a", "PLACEHOLDER_ERROR"), failed("b", "PLACEHOLDER_ERROR", snippet="x"))
    (case,) = desk.data("cases", "list")
    desk.store.set_now(START + 100 * HOUR)
    unanswered = desk.run("cases", "resolve", case["case"], "--release", "--even-stale", "--reason", "x")
    answered = desk.run(
        "cases", "resolve", case["case"], "--release", "--even-stale", "--reason", "x", stdin="2\n"
    )

    assert (unanswered.exit_code, answered.exit_code) == (1, 0)
    assert "2 released" in answered.stdout


def test_a_case_can_end_with_its_recipients_suppressed(desk):
    """By a person's word, for as long as the policy says."""
    desk.report(failed("a", "PLACEHOLDER_ERROR", recipients=[NUMBER]))
    (case,) = desk.data("cases", "list")
    result = desk.run("cases", "resolve", case["case"], "--suppress", "--reason", "wrong person")

    assert "1 recipient suppressed" in result.stdout
    assert desk.run("suppressions", "check", NUMBER).exit_code == 1


def test_a_case_is_acknowledged_shown_and_resolved_once(desk):
    """A second resolution is refused, an unknown case too."""
    desk.report(failed("a", "PLACEHOLDER_ERROR"))
    (case,) = desk.data("cases", "list")
    desk.run("cases", "ack", case["case"], "--reason", "on it", "--actor", "eva")
    (shown,) = desk.data("cases", "show", case["case"])

    assert (shown["state"], shown["by"], shown["messages"][0]["reference"]) == ("acknowledged", "eva", "a")
    assert desk.run("cases", "resolve", case["case"], "--drop", "--reason", "old").exit_code == 0
    assert desk.run("cases", "resolve", case["case"], "--drop", "--reason", "old").exit_code == 1
    assert desk.run("cases", "show", "k_999").exit_code == 1


@pytest.mark.parametrize("choice", [(), ("--drop", "--fixed"), ("--drop", "--even-stale")])
def test_a_case_is_resolved_in_exactly_one_way(desk, choice):
    """Wrong usage, before anything is looked at."""
    assert desk.run("cases", "resolve", "k_1", "--reason", "x", *choice).exit_code == 2


# Input that could not be read -------------------------------------------------------------------------------


def test_a_dead_letter_is_listed_shown_and_masked(desk):
    """With its reason, the field, and its text without addresses."""
    desk.report(json.dumps(failed("", recipients=[NUMBER])).encode())
    (letter,) = desk.data("dead-letters", "list")
    shown = desk.run("dead-letters", "show", letter["id"]).stdout

    assert (letter["path"], letter["length"] > 0) == ("claim.communication.reference", True)
    assert "MESSAGE_NOT_DELIVERED" in shown
    assert NUMBER not in shown
    assert NUMBER in desk.run("dead-letters", "show", letter["id"], "--reveal").stdout


def test_a_replayed_letter_is_reported_again_and_gone(desk):
    """It goes the way of every report; what is read now leaves no letter behind."""
    desk.report(b"{torn")
    (letter,) = desk.data("dead-letters", "list")
    result = desk.run("dead-letters", "replay", letter["id"], "--reason", "mended")
    entries, _ = desk.store.events.read("w", count=10, block_ms=0)

    assert result.exit_code == 0
    assert [entry.raw for entry in entries] == [b"{torn"]
    assert desk.data("dead-letters", "list") == []


def test_a_replayed_letter_that_fails_again_at_once_is_kept(desk):
    """A worker may be quicker than the deletion: the letter of the second failure must not go with the first."""
    desk.report(b"{torn")
    (letter,) = desk.data("dead-letters", "list")
    (kept,) = [desk.store.dead_letters.show(letter["id"].removeprefix("d_"))]
    desk.report(b"{torn")
    desk.store.dead_letters.replay([kept], events=desk.store.events, by=By("me", "x"))

    assert [row["id"] for row in desk.data("dead-letters", "list")] == [letter["id"]]


def test_a_letter_that_was_not_kept_whole_cannot_be_replayed(desk):
    """Exit code 5 and its id; it stays."""
    desk.report(b"{" + b"x" * 70_000)
    (letter,) = desk.data("dead-letters", "list")
    result = desk.run("dead-letters", "replay", letter["id"], "--reason", "x")

    assert result.exit_code == 5
    assert json.loads(result.stderr.splitlines()[1])["id"] == letter["id"]
    assert len(desk.data("dead-letters", "list")) == 1


def test_letters_are_dropped_by_a_filter(desk):
    """By reason, with the count shown before."""
    desk.report(b"{torn", json.dumps(failed("")).encode())
    result = desk.run("dead-letters", "drop", "reason:*JSON*", "--reason", "noise")

    assert result.stdout == "Dropped: 1.\n"
    assert len(desk.data("dead-letters", "list")) == 1


def test_a_flood_of_large_letters_is_said_with_its_remedy(desk):
    """What is not kept whole is shown by the list; list and doctor say why, and what to do."""
    desk.report(*(f"{{torn {number} ".encode().ljust(70_000, b"x") for number in range(200)))
    listed, checked = desk.run("dead-letters", "list"), desk.run("doctor")

    assert "70,000 (65,536 kept)" in listed.stdout
    assert "70,000 (2,048 kept)" in listed.stdout
    for said in (listed.stderr, checked.stdout):
        assert "dead letters take 16 of 16 MiB: of a larger new one only its first 2 KiB are kept" in said
        assert "softbounce dead-letters replay or drop" in said
    desk.run("dead-letters", "drop", "reason:*", "--yes", "--reason", "noise")
    assert "MiB" not in desk.run("dead-letters", "list").stderr + desk.run("doctor").stdout


@pytest.mark.parametrize(
    ("row", "path"),
    [
        ({"evidence": 5}, "evidence"),
        ({"evidence": "abc"}, "evidence"),
        ({"evidence": [["deep"]]}, "evidence"),
        ({"code": ["X"]}, "code"),
        ({"origin": {}}, "origin"),
        ({"reason": True}, "reason"),
        ({"merchant": {"id": 1}}, "merchant"),
        ({"since": "0001-01-01T00:00:00+10:00"}, "since"),
        ({"until": "1960-01-01"}, "until"),
        ({"address": ["+49"]}, "address"),
        ({"address": None, "recipient": "r_"}, "address"),
        ({"address": None, "recipient": "r_short"}, "address"),
    ],
)
def test_a_row_that_cannot_be_taken_is_named_and_the_others_are_taken(desk, row, path):
    """Exit code 5; what is taken can be listed and exported."""
    rows = [{"channel": "sms", "address": NUMBER} | row, {"channel": "sms", "address": "+4915112345679"}]
    text = "\n".join(map(json.dumps, rows))
    result = desk.run("suppressions", "import", "-", "--format", "ndjson", "--reason", "x", stdin=text)

    assert (result.exit_code, json.loads(result.stderr.splitlines()[0])["path"]) == (5, path)
    assert len(desk.data("suppressions", "list")) == 1
    assert desk.run("suppressions", "export").exit_code == 0


@pytest.mark.parametrize(
    "text",
    [
        b'{"channel": "sms", "address": "\\ud800"}',
        b'{"channel": "sms", "merchant": "\\ud800", "address": "+4915112345678"}',
        b"[" * 3000,
        b'{"a":' * 3000,
        b"9" * 5000,
        b'{"until": NaN}',
        b"\xff\xfe",
    ],
)
def test_a_list_that_cannot_be_read_changes_nothing(desk, tmp_path, text):
    """From a file or from stdin: a sentence, exit code 2, and no row is taken."""
    whole = b'{"channel": "sms", "address": "+4915112345679"}\n' + text
    path = tmp_path / "list.ndjson"
    path.write_bytes(whole)
    for file in (path, "-"):
        result = desk.run("suppressions", "import", file, "--format", "ndjson", "--reason", "x", stdin=whole)

        assert (result.exit_code, result.stdout) == (2, "")
        assert "cannot be read" in result.stderr
    assert desk.data("suppressions", "list") == []


def test_a_list_with_a_byte_order_mark_is_read_from_stdin_too(desk):
    """Spreadsheets write one."""
    text = b"\xef\xbb\xbfchannel,address\r\nsms,+4915112345679\r\n"

    assert desk.run("suppressions", "import", "-", "--reason", "x", stdin=text).stdout == "Imported: 1.\n"


def test_a_letters_address_is_imported_as_an_object(desk):
    """As events have it; its text would be another address, and suppress nobody."""
    address = {"postcode": "10115", "street": "Gartenstr.", "name": "A. Muster"}
    row = json.dumps({"channel": "letter", "address": address})
    desk.run("suppressions", "import", "-", "--format", "ndjson", "--reason", "x", stdin=row)

    assert not desk.store.suppressions.check(address, "letter")


def test_addresses_to_check_that_are_no_text_are_refused(desk):
    """A sentence, exit code 2."""
    result = desk.run("suppressions", "check", "-", "--channel", "sms", stdin=b"+49\n\xff\n")

    assert (result.exit_code, result.stdout) == (2, "")


@pytest.mark.parametrize("output", ["table", "json", "ndjson"])
def test_an_event_id_that_cannot_be_printed_is_left_out(desk, tmp_path, output):
    """The event is reported as it is; a worker makes a dead letter of it."""
    path = tmp_path / "events.ndjson"
    path.write_bytes(b'{"eventId": "\\ud800"}\n')

    assert desk.run("events", "report", path, "-o", output).exit_code == 0
    assert desk.store.events.lag().unread == 1


# The switch, the audit, the doctor --------------------------------------------------------------------------


def test_the_switch_stops_and_starts_hand_overs(desk):
    """Off: nothing leaves; on: it goes on where it was."""
    desk.report(failed("a", "PROVIDER_ERROR"))
    desk.store.set_now(START + 10 * MINUTE)
    desk.run("mode", "off", "--reason", "wrong template")
    (everybody,) = desk.data("mode")
    while_off = desk.pump()
    desk.run("mode", "on", "--reason", "mended")

    assert (everybody["mode"], everybody["reason"], while_off) == ("off", "wrong template", [])
    assert desk.pump() == ["a"]


def test_one_merchant_can_be_stopped_alone(desk):
    """The others go on; the list shows both."""
    desk.report(failed("a", "PROVIDER_ERROR"))
    desk.run("mode", "off", "--merchant", "1", "--reason", "x")
    desk.store.set_now(START + 10 * MINUTE)

    assert desk.pump() == []
    assert [row["merchant"] for row in desk.data("mode")] == [None, "1"]


def test_the_audit_is_found_by_who_what_and_age(desk):
    """Before and after of a change are in the JSON form."""
    desk.run("mode", "off", "--reason", "first", "--actor", "eva")
    desk.run("mode", "on", "--reason", "second", "--actor", "max")
    (entry,) = desk.data("audit", "list", "who:eva")

    assert (entry["action"], entry["reason"], entry["after"]["mode"]) == ("mode off", "first", "off")
    assert [row["actor"] for row in desk.data("audit", "list", "action:mode*", "age:<1h")] == ["max", "eva"]


def findings(desk: Desk) -> dict[str, list[str]]:
    """Return what the doctor says, by level."""
    found: dict[str, list[str]] = {}
    for row in desk.data("doctor"):
        found.setdefault(row["level"], []).append(row["text"])
    return found


def test_the_doctor_misses_a_worker(desk):
    """Without one nothing is taken in: a fault, exit code 1."""
    assert desk.run("doctor").exit_code == 1
    assert any("no worker runs" in text for text in findings(desk)["fault"])


def beat(desk: Desk, **workers: str) -> None:
    """Let workers live, each with its policy revision."""
    for name, revision in workers.items():
        desk.store.control.beat(name, {"revision": revision}, now=desk.store.now())


def test_the_doctor_is_content_with_a_store_a_policy_and_a_worker(desk):
    """Warnings alone are exit code 0."""
    beat(desk, one=desk.policy.revision)
    found = findings(desk)

    assert desk.run("doctor").exit_code == 0
    assert any("1 of 1 workers" in text for text in found["ok"])
    assert any("taken from Redis in one step" in text for text in found["ok"])
    assert any("log alone" in text for text in found["warn"])


def test_the_doctor_names_the_variable_that_a_webhook_lacks(desk, monkeypatch, tmp_path):
    """A desk that cannot be signed to hears nothing: said before the first escalation, not after."""
    target = 'desk: {type: webhook, url: "https://desk.example", secret: {env: DESK_SECRET}}'
    text = policy_text()[0].replace("notify: [log]", "notify: [desk]")
    (tmp_path / "desk.yaml").write_text(text.replace("  targets:\n", f"  targets:\n    {target}\n"))
    monkeypatch.setenv("SOFTBOUNCE_POLICY", str(tmp_path / "desk.yaml"))
    beat(desk, one=desk.policy.revision)
    lacking = [text for text in findings(desk)["warn"] if "DESK_SECRET" in text]
    monkeypatch.setenv("DESK_SECRET", "whsec_" + "b2xkIGRlc2s" * 4)
    fit = [text for text in findings(desk)["warn"] if "DESK_SECRET" in text]

    assert len(lacking) == 1
    assert "target desk" in lacking[0]
    assert fit == []


def test_doctor_and_check_name_the_variable_that_an_apprise_target_lacks(desk, monkeypatch, tmp_path):
    """Whoever sets it up hears what is missing on this machine; the file itself is sound, so --strict passes."""
    text = policy_text()[0].replace("notify: [log]", "notify: [oncall]").replace("    log: {type: log}\n", "")
    target = "oncall: {type: apprise, url: {env: ONCALL_URL}}"
    (tmp_path / "oncall.yaml").write_text(text.replace("  targets:\n", f"  targets:\n    {target}\n"))
    monkeypatch.setenv("SOFTBOUNCE_POLICY", str(tmp_path / "oncall.yaml"))
    beat(desk, one=desk.policy.revision)
    lacking = [text for text in findings(desk)["warn"] if "target oncall" in text]
    check = desk.run("policy", "check", "--strict")
    monkeypatch.setenv("ONCALL_URL", "slack://a/b/c")

    missing = (
        "the variable ONCALL_URL is not set" if find_spec("apprise") else "pip install 'softbounce[apprise]'"
    )
    assert len(lacking) == 1
    assert missing in lacking[0]
    assert (check.exit_code, missing in check.stderr) == (0, True)
    if find_spec("apprise"):
        assert "target oncall" not in str(findings(desk)) + desk.run("policy", "check").stderr


def test_the_doctor_names_workers_that_run_another_policy(desk):
    """Which revision runs where."""
    beat(desk, one=desk.policy.revision, two="77aa0d12", three=desk.policy.revision)
    (drift,) = [text for text in findings(desk)["warn"] if "77aa0d12" in text]

    assert f"2 run {desk.policy.revision}, 1 runs 77aa0d12" in drift


def test_the_doctor_faults_a_file_that_is_the_beginning_of_what_runs(desk, monkeypatch, tmp_path):
    """Half a policy may be valid: workers do not take it, and a new one would hold every message."""
    whole = policy_text()[0]
    desk.store.policies.keep(desk.policy, text=whole, now=desk.store.now())
    (tmp_path / "half.yaml").write_text(whole[: whole.index("codes:")])
    monkeypatch.setenv("SOFTBOUNCE_POLICY", "half.yaml")
    beat(desk, one=desk.policy.revision)
    faults = findings(desk)["fault"]

    assert (
        f"half.yaml is the mere beginning of policy {desk.policy.revision}, which runs: write it whole"
        in faults
    )


def test_the_doctor_faults_what_should_have_left_long_ago(desk):
    """Unless a person has switched hand-overs off."""
    desk.report(failed("a", "PROVIDER_ERROR"))
    desk.store.set_now(START + HOUR)
    beat(desk, one=desk.policy.revision)
    overdue = findings(desk)["fault"]
    desk.run("mode", "off", "--reason", "x")

    assert any("overdue 1" in text for text in overdue)
    assert "fault" not in findings(desk)


def test_the_doctor_faults_an_invalid_policy_and_a_broker_that_is_away(desk, monkeypatch, tmp_path):
    """Where the mistake is, which broker; no password."""
    (tmp_path / "bad.yaml").write_text("version: 1\nchanels: {}\n")
    monkeypatch.setenv("SOFTBOUNCE_POLICY", "bad.yaml")
    monkeypatch.setenv("SOFTBOUNCE_BROKER_URL", "amqp://me:geheim@localhost:1//")
    beat(desk, one=desk.policy.revision)
    faults = findings(desk)["fault"]

    assert any(text.startswith("bad.yaml:2:1: error") for text in faults)
    assert any("broker localhost:1 does not answer" in text for text in faults)
    assert "geheim" not in " ".join(faults)


def test_the_doctor_faults_a_quarantine(desk):
    """A weekend off, or an old backup: a person must look before anything leaves."""
    desk.report(failed("a"))
    desk.pump()
    desk.store.set_now(START + 30 * HOUR)
    desk.pump()
    beat(desk, one=desk.policy.revision)

    assert any("quarantine" in text for text in findings(desk)["fault"])


def test_a_mistaken_key_is_refused_and_leaves_no_trace(desk, monkeypatch):
    """A command with the wrong key must not lock out those with the right one."""
    desk.run("suppressions", "add", NUMBER, "--reason", "asked")
    with monkeypatch.context() as mistaken:
        mistaken.setenv("SOFTBOUNCE_PII_KEY", "a key of another store")
        refused = desk.run("suppressions", "check", NUMBER)

    assert refused.exit_code == 1
    assert "not the key this store was written with" in refused.stderr
    assert desk.run("suppressions", "check", NUMBER).stdout.startswith("suppressed")


def test_a_text_without_end_is_refused_in_a_sentence(desk):
    """A reason, a value or a name of 5 MB: exit code 2, the field named, and nothing written."""
    huge = "x" * 5_000_000
    for words, field in (
        (("mode", "off", "--reason", huge), "reason"),
        (("mode", "off", "--merchant", huge, "--reason", "test"), "merchant"),
        (("retries", "cancel", f"claim:{huge}", "--reason", "test"), "claim"),
        (("suppressions", "add", NUMBER, "--merchant", huge, "--reason", "asked"), "merchant"),
        (("cases", "ack", huge, "--reason", "test"), "case"),
    ):
        refused = desk.run(*words)
        assert refused.exit_code == 2, refused.stderr[:200]
        assert f"{field}: is longer than" in refused.stderr[:200]
    assert list(desk.store.control.audit()) == []


# The brake --------------------------------------------------------------------------------------------------


def mislabel(desk: Desk, count: int) -> None:
    """Let an operator call so many numbers dead."""
    events = [
        failed(f"b{n:03}", "INVALID_MOBILE_NUMBER", recipients=[f"+4915120{n:06}"]) for n in range(count)
    ]
    desk.report(*events)


def test_an_incident_is_undone_by_one_command(desk):
    """Doctor and lists name it; the undo asks for the count, lifts all, sends all, and is safe to repeat."""
    mislabel(desk, 120)
    assert (
        "incident k_1, INVALID_MOBILE_NUMBER DE: 120 sudden suppressions, 70 messages held"
        in desk.run("doctor").stdout
    )
    (case,) = desk.data("cases", "list", "kind:incident")
    assert (case["suppressed"], case["count"], case["group"]) == (120, 70, "INVALID_MOBILE_NUMBER DE")
    assert len(desk.data("suppressions", "list", "incident:k_1")) == 70
    words = ("suppressions", "undo", "incident:k_1", "--reason", "wrong codes")

    assert "Dry run: nothing changed." in desk.run(*words, "--dry-run").stderr
    assert desk.run(*words, stdin="").exit_code == 1
    assert len(desk.data("suppressions", "list")) == 120
    assert "k_1 undone: 120 lifted, 120 messages scheduled again." in desk.run(*words, stdin="120\n").stdout
    assert desk.data("suppressions", "list") == []
    (again,) = desk.data(*words)
    assert (again["lifted"], again["released"]) == (0, 0)
    assert desk.data("audit", "list")[0]["what"] == "k_1"
    assert "incident" not in desk.run("doctor").stdout


def test_a_provisional_suppression_says_so(desk):
    """The list and explain name the incident and the end."""
    mislabel(desk, 51)

    assert "provisional, k_1" in desk.run("suppressions", "list", "incident:k_1").stdout
    shown = desk.run("explain", "+4915120000050", "--channel", "sms").stdout
    assert "provisional, incident k_1" in shown
    assert "refused until Mon 23 Nov" in shown


def test_what_an_incident_holds_is_not_released_to_refused_recipients(desk):
    """--release would be futile, so it names the undo; --suppress confirms."""
    mislabel(desk, 55)
    resolve = ("cases", "resolve", "k_1", "--reason", "looked")

    refused = desk.run(*resolve, "--release")
    assert (refused.exit_code, "suppressions undo incident:k_1" in refused.stderr) == (2, True)
    assert "5 recipients suppressed" in desk.run(*resolve, "--suppress").stdout
    assert desk.data("suppressions", "list", "incident:k_1") == []
    assert len(desk.data("suppressions", "list", "-expires:<80d")) == 55


@pytest.mark.parametrize("words", ["incident:", "k_99", "incident:k_99", "case:k_1"])
def test_an_undo_of_no_incident_is_refused(desk, words):
    """A sentence and an exit code, nothing changes."""
    assert desk.run("suppressions", "undo", words, "--reason", "x").exit_code in (1, 2)


def test_of_many_held_messages_one_leaves_first(desk):
    """The first --release sends a canary, again too early is refused, and once it is well the rest leaves."""
    desk.report(*(failed(f"h{n}", "PLACEHOLDER_ERROR") for n in range(60)))
    release = ("cases", "resolve", "k_1", "--release", "--reason", "template mended")

    assert "one message sent first" in desk.run(*release).stdout
    assert desk.run(*release).exit_code == 1
    (first,) = desk.pump()
    assert desk.run(*release).exit_code == 1
    desk.store.set_now(desk.store.now() + 5 * MINUTE)
    assert "59 released" in desk.run(*release).stdout
    assert first not in desk.waiting()


def test_a_canary_that_fails_again_is_followed_by_another(desk):
    """The rest stays held until one message is well."""
    desk.report(*(failed(f"h{n}", "PLACEHOLDER_ERROR") for n in range(60)))
    release = ("cases", "resolve", "k_1", "--release", "--reason", "template mended")
    desk.run(*release)
    (first,) = desk.pump()
    desk.report(failed(first, "PLACEHOLDER_ERROR", campaign="again") | {"eventId": "again"})
    desk.store.set_now(desk.store.now() + 5 * MINUTE)

    assert "one message sent first" in desk.run(*release).stdout
    assert desk.data("cases", "show", "k_1")[0]["count"] == 59


def test_a_person_opens_and_closes_a_breaker(desk):
    """Nothing goes to that provider meanwhile; closed, what waited comes at once, by the ramp."""
    for n in range(3):
        desk.report(failed(f"m{n}"))
    name = "sms:1"
    opened = desk.run("breakers", "open", name, "--for", "200d", "--reason", "they are down")
    desk.store.set_now(START + 5 * HOUR)
    desk.pump()
    left_while_open = desk.pump()
    (row,) = desk.data("breakers", "list")
    explained = desk.run("explain", "m0").stdout
    findings = desk.run("doctor").stdout
    closed = desk.run("breakers", "close", name, "--reason", "they are back")

    assert "Nothing goes to sms:1 until" in opened.stdout
    assert left_while_open == []
    assert (row["state"], row["waiting"], row["byHand"]) == ("open", 3, True)
    assert "the breaker of its provider sms:1 is open until" in explained
    assert "the breaker of sms:1 is open until" in findings
    assert "3 waiting retries got their own time back" in closed.stdout
    assert len(desk.pump()) == 1
    assert desk.data("breakers", "list")[0]["state"] == "ramping"
    assert [row["action"] for row in desk.data("audit", "list", "--limit", 3)] == [
        "resume",
        "breaker closed",
        "breaker opened",
    ]


def test_a_breaker_needs_a_name(desk):
    """An empty name, or that of all, is refused with a sentence."""
    for name in ("*", " "):
        result = desk.run("breakers", "open", name, "--reason", "x")

        assert result.exit_code == 2
        assert "name one provider" in result.stderr
    assert "is the name right?" in desk.run("breakers", "close", "acme", "--reason", "x").stdout
