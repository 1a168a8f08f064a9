"""``softbounce retries``: what waits, and a person's word on it."""

from live import HOUR, MINUTE, START, failed

from .desk import NUMBER, mailbox_full


def test_the_list_shows_what_waits_the_next_one_first(desk):
    """Cause, try, masked recipient and time, in stable names."""
    desk.report(failed("slow"), failed("quick", "PROVIDER_ERROR"))
    quick, slow = desk.data("retries", "list")

    assert (quick["reference"], slow["reference"]) == ("quick", "slow")
    assert (quick["cause"], quick["attempt"], quick["maxAttempts"]) == ("Provider unavailable", 1, 8)
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
