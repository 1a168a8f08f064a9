"""Bad files for every command that takes one: a sentence and an exit code, and what was taken can be listed."""

import json

import pytest
from checks.fuzz.inputs import (
    DATES,
    NUMBERS,
    TEXTS,
    as_bytes,
    bent_events,
    bytes_of,
    raw_events,
    raw_policies,
    values,
)
from checks.fuzz.rules import shipped
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from softbounce.cli.main import app
from softbounce.core.decide import decide
from softbounce.core.filters import parse_filter
from softbounce.store import Store
from softbounce.store.audit import By

FEW = settings(
    max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
ROWS = (
    {"channel": "sms", "address": "+4915112345678", "code": "X", "since": "2026-01-01", "until": "never"},
    {
        "channel": "email",
        "address": "a@web.de",
        "merchant": "42",
        "evidence": ["e1", "e2"],
        "reason": "asked",
    },
    {"channel": "letter", "address": {"city": "Berlin", "street": "x 1", "name": "y"}},
    {"channel": "sms", "recipient": "r_" + "A" * 12, "address": "+49•••78", "origin": "person"},
)


@pytest.fixture
def store(valkey, monkeypatch, tmp_path):
    """An empty store that the commands find, in an empty folder."""
    monkeypatch.setenv("SOFTBOUNCE_REDIS_URL", valkey)
    monkeypatch.setenv("SOFTBOUNCE_NAMESPACE", "fuzz-cli")
    monkeypatch.chdir(tmp_path)
    store = Store.open(valkey, namespace="fuzz-cli")
    yield store
    store.close()


def run(*words, stdin=None):
    """Run one command: no error but a sentence with an exit code may come out, and something is always said."""
    result = CliRunner().invoke(app, [str(word) for word in words], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in {0, 1, 2, 5}, result.output
    assert result.output.strip(), "not a word"
    assert "Traceback" not in result.output
    return result


def both_ways(raw, path, *words):
    """Run a command on a file and on stdin; both must say the same."""
    path.write_bytes(raw)
    file, stdin = run(*words, path), run(*words, "-", stdin=raw)
    assert file.exit_code == stdin.exit_code
    assert file.stdout == stdin.stdout
    return file


event_files = (
    st.lists(raw_events, max_size=4).map(b"\n".join)
    | st.lists(bent_events(), max_size=3).map(as_bytes)
    | bent_events().map(lambda event: json.dumps(event, indent=1).encode())
    | bytes_of(st.lists(bent_events(), max_size=2).map(as_bytes))
)


@FEW
@given(raw=event_files)
@example(raw=b"")
@example(raw=b"\xff\xfe[\x00]\x00")
@example(raw="[{}]".encode("utf-16"))
@example(raw=b"[" * 5000)
def test_any_file_of_events_is_explained(tmp_path, raw):
    """Each event in it is explained or called unreadable, in lines, as JSON and as NDJSON."""
    path = tmp_path / "events"
    path.write_bytes(raw)
    for output in ("table", "json", "ndjson"):
        result = CliRunner().invoke(app, ["explain", str(path), "-o", output])
        assert result.exception is None, result.exception
        if output == "json":
            assert isinstance(json.loads(result.stdout), list | dict)


@FEW
@given(raw=event_files)
@example(raw=b'[{"eventId":"\\ud800"},{"a":1,"a":2}]')
def test_any_file_of_events_is_reported_to_the_last_one(store, tmp_path, raw):
    """What is no event travels as it is, for a worker to keep: as many come out of the stream as were said to go in."""
    path = tmp_path / "events"
    path.write_bytes(raw)
    said = run("events", "report", path, "-o", "json").stdout
    entries, now = store.events.read("w", count=1000, block_ms=0)
    answers = store.ledger.accept(
        [decide(entry.raw, policy=shipped(), now=now) for entry in entries], policy=shipped()
    )
    store.events.ack(entries)

    assert len(entries) == len(json.loads(said or "[]")) == len(answers)


@st.composite
def bent_rows(draw):
    """Return a row of the list with some cells changed, missing or of another kind."""
    row = dict(draw(st.sampled_from(ROWS)))
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from((*row, "merchant", "evidence", "since", "until", "code", "origin", "x")))
        row[name] = draw(values | st.sampled_from(DATES) | st.sampled_from(NUMBERS) | st.sampled_from(TEXTS))
    return row


def as_csv(rows):
    """Return rows as a spreadsheet might: quoted or not, with either line end."""
    names = sorted({name for row in rows for name in row} | {"channel", "address"})
    lines = [";".join(names) if len(rows) == 3 else ",".join(names)]
    lines += [
        ",".join(f'"{str(row.get(name, "")).replace(chr(34), chr(34) * 2)}"' for name in names)
        for row in rows
    ]
    return "\r\n".join(lines).encode("utf-8", "surrogatepass")


lists = st.lists(bent_rows(), max_size=4)
list_files = st.tuples(
    st.just("ndjson"), lists.map(lambda rows: b"\n".join(map(as_bytes, rows)))
) | st.tuples(st.just("csv"), lists.map(as_csv))
broken_lists = st.one_of(
    list_files, list_files.flatmap(lambda file: st.tuples(st.just(file[0]), bytes_of(st.just(file[1]))))
)


@FEW
@given(file=broken_lists)
@example(file=("csv", b"\xef\xbb\xbfchannel,address\r\nsms,+4915112345678"))
@example(file=("csv", b'channel,address\nsms,"unclosed'))
@example(file=("csv", b"channel,address\nsms,\x00"))
@example(file=("csv", b"channel,address\nsms," + b"x" * 200_000))
def test_any_list_is_imported_in_whole_in_part_or_not_at_all(store, tmp_path, file):
    """And what was taken is listed, exported and imported again."""
    form, raw = file
    words = ("suppressions", "import", "--format", form, "--reason", "x")
    dry = both_ways(raw, tmp_path / "list", *words, "--dry-run")  # which says the same the second time
    assert run(*words, tmp_path / "list").exit_code == dry.exit_code
    for words in (
        ("list",),
        ("list", "-o", "json"),
        ("export",),
        ("export", "--format", "ndjson", "--reveal"),
    ):
        result = run("suppressions", *words)
        assert result.exit_code == 0
    again = run("suppressions", "import", "-", "--format", "ndjson", "--reason", "x", stdin=result.stdout)
    assert again.exit_code == 0, again.output
    store.suppressions.remove(
        store.suppressions.select(parse_filter("", keys=()), now=store.now()), by=By("me", "x")
    )


@FEW
@given(raw=raw_policies)
@example(raw=b"\xff\xfe")
@example(raw=b"\x00" * 10)
@pytest.mark.usefixtures("store")
def test_any_policy_file_is_checked_shown_and_used(tmp_path, raw):
    """Valid: 0; invalid: 1 and the places; no text: 2. Every command that takes a policy agrees."""
    path = tmp_path / "policy.yaml"
    path.write_bytes(raw)
    codes = {
        run("policy", "check", path).exit_code,
        run("policy", "show", "--policy", path).exit_code,
        run("explain", "-", "--policy", path, stdin=as_bytes({"type": "x"})).exit_code,
    }
    run("doctor", "--policy", path)

    assert len(codes) == 1


@FEW
@given(raws=st.lists(raw_events, min_size=1, max_size=4))
def test_any_dead_letter_is_shown_replayed_and_dropped(store, raws):
    """Whatever its bytes; a letter that is replayed comes back as the same bytes."""
    now = store.now()
    before = [letter.id for letter in store.dead_letters.select(parse_filter("", keys=()), now=now)]
    store.dead_letters.drop(before, by=By("me", "x"))
    decisions = [decide(b"{torn " + raw, policy=shipped(), now=now) for raw in raws]
    store.ledger.accept(decisions, policy=shipped())
    letters = [
        json.loads(line) for line in run("dead-letters", "list", "-o", "ndjson").stdout.split("\n") if line
    ]
    assert len(letters) == len({decision.identity for decision in decisions})
    for letter in letters[:2]:
        for more in ((), ("--reveal",), ("-o", "json")):
            assert run("dead-letters", "show", letter["id"], *more).exit_code == 0
    run("dead-letters", "replay", letters[0]["id"], "--reason", "x")
    entries, _ = store.events.read("w", count=1000, block_ms=0)
    store.events.ack(entries)
    assert [entry.raw[:6] for entry in entries] == [b"{torn "]
    assert run("dead-letters", "drop", "reason:*", "--yes", "--reason", "x").exit_code == (len(letters) == 1)
