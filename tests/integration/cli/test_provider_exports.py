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
    """A mailbox that bounced once must not take an opt-out's place, since a bounce ends; it stands beneath."""
    lists = {
        "sendgrid-bounces": BOUNCES,
        "sendgrid-unsubscribes": "email,created\nGone@Example.com,1790000001\n",
    }
    for name in sorted(lists, key=lambda name: name != first):
        words = ("import", "-", "--format", "csv", "--from", name, "--reason", "move")
        assert desk.run("suppressions", *words, stdin=lists[name]).exit_code == 0
    rows = desk.data("suppressions", "list")
    verdict = json.loads(desk.run("suppressions", "check", "gone@example.com", "-o", "json").stdout)

    assert [row["code"] for row in rows if row["until"] == "never"] == ["OPT_OUT"]
    assert len(rows) == 2
    assert (verdict["reason"], verdict["until"]) == ("OPT_OUT", None)


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


MAILGUN_BOUNCES = """address,code,error,created_at
dead@example.com,550,"550 5.1.1 <dead@example.com> unknown","Fri, 20 Nov 2026 11:02:55 UTC"
full@example.com,552,"552 5.2.2 over quota","Fri, 20 Nov 2026 11:02:55 UTC"
echo@example.com,605,Not delivering to previously bounced address,"Fri, 20 Nov 2026 11:02:55 UTC"
"""


def test_a_list_of_mailgun_keeps_date_reason_and_meaning(desk):
    """Codes are SMTP replies there, and 605 is an echo of the list itself."""
    words = ("import", "-", "--from", "mailgun", "--reason", "move")
    result = desk.run("suppressions", *words, stdin=MAILGUN_BOUNCES)
    found = {row["code"]: row for row in desk.data("suppressions", "list")}

    assert (result.exit_code, result.stdout) == (0, "Imported: 3.\n")
    assert {code: row["until"][:10] for code, row in found.items()} == {
        "BOUNCE_PERMANENT_GENERAL": "2027-11-20",
        "BOUNCE_TRANSIENT_MBX_FULL": "2027-11-20",
        "BOUNCE_PERMANENT_ON_SUPPRESSION_LIST": "2026-12-20",
    }
    assert {row["since"] for row in found.values()} == {"2026-11-20T11:02:55Z"}
    assert found["BOUNCE_PERMANENT_GENERAL"]["reason"] == "550 5.1.1 <d…d@example.com> unknown"


def test_unsubscribes_and_complaints_of_mailgun_are_told_by_their_columns(desk):
    """An opt-out of one tag would stop every other kind of message, and is listed as not taken."""
    pages = [
        {
            "items": [
                {"address": "a@example.com", "tags": ["*"], "created_at": "Fri, 20 Nov 2026 11:02:55 UTC"}
            ]
        },
        {"items": [{"address": "b@example.com", "created_at": "Fri, 20 Nov 2026 11:02:55 UTC"}]},
        {"items": [{"address": "c@example.com", "tags": ["news"]}]},
        {"items": [], "paging": {"next": "https://api.mailgun.net/v3/x"}},
    ]
    words = ("suppressions", "import", "-", "--format", "ndjson", "--from", "mailgun", "--reason", "move")
    cut = desk.run(*words, stdin=json.dumps(pages[0] | {"paging": {"next": "https://x.example"}}))
    assert (cut.exit_code, desk.data("suppressions", "list")) == (2, [])

    result = desk.run(*words, stdin="\n".join(map(json.dumps, pages)))
    assert (result.exit_code, result.stdout) == (5, "Imported: 2.\n")
    assert {row["code"] for row in desk.data("suppressions", "list")} == {"OPT_OUT", "COMPLAINT"}


@pytest.mark.parametrize(
    ("name", "page"),
    [
        (
            "postmark",
            {
                "Suppressions": [
                    {
                        "EmailAddress": "a@example.com",
                        "SuppressionReason": reason,
                        "CreatedAt": "2026-11-20T08:58:33-05:00",
                    }
                    for reason in ("HardBounce", "SpamComplaint", "ManualSuppression")
                ]
            },
        ),
        (
            "brevo",
            {
                "count": 3,
                "contacts": [
                    {
                        "email": "a@example.com",
                        "reason": {"code": code, "message": "x"},
                        "blockedAt": "2026-11-20T13:58:33.000Z",
                    }
                    for code in ("hardBounce", "contactFlaggedAsSpam", "unsubscribedViaEmail")
                ],
            },
        ),
    ],
)
def test_lists_of_postmark_and_brevo_are_read_as_their_interfaces_answer(desk, name, page):
    """Bounces end, consent does not; a bounce, a complaint and an opt-out of one person are each taken."""
    words = ("import", "-", "--format", "ndjson", "--from", name, "--reason", "move")
    (rows,) = [value for value in page.values() if isinstance(value, list)]
    codes = []
    for row in rows:
        one = {key: [row] if value is rows else 1 for key, value in page.items()}
        assert desk.run("suppressions", *words, stdin=json.dumps(one)).exit_code == 0
        codes += [
            (found["code"], found["until"], found["since"]) for found in desk.data("suppressions", "list")
        ]
        desk.run("suppressions", "remove", "channel:email", "--yes", "--reason", "next")

    since = "2026-11-20T13:58:33Z"
    assert codes == [
        ("BOUNCE_PERMANENT_GENERAL", "2027-11-20T13:58:33Z", since),
        ("COMPLAINT", "never", since),
        ("OPT_OUT", "never", since),
    ]


def test_a_list_of_brevo_without_its_other_pages_changes_nothing(desk):
    """The answer says how many there are; those that are missing would be sent to."""
    page = {"count": 51, "contacts": [{"email": "a@example.com", "reason": {"code": "hardBounce"}}]}
    words = ("import", "-", "--format", "ndjson", "--from", "brevo", "--reason", "move")
    result = desk.run("suppressions", *words, stdin=json.dumps(page))

    assert (result.exit_code, desk.data("suppressions", "list")) == (2, [])
    assert "1 of 51 rows" in result.stderr


def test_a_reason_that_a_provider_has_not_named_is_listed(desk):
    """It may be an echo or a person's wish: only a person can tell."""
    rows = [
        {"EmailAddress": "a@example.com", "Reason": "NEW"},
        {"EmailAddress": "b@example.com", "Reason": ""},
    ]
    rows += [{"EmailAddress": "c@example.com", "Reason": "new kind"}]
    words = ("import", "-", "--format", "ndjson", "--from", "ses", "--reason", "move")
    result = desk.run("suppressions", *words, stdin="\n".join(map(json.dumps, rows)))

    assert (result.exit_code, result.stdout) == (5, "Imported: 0.\n")
    assert "unknown: NEW is no reason code" in result.stderr


def test_a_list_of_another_provider_changes_nothing(desk):
    """The first row tells: its columns have other names."""
    words = ("import", "-", "--from", "sinch-opt-outs", "--reason", "move")
    result = desk.run("suppressions", *words, stdin=BOUNCES)

    assert (result.exit_code, desk.data("suppressions", "list")) == (2, [])
    assert "no list of sinch-opt-outs" in result.stderr
