"""``softbounce suppressions``: the list, checks, export and import."""

import json

import pytest
from live import failed

from .desk import NUMBER


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


def test_add_says_what_else_stands(desk):
    """Whoever lists a recipient for a day hears that a stronger or a longer cause stands as well."""
    first = desk.run("suppressions", "add", NUMBER, "--reason", "asked", "--expires", "1d")
    assert first.stdout.count("stands as well") == 0
    desk.report(failed("b", "INVALID_MOBILE_NUMBER", recipients=[NUMBER]))
    longer = desk.run("suppressions", "add", NUMBER, "--reason", "asked", "--expires", "1d").stdout
    assert "This stands as well: Not a valid mobile number, until " in longer
    ever = desk.run("suppressions", "add", NUMBER, "--reason", "asked", "-o", "json")
    assert json.loads(ever.stdout)["stands"] == []
    text = f"channel,address,code\nsms,{NUMBER},COMPLAINT\n"
    desk.run("suppressions", "import", "-", "--format", "csv", "--reason", "move", stdin=text)
    stronger = desk.run("suppressions", "add", NUMBER, "--reason", "asked", "-o", "json")

    assert [one["code"] for one in json.loads(stronger.stdout)["stands"]] == ["COMPLAINT"]


def test_remove_by_a_filter_leaves_other_causes_and_says_so(desk):
    """Sends are not allowed again while another cause stands."""
    desk.run("suppressions", "add", NUMBER, "--reason", "asked")
    desk.report(failed("b", "INVALID_MOBILE_NUMBER", recipients=[NUMBER]))
    words = ("suppressions", "remove", "--reason", "corrected")

    assert (
        desk.run(*words, "code:INVALID_*").stdout == "Removed: 1 of 1. Still listed for another cause: 1.\n"
    )
    assert desk.run(*words, NUMBER).stdout == "Removed: 1 of 1. Sends are allowed again.\n"


def test_an_import_says_what_it_would_weaken_and_a_dry_run_only_says_it(desk, tmp_path):
    """An old file of bounces takes no complaint away, in whichever order rows and files come."""
    rows = ["COMPLAINT,never", "BOUNCE_PERMANENT_GENERAL,2030-12-05", "COMPLAINT,never"]
    lines = [f"email,gerd@firma.example,{row}" for row in rows]
    (tmp_path / "list.csv").write_text("\n".join(["channel,address,code,until", *lines]) + "\n")
    words = ("suppressions", "import", "list.csv", "--reason", "list")
    counts = (
        "2. 1 of these would weaken what stands: the stronger cause stays, theirs is kept beneath it. "
        "Listed already, and left as they are: 1."
    )

    assert desk.run(*words, "--dry-run").stdout == f"To be imported: {counts} Dry run: nothing changed.\n"
    assert desk.data("suppressions", "list") == []
    assert desk.run(*words).stdout == f"Imported: {counts}\n"
    assert desk.run("suppressions", "check", "gerd@firma.example").stdout.startswith(
        "suppressed   Marked as spam"
    )
    told = json.loads(desk.run(*words, "-o", "json").stdout)
    assert {name: told[name] for name in ("matched", "done", "weaker", "listed")} == {
        "matched": 3, "done": 0, "weaker": 0, "listed": 3,
    }  # fmt: skip


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


LISTS = {
    "commas": "channel,address,reason\nsms,{number},a\n",
    "semicolons": 'channel;address;reason\r\nsms;{number};"a, b"\r\n',
    "tabs": "address\tchannel\n{number}\tsms\n",
    "excel": '"sep=;"\nchannel;address\nsms;{number}\n',
    "unusual": "sep=#\nchannel#address\nsms#{number}\n",
    "case": "Channel,ADDRESS\nSMS,{number}\n",
    "padded": " channel , address ,until\n sms , {number} , never \n",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_read_as_spreadsheets_save_it(desk, tmp_path, name, encoding):
    """The separator, the encoding and the case of the names are those of somebody's country and program."""
    (tmp_path / "list.csv").write_bytes(LISTS[name].format(number=NUMBER).encode(encoding))
    result = desk.run("suppressions", "import", "list.csv", "--reason", "x")

    assert (result.exit_code, result.stdout) == (0, "Imported: 1.\n")
    assert desk.run("suppressions", "check", NUMBER).exit_code == 1


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("foo;bar\n1;2\n", "line 1 names the columns foo, bar;"),
        (f"sms,{NUMBER}\nsms,{NUMBER}\n", "line 1 names the columns sms, +49•••"),
    ],
)
def test_a_list_with_other_columns_is_refused_with_what_was_found(desk, text, named):
    """Without an address in clear, since it goes into logs."""
    result = desk.run("suppressions", "import", "-", "--reason", "x", stdin=text)

    assert (result.exit_code, desk.data("suppressions", "list")) == (2, [])
    assert named in result.stderr
    assert NUMBER not in result.stderr


def test_a_list_whose_codes_are_none_changes_nothing(desk):
    """Mailgun's columns have the names of ours, and its code is an SMTP reply."""
    rows = f"address,code\n{NUMBER},OPT_OUT\n{NUMBER},550\n"
    result = desk.run("suppressions", "import", "-", "--channel", "sms", "--reason", "x", stdin=rows)

    assert (result.exit_code, desk.data("suppressions", "list")) == (2, [])
    assert "row 2: 550 is no reason code" in result.stderr
    assert "--from" in result.stderr


def test_a_code_counts_in_any_case(desk):
    """An opt-out stays consent, however it is written."""
    rows = f"address,code\n{NUMBER},opt_out\n"
    desk.run("suppressions", "import", "-", "--channel", "sms", "--reason", "x", stdin=rows)

    assert [row["code"] for row in desk.data("suppressions", "list")] == ["OPT_OUT"]


def test_an_address_that_is_none_is_taken_as_it_is_written_where_that_is_the_verdict(desk):
    """As a report with this code is; under another code it is a mistake in the list."""
    rows = 'channel,address,code\nemail,"Tom@firma,example",{}\n'
    words = ("suppressions", "import", "-", "--reason", "x")

    assert desk.run(*words, stdin=rows.format("BOUNCE_PERMANENT_GENERAL")).exit_code == 5
    assert desk.run(*words, stdin=rows.format("INVALID_EMAIL_ADDRESS")).exit_code == 0
    (row,) = desk.data("suppressions", "list")
    assert row["recipient"] == f"r_{desk.store.suppressions.rid('tom@firma,example', 'email')}"


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
