"""What people read and change: suppressions, cases, dead letters, pauses, audit, erasure."""

import io

import pytest

from softbounce.core.filters import parse_filter
from softbounce.core.table_files import read_rows, write_rows
from softbounce.core.timestamps import iso
from softbounce.errors import InvalidSettings, NotFound, WrongKey
from softbounce.store import Store
from softbounce.store.audit import By
from softbounce.store.erasure import Erasure
from softbounce.store.suppression_entries import COLUMNS

from .book import ANYTHING, DAY, HOUR, MINUTE, NUMBER, SECOND

MAIL = "j.doe@example.com"
OTHER = "+4915187654321"


def test_check_many_answers_in_order_across_blocks(book):
    """Any number of recipients, in order, a block of 5,000 in one round trip."""
    book.store.suppressions.add("+4915100001234", "sms", by=By("me", "asked"), now=book.now)
    numbers = [f"+491510000{n:04}" for n in range(6000)]

    verdicts = list(book.store.suppressions.check_many(numbers, "sms"))

    assert [n for n, verdict in enumerate(verdicts) if not verdict] == [1234]


def test_what_is_no_address_may_not_be_sent_to(book):
    """A value that is no address gets a refusal with its reason, not an error."""
    verdict = book.store.suppressions.check("+1XXX5550100", "sms")

    assert not verdict
    assert verdict.recipient == ""
    assert verdict.reason


@pytest.mark.parametrize("expires", [None, 200 * DAY])
def test_a_person_s_entry_is_not_shortened_by_a_report(book, expires):
    """What a person put on the list for ever, or for longer than the report's 90 days, stays so, and gains the evidence."""
    book.store.suppressions.add(NUMBER, "sms", by=By("me", "asked"), now=book.now, expires=expires)
    for name in ("proof", "more"):
        book.fail(code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR", event=name)

    verdict = book.store.suppressions.check(NUMBER, "sms")

    until = expires and book.now + expires
    assert (verdict.reason, verdict.until, verdict.evidence) == ("MANUAL", until, ("proof", "more"))


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_an_export_imports_again(book, form):
    """The list survives a round trip through a file, with expiry, reason, origin and scope."""
    suppressions = book.store.suppressions
    suppressions.add(NUMBER, "sms", by=By("me", "=cmd()"), now=book.now, expires=DAY)
    suppressions.add(MAIL, "email", by=By("me", "asked"), now=book.now, merchant=7)
    rows = [entry.row(reveal=True) for entry in suppressions.select(ANYTHING, now=book.now)]
    file = io.StringIO()
    assert write_rows(rows, file, form=form, columns=COLUMNS) == 2
    suppressions.remove(
        [entry.field for entry in suppressions.select(ANYTHING, now=book.now)], by=By("me", "test")
    )
    file.seek(0)

    assert list(suppressions.load(read_rows(file, form=form), by=By("me", "import"), now=book.now)) == [
        None,
        None,
    ]
    again = [entry.row(reveal=True) for entry in suppressions.select(ANYTHING, now=book.now)]
    assert sorted(row["address"] for row in again) == sorted([NUMBER, MAIL])
    assert {row["reason"] for row in again} == {"=cmd()", "asked"}
    assert not suppressions.check(MAIL, "email", merchant=7)
    assert suppressions.check(MAIL, "email")


def test_an_import_keeps_what_its_rows_say(book):
    """Origin and date stay, what has ended is not taken; of two rows the later counts, but a bounce displaces no consent."""
    suppressions, row = book.store.suppressions, {"channel": "sms", "address": NUMBER}
    rows = [
        row | {"code": "OPT_OUT", "origin": "event", "since": iso(book.now - DAY)},
        row | {"code": "INVALID_MOBILE_NUMBER", "keep_existing": "OPT_OUT"},
        {"channel": "sms", "address": "+4915112345679", "until": iso(book.now - DAY)},
        {"channel": "sms", "address": "+4915112345670", "code": "SMS_REJECTED"},
        {
            "channel": "sms",
            "address": "+4915112345670",
            "code": "INVALID_MOBILE_NUMBER",
            "keep_existing": "OPT_OUT",
        },
    ]
    said = list(suppressions.load(rows, by=By("me", "import"), now=book.now))
    assert said == [None, "listed", "past", None, None]

    found, other = sorted(suppressions.select(ANYTHING, now=book.now), key=lambda one: one.entry["at"])
    assert other.entry["code"] == "INVALID_MOBILE_NUMBER"
    assert {name: found.entry[name] for name in ("code", "origin", "at")} == {
        "code": "OPT_OUT",
        "origin": "event",
        "at": book.now - DAY,
    }
    fields = [found.field, suppressions.rid("+4915112345679", "sms")]
    assert suppressions.remove(fields, by=By("me", "mended")) == 1


@pytest.mark.parametrize("code", ["", "MANUAL"])
def test_an_import_takes_the_row_of_an_entry_that_has_ended(book, code):
    """A row that gives way leaves what stands; what has ended protects nobody, also before it is swept."""
    suppressions = book.store.suppressions
    suppressions.add(NUMBER, "sms", by=By("me", "asked"), now=book.now, expires=DAY)
    row = {"channel": "sms", "address": NUMBER, "keep_existing": code}

    def load():
        return list(suppressions.load([row], by=By("me", "import"), now=book.now))

    book.wait(DAY - 1)
    assert load() == ["listed"]
    book.wait(1)
    assert load() == [None]
    assert book.is_suppressed()


def test_a_block_is_named_before_a_pause(book):
    """Who is blocked and paused hears of the block; of the pause once the block has ended."""
    book.store.suppressions.add(NUMBER, "sms", by=By("me", "asked"), now=book.now, expires=DAY)
    end = book.now + 2 * DAY
    book.store.pauses.add("recipient", NUMBER, until=end, by=By("me", "angry"), channel="sms")
    verdicts = []
    for _ in range(3):
        verdict = book.store.suppressions.check(NUMBER, "sms")
        verdicts.append((verdict.reason, verdict.until))
        book.wait(DAY)

    assert verdicts == [("MANUAL", end - DAY), ("paused", end), ("", None)]


def test_no_cell_of_an_export_starts_a_formula(book):
    """A spreadsheet must not run what a reason says."""
    book.store.suppressions.add(NUMBER, "sms", by=By("me", "=1+1"), now=book.now)
    file = io.StringIO()
    write_rows(
        [entry.row(reveal=True) for entry in book.store.suppressions.select(ANYTHING, now=book.now)],
        file,
        form="csv",
        columns=COLUMNS,
    )

    cells = file.getvalue().splitlines()[1].split(",")
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]


def test_a_row_that_cannot_be_read_does_not_stop_an_import(book):
    """Each row of an import has its own result."""
    rows = [
        {"channel": "sms", "address": "12"},
        {"channel": "fax", "address": NUMBER},
        {"channel": "sms", "address": NUMBER},
    ]

    results = list(book.store.suppressions.load(rows, by=By("me", "import"), now=book.now))

    assert [result and result.path for result in results] == ["address", "channel", None]
    assert book.is_suppressed()


def test_every_change_has_a_reason_and_an_audit_entry(book):
    """Who, what, why, before and after; without a reason nothing changes."""
    with pytest.raises(InvalidSettings):
        book.store.cancels.add("claim", 1, by=By("me", " "), now=book.now)
    book.store.suppressions.add(NUMBER, "sms", by=By("ann", "asked us"), now=book.now)
    book.store.modes.set("off", by=By("bob", "wrong text"), now=book.now)

    entries = list(book.store.audit.entries())

    assert [(entry["actor"], entry["action"], entry["reason"]) for entry in entries] == [
        ("bob", "mode off", "wrong text"),
        ("ann", "suppress", "asked us"),
    ]


def test_filters_choose_retries(book):
    """One language for every list: and, or, not, wildcards, durations."""
    book.fail("m1", claim=1)
    book.fail("m2", code="BOUNCE_TRANSIENT_MBX_FULL", channel="EMAIL", to=[MAIL], merchant=2, claim=2)
    keys = ("code", "channel", "due", "merchant", "reference")

    def found(words):
        return [
            w.delivery.reference
            for w in book.store.retries.select(parse_filter(words, keys=keys), now=book.now)
        ]

    assert found("code:BOUNCE_*") == ["m2"]
    assert found("channel:sms,email due:<2h") == ["m1"]
    assert found("-merchant:2") == ["m1"]
    assert found("m2 channel:sms") == []
    with pytest.raises(InvalidSettings, match="did you mean 'merchant'"):
        found("merchnt:2")


def test_stories_since_a_time_are_told_once_each_whatever_the_page(book):
    """By the first report of the message, over more messages than one page holds; or as many as asked for."""
    book.fail("early")
    book.wait(HOUR)
    since = book.now
    book.fail("early", event="again")
    book.accept(*(book.failed(f"m{n}", to=[f"+4915112{n:06}"]) for n in range(1200)))

    told = list(book.store.retries.stories(since=since))
    some = list(book.store.retries.stories(since=since, most=700))

    assert sorted(story.delivery.reference for story in told) == sorted(f"m{n}" for n in range(1200))
    assert all(len(story.history) == 1 for story in told)
    assert 699 <= len(some) <= 700  # the early one may be among those that were looked at
    assert book.store.retries.remembered() == 1201


def test_releasing_a_case_resends_its_group_at_a_pace(book):
    """One action mends a whole group; each delivery waits for its own moment."""
    for n in range(3):
        book.fail(f"m{n}", code="PLACEHOLDER_ERROR", type="RENDER_ERROR", claim=n, to=[f"+4915112345{n}11"])
    (case,) = book.cases()
    book.store.cases.ack(case.id, by=By("me", "on it"))
    assert book.cases()[0].state == "acknowledged"

    done = book.store.cases.resolve(
        case.id, how="release", by=By("me", "mended"), policy=book.policy, first=book.now, step=MINUTE
    )

    assert (done.released, done.skipped, done.ended) == (3, 0, 0)
    assert len(book.hand_over()) == 1
    book.wait(2 * MINUTE)
    assert len(book.hand_over()) == 2
    assert book.notices().count("case_resolved") == 1
    with pytest.raises(NotFound):
        book.store.cases.resolve(case.id, how="drop", by=By("me", "x"), policy=book.policy, first=0, step=0)


def test_a_release_in_groups_is_staggered_as_a_whole_and_passes_no_deadline(book):
    """520 messages are released in three calls of the store: one a step, and none past the end of the claim."""
    until = iso(book.now + 300 * MINUTE)
    raws = [
        book.failed(f"m{n}", "PLACEHOLDER_ERROR", claim=n, to=[f"+4915112{n:06}"], notAfter=until)
        for n in range(520)
    ]
    book.accept(*raws)
    (case,) = book.cases()
    done = book.store.cases.resolve(
        case.id, how="release", by=By("me", "mended"), policy=book.policy, first=book.now, step=MINUTE
    )

    assert (case.count, done.released, done.skipped, done.ended) == (520, 301, 219, 0)
    assert [waiting.due for waiting in book.waiting()] == [book.now + n * MINUTE for n in range(301)]
    assert book.notices().count("case_resolved") == 1


def test_a_stale_delivery_is_released_by_a_person_s_word_only(book):
    """Past its deadline a held message is skipped, unless --even-stale says so; a run-now after it changes nothing."""
    book.fail("m1", code="PLACEHOLDER_ERROR", type="RENDER_ERROR")
    book.wait(5 * DAY)
    (case,) = book.cases()

    done = book.store.cases.resolve(
        case.id, how="release", by=By("me", "late"), policy=book.policy, first=book.now, step=0
    )
    assert (done.released, done.skipped) == (0, 1)
    book.fail("m2", code="PLACEHOLDER_ERROR", type="RENDER_ERROR")
    book.wait(5 * DAY)
    (case,) = [case for case in book.cases() if case.state == "open"]
    book.store.cases.resolve(
        case.id,
        how="release",
        by=By("me", "still"),
        policy=book.policy,
        first=book.now,
        step=0,
        even_stale=True,
    )
    book.store.retries.run_now([book.story("m2").delivery.id], by=By("me", "now"))

    assert book.hand_over() == [("m2", 1)]


def test_a_released_message_is_not_resent_beyond_the_limit(book):
    """limits.max_attempts binds a person's release too."""
    tight = book.with_policy(_shipped().replace("max_attempts: 12", "max_attempts: 1"))
    tight.fail(code="PROVIDER_ERROR")
    tight.resend()
    tight.fail(code="PLACEHOLDER_ERROR", type="RENDER_ERROR")
    (case,) = tight.cases()

    done = tight.store.cases.resolve(
        case.id, how="release", by=By("me", "mended"), policy=tight.policy, first=tight.now, step=0
    )
    assert (done.released, done.skipped) == (0, 1)


def test_forgetting_erases_the_address_and_keeps_the_block(book):
    """Recipients forget: no address is left anywhere, and the recipient stays suppressed."""
    book.fail("m1")
    book.fail("m2", code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR")
    rid = book.store.suppressions.rid(NUMBER, "sms")

    erased = book.store.erasure.erase(
        rid, streams={}, by=By("me", "GDPR 17"), history_kept=book.policy.retention.history
    )

    assert sum(erased.counts().values()) >= 2
    assert book.is_suppressed()
    assert not _found_anywhere(book.client, NUMBER)
    assert book.waiting() == []


class Interrupted(Erasure):
    """An erasure between whose look and whose write something happens, once."""

    def __init__(self, book, happens):
        super().__init__(book.client, book.store.keys, key=book.store.key)
        self.happens = [happens]

    def find(self, rid, *, streams):
        """Look; then it happens."""
        places = super().find(rid, streams=streams)
        while self.happens:
            self.happens.pop()()
        return places


def test_what_changed_between_the_look_and_the_erasure_is_looked_at_anew(book):
    """What left meanwhile is not cancelled, and of several who come in another order the right one goes."""
    book.fail("m1")
    book.fail("m2", to=[NUMBER, OTHER], claim=2)

    def happens():
        book.wait(4 * HOUR)
        assert len(book.hand_over()) == 2
        book.fail("m2", to=[OTHER, NUMBER], claim=2)

    rid, other = (book.store.suppressions.rid(number, "sms") for number in (NUMBER, OTHER))
    Interrupted(book, happens).erase(
        rid, streams={}, by=By("me", "GDPR 17"), history_kept=book.policy.retention.history
    )

    assert book.story("m1").delivery.state == "out"
    several = book.story("m2").delivery
    assert (several.state, several.recipients, several.head["rs"]) == ("waiting", (OTHER,), [other])


def test_nothing_but_waiting_things_holds_an_address(book):
    """After a hand-over and its notices no address is left in the clear, except on the suppression list."""
    book.fail("m1")
    book.resend("m1")
    book.notices()

    assert not _found_anywhere(book.client, NUMBER)


def test_no_key_or_field_names_an_address(book):
    """Addresses stand under keyed hashes."""
    book.fail("m1")
    book.fail("m2", code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR")
    names = list(book.client.scan_iter())
    for name in book.client.scan_iter():
        if book.client.type(name) == b"hash":
            names += book.client.hkeys(name)

    assert not [name for name in names if NUMBER.encode() in name or NUMBER[1:].encode() in name]


def test_another_hash_key_is_refused(client, book):
    """With another key every lookup would miss, so it is refused."""
    book.fail()

    with pytest.raises(WrongKey):
        _ = Store(client, pii_key=b"x" * 32).key


def test_a_given_hash_key_must_be_the_same_everywhere(client):
    """SOFTBOUNCE_PII_KEY is compared by its fingerprint; the store never holds it."""
    assert Store(client, pii_key=b"a" * 32).key == b"a" * 32
    with pytest.raises(WrongKey):
        _ = Store(client, pii_key=b"b" * 32).key
    with pytest.raises(WrongKey):
        _ = Store(client).key
    assert b"a" * 32 not in client.hgetall("{sb:default}:meta").values()


def test_dead_letters_are_shown_and_dropped(book):
    """An operator sees the bytes and can let go of them."""
    book.accept(b'{"type": "MESSAGE_NOT_DELIVERED"}')
    (letter,) = book.store.dead_letters.select(ANYTHING, now=book.now)

    assert book.store.dead_letters.show(letter.id).path == "claim"
    assert book.store.dead_letters.drop([letter.id], by=By("me", "test data")) == 1
    with pytest.raises(NotFound):
        book.store.dead_letters.show(letter.id)


def test_a_large_dead_letter_is_bounded(book):
    """64 KiB are kept, with the length and the hash of the whole."""
    book.accept(b"x" * 300_000)
    (letter,) = book.store.dead_letters.select(ANYTHING, now=book.now)

    assert (len(letter.raw), letter.length, letter.is_whole) == (64 * 1024, 300_000, False)


def test_a_notice_that_is_not_finished_comes_again_under_the_same_id(book):
    """Notices leave at least once, with one id."""
    book.fail(code="SMS_BLOCKED")
    (first,) = book.store.notices.claim(limit=10, lease=30_000)
    assert book.store.notices.claim(limit=10, lease=30_000) == []
    book.wait(31 * SECOND)

    (second,) = book.store.notices.claim(limit=10, lease=30_000)

    assert first.id == second.id
    assert second.body["type"] == "softbounce.held"
    assert second.body["recipients"] == [NUMBER]


def test_workers_are_forgotten_after_a_minute(book):
    """Doctor shows who lives."""
    book.store.workers.beat("w1", {"revision": "abc"}, now=book.now)

    assert list(book.store.workers.all(now=book.now)) == ["w1"]
    assert list(book.store.workers.all(now=book.now + HOUR)) == []


def _found_anywhere(client, text):
    needle = text.encode()
    for key in client.scan_iter():
        kind = client.type(key)
        values = {
            b"hash": lambda key: [*client.hgetall(key).items()],
            b"zset": lambda key: client.zrange(key, 0, -1),
            b"stream": client.xrange,
            b"string": lambda key: [client.get(key)],
        }[kind](key)
        if needle in repr(values).encode():
            return key
    return None


def test_one_cancelled_retry_does_not_mark_its_neighbours(book):
    """Each waiting retry is judged by its own marks, in a list of several too."""
    for n in range(3):
        book.fail(f"m{n}", claim=n, to=[f"+4915112345{n}11"])
    book.store.cancels.add("reference", "m0", by=By("me", "paid"), now=book.now)

    states = {w.delivery.reference: w.state for w in book.waiting()}

    assert states["m0"] == "cancelled"
    assert {states["m1"], states["m2"]} <= {"waiting", "quiet"}


@pytest.mark.parametrize("merchant", ["€", "ü", "•", "мама"])
def test_a_case_of_any_merchants_name_is_counted_and_shown(book, merchant):
    """Names are not Latin alone: the list of all cases must not fail over one."""
    book.fail("m1", "SNIPPET_ERROR", type="RENDER_ERROR", merchant=merchant)
    book.fail("m2", "SNIPPET_ERROR", type="RENDER_ERROR", merchant=merchant)
    (case,) = book.cases()

    assert case.count == 2
    assert len(book.store.cases.show(case.id, limit=10)[1]) == 2


def test_the_audit_lasts_as_long_as_the_policy_says_whoever_writes_it(book):
    """retention.audit: a command does not know the policy, so only the worker's sweep lets go of entries."""
    longer = book.with_policy(_shipped().replace("audit: 400d", "audit: 800d"))

    def write(count):
        for n in range(count):
            longer.store.cancels.add("reference", f"m{n}", by=By("me", "paid"), now=longer.now)

    def left():
        return longer.client.xlen(longer.store.keys.fixed("audit"))

    write(150)
    longer.wait(500 * DAY)
    write(1)
    longer.store.sweep(policy=longer.policy)
    assert left() == 151
    longer.wait(36_500 * DAY)  # Redis names entries by its own clock
    longer.store.sweep(policy=longer.policy)
    assert left() < 150


def test_a_persons_cancellation_lasts_as_long_as_the_policy_says(book):
    """retention.cancelled: 30d. A report of the 29th day is refused, one of the 31st is taken."""
    short = book.with_policy(_shipped().replace("cancelled: 400d", "cancelled: 30d"))
    for reference in ("m1", "m2"):
        short.store.cancels.add("reference", reference, by=By("me", "paid"), now=short.now)
    short.wait(29 * DAY)
    short.store.sweep(policy=short.policy, count=1000)
    assert short.fail("m1").outcome == "cancelled"
    short.wait(2 * DAY)
    short.store.sweep(policy=short.policy, count=1000)

    assert short.fail("m2").outcome == "scheduled"


def _shipped():
    from pathlib import Path

    return (Path(__file__).parents[2] / "config" / "policy.yaml").read_text(encoding="utf-8")
