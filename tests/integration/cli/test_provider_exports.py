"""``softbounce suppressions import``: lists as providers export them."""

import json

import pytest
from live import HOUR, START

from .desk import NUMBER

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
