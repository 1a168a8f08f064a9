"""What people read and change: suppressions, cases, dead letters, pauses, audit, erasure."""

import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from softbounce.core.filters import parse_filter
from softbounce.core.table_files import read_rows, write_rows
from softbounce.core.timestamps import iso
from softbounce.errors import InvalidSettings, NotFound, WrongKey
from softbounce.store import Store
from softbounce.store.audit import By
from softbounce.store.erasure import Erasure
from softbounce.store.suppression_entries import COLUMNS, exported

from .store_driver import ANYTHING, DAY, HOUR, MINUTE, NUMBER, SECOND

MAIL = "j.doe@example.com"
OTHER = "+4915187654321"


def test_check_many_answers_in_order_across_blocks(driver):
    """Any number of recipients, in order, a block of 5,000 in one round trip."""
    driver.store.suppressions.add("+4915100001234", "sms", by=By("me", "asked"), now=driver.now)
    numbers = [f"+491510000{n:04}" for n in range(6000)]

    verdicts = list(driver.store.suppressions.check_many(numbers, "sms"))

    assert [n for n, verdict in enumerate(verdicts) if not verdict] == [1234]


def test_what_is_no_address_may_not_be_sent_to(driver):
    """A value that is no address gets a refusal with its reason, not an error."""
    verdict = driver.store.suppressions.check("+1XXX5550100", "sms")

    assert not verdict
    assert verdict.recipient == ""
    assert verdict.reason


@pytest.mark.parametrize("expires", [None, 200 * DAY])
def test_a_person_s_entry_is_not_shortened_by_a_report(driver, expires):
    """What a person put on the list for ever, or for longer than the report's 90 days, stays so and is named; the bounce stands beneath."""
    driver.store.suppressions.add(NUMBER, "sms", by=By("me", "asked"), now=driver.now, expires=expires)
    for name in ("proof", "more"):
        driver.fail(code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR", event=name)

    verdict = driver.store.suppressions.check(NUMBER, "sms")
    person, bounce = driver.store.suppressions.find(NUMBER, "sms")

    until = expires and driver.now + expires
    assert (verdict.reason, verdict.until, verdict.evidence) == ("MANUAL", until, ())
    assert (person.code, person.until) == ("MANUAL", until)
    assert (bounce.code, bounce.entry["evidence"]) == ("INVALID_MOBILE_NUMBER", ["proof", "more"])


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_an_export_imports_again(driver, form):
    """The list survives a round trip through a file, with expiry, reason, origin and scope."""
    suppressions = driver.store.suppressions
    suppressions.add(NUMBER, "sms", by=By("me", "=cmd()"), now=driver.now, expires=DAY)
    suppressions.add(MAIL, "email", by=By("me", "asked"), now=driver.now, merchant=7)
    rows = [entry.row(reveal=True) for entry in suppressions.select(ANYTHING, now=driver.now)]
    file = io.StringIO()
    assert write_rows(rows, file, form=form, columns=COLUMNS) == 2
    suppressions.remove(suppressions.select(ANYTHING, now=driver.now), by=By("me", "test"))
    file.seek(0)

    assert list(suppressions.load(read_rows(file, form=form), by=By("me", "import"), now=driver.now)) == [
        None,
        None,
    ]
    again = [entry.row(reveal=True) for entry in suppressions.select(ANYTHING, now=driver.now)]
    assert sorted(row["address"] for row in again) == sorted([NUMBER, MAIL])
    assert {row["reason"] for row in again} == {"=cmd()", "asked"}
    assert not suppressions.check(MAIL, "email", merchant=7)
    assert suppressions.check(MAIL, "email")


LETTER = {"postcode": "10115", "street": "Gartenstraße 5", "name": "A. Muster", "country": "DE"}
LISTED = st.one_of(
    st.tuples(st.just("sms"), st.sampled_from([NUMBER, OTHER]), st.sampled_from(["SMS_REJECTED", "OPT_OUT"])),
    st.tuples(st.just("sms"), st.sampled_from(["12", "no number"]), st.just("INVALID_MOBILE_NUMBER")),
    st.tuples(st.just("email"), st.sampled_from([MAIL, "Ä.b@bücher.example"]), st.just("COMPLAINT")),
    st.tuples(
        st.just("email"),
        st.sampled_from(["tom@firma,example", '"', "=a;b"]),
        st.just("INVALID_EMAIL_ADDRESS"),
    ),
    st.tuples(st.just("letter"), st.just(LETTER), st.just("MANUAL")),
    st.tuples(st.just("sms"), st.just("447911123457"), st.just("INVALID_MOBILE_NUMBER")),
    st.tuples(st.just("letter"), st.just({"name": "Straße  9"}), st.just("INVALID_POSTAL_ADDRESS")),
)
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
ENTRIES = st.builds(
    lambda who, facts: dict(zip(("channel", "address", "code"), who, strict=True)) | facts,
    LISTED,
    st.fixed_dictionaries(
        {
            "merchant": st.sampled_from(["", "7", "acme;berlin", "-5"]),
            "origin": st.sampled_from(["event", "person", "provider"]),
            "reason": WORDS,
            "since": st.sampled_from(["2026-11-01T08:00:00Z", "2025-12-31T23:59:59Z"]),
            "until": st.sampled_from(["never", "2027-01-31T12:00:00Z"]),
            "evidence": st.lists(WORDS.filter(bool), max_size=3),
        }
    ),
)


@pytest.mark.parametrize("form", ["csv", "ndjson"])
@pytest.mark.parametrize("kind", ["masked", "revealed", "of another key"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ENTRIES, min_size=1, max_size=6))
def test_an_export_imports_back_as_it_was(driver, form, kind, rows):
    """Malformed addresses, reasons of any text and evidence with blanks included; masked, under the same key."""
    suppressions = driver.store.suppressions
    other = {"recipient": "r_AAAAAAAAAAAA", "key": "0" * 16} if kind == "of another key" else {}

    def everything():
        found = suppressions.select(ANYTHING, now=driver.now)
        return sorted(exported(found, reveal=kind != "masked", key=suppressions.fingerprint), key=str)

    def clear():
        suppressions.remove(suppressions.select(ANYTHING, now=driver.now), by=By("me", "test"))

    clear()
    assert set(suppressions.load(rows, by=By("me", "first"), now=driver.now)) <= {None, "weaker", "listed"}
    before, file = everything(), io.StringIO(newline="")
    write_rows([row | other for row in before], file, form=form, columns=COLUMNS)
    clear()
    file.seek(0)
    again = suppressions.load(read_rows(file, form=form), by=By("me", "back"), now=driver.now)

    assert set(again) <= {None, "weaker"}
    assert everything() == before


def test_an_import_keeps_what_its_rows_say(driver):
    """Origin and date stay, and what has ended is not taken; without an origin a known code tells of an event."""
    suppressions, row = driver.store.suppressions, {"channel": "sms", "address": NUMBER}
    rows = [
        row | {"code": "OPT_OUT", "origin": "provider", "since": iso(driver.now - DAY)},
        {"channel": "sms", "address": OTHER, "until": iso(driver.now - DAY)},
        {"channel": "sms", "address": OTHER, "code": "SMS_REJECTED"},
        {"channel": "sms", "address": OTHER, "code": "OUR_OWN_CODE"},
    ]
    said = list(suppressions.load(rows, by=By("me", "import"), now=driver.now))
    assert said == [None, "past", None, None]

    first, *others = sorted(suppressions.select(ANYTHING, now=driver.now), key=lambda one: one.since)
    assert (first.code, first.origin, first.since) == ("OPT_OUT", "provider", driver.now - DAY)
    assert {one.code: one.origin for one in others} == {"SMS_REJECTED": "event", "OUR_OWN_CODE": "person"}
    assert suppressions.remove([first], by=By("me", "mended")) == 1


def test_an_import_takes_the_row_of_an_entry_that_has_ended(driver):
    """What has ended weakens no row and makes none needless, also before it is swept."""
    suppressions = driver.store.suppressions
    suppressions.add(NUMBER, "sms", by=By("me", "asked"), now=driver.now, expires=DAY)
    same = {"channel": "sms", "address": NUMBER, "code": "MANUAL", "until": iso(driver.now + DAY)}
    bounce = {"channel": "sms", "address": NUMBER, "code": "SMS_REJECTED"}

    def load(row, **options):
        (result,) = suppressions.load([row], by=By("me", "asked"), now=driver.now, **options)
        return result

    driver.wait(DAY - 1)
    assert (load(same), load(bounce, dry_run=True)) == ("listed", "weaker")
    driver.wait(1)
    assert load(bounce) is None
    assert driver.is_suppressed()


def test_a_block_is_named_before_a_pause(driver):
    """Who is blocked and paused hears of the block; of the pause once the block has ended."""
    driver.store.suppressions.add(NUMBER, "sms", by=By("me", "asked"), now=driver.now, expires=DAY)
    end = driver.now + 2 * DAY
    driver.store.pauses.add("recipient", NUMBER, until=end, by=By("me", "angry"), channel="sms")
    verdicts = []
    for _ in range(3):
        verdict = driver.store.suppressions.check(NUMBER, "sms")
        verdicts.append((verdict.reason, verdict.until))
        driver.wait(DAY)

    assert verdicts == [("MANUAL", end - DAY), ("paused", end), ("", None)]


def test_no_cell_of_an_export_starts_a_formula(driver):
    """A spreadsheet must not run what a reason says; a number is none, and a program reads it without its mark."""
    driver.store.suppressions.add(NUMBER, "sms", by=By("me", "=1+1"), now=driver.now)
    file = io.StringIO()
    write_rows(
        [entry.row(reveal=True) for entry in driver.store.suppressions.select(ANYTHING, now=driver.now)],
        file,
        form="csv",
        columns=COLUMNS,
    )

    cells = file.getvalue().splitlines()[1].split(",")
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))] == [NUMBER]


def test_a_row_that_cannot_be_read_does_not_stop_an_import(driver):
    """Each row of an import has its own result."""
    rows = [
        {"channel": "sms", "address": "12"},
        {"channel": "fax", "address": NUMBER},
        {"channel": "sms", "address": NUMBER},
    ]

    results = list(driver.store.suppressions.load(rows, by=By("me", "import"), now=driver.now))

    assert [result and result.path for result in results] == ["address", "channel", None]
    assert driver.is_suppressed()


def test_every_change_has_a_reason_and_an_audit_entry(driver):
    """Who, what, why, before and after; without a reason nothing changes."""
    with pytest.raises(InvalidSettings):
        driver.store.cancels.add("claim", 1, by=By("me", " "), now=driver.now)
    driver.store.suppressions.add(NUMBER, "sms", by=By("ann", "asked us"), now=driver.now)
    driver.store.modes.set("off", by=By("bob", "wrong text"), now=driver.now)

    entries = list(driver.store.audit.entries())

    assert [(entry["actor"], entry["action"], entry["reason"]) for entry in entries] == [
        ("bob", "mode off", "wrong text"),
        ("ann", "suppress", "asked us"),
    ]


def test_filters_choose_retries(driver):
    """One language for every list: and, or, not, wildcards, durations."""
    driver.fail("m1", claim=1)
    driver.fail("m2", code="BOUNCE_TRANSIENT_MBX_FULL", channel="EMAIL", to=[MAIL], merchant=2, claim=2)
    keys = ("code", "channel", "due", "merchant", "reference")

    def found(words):
        return [
            w.delivery.reference
            for w in driver.store.retries.select(parse_filter(words, keys=keys), now=driver.now)
        ]

    assert found("code:BOUNCE_*") == ["m2"]
    assert found("channel:sms,email due:<2h") == ["m1"]
    assert found("-merchant:2") == ["m1"]
    assert found("m2 channel:sms") == []
    with pytest.raises(InvalidSettings, match="did you mean 'merchant'"):
        found("merchnt:2")


def test_stories_since_a_time_are_told_once_each_whatever_the_page(driver):
    """By the first report of the message, over more messages than one page holds; or as many as asked for."""
    driver.fail("early")
    driver.wait(HOUR)
    since = driver.now
    driver.fail("early", event="again")
    driver.accept(*(driver.failed(f"m{n}", to=[f"+4915112{n:06}"]) for n in range(1200)))

    told = list(driver.store.retries.stories(since=since))
    some = list(driver.store.retries.stories(since=since, most=700))

    assert sorted(story.delivery.reference for story in told) == sorted(f"m{n}" for n in range(1200))
    assert all(len(story.history) == 1 for story in told)
    assert 699 <= len(some) <= 700  # the early one may be among those that were looked at
    assert driver.store.retries.remembered() == 1201


def test_releasing_a_case_resends_its_group_at_a_pace(driver):
    """One action mends a whole group; each delivery waits for its own moment."""
    for n in range(3):
        driver.fail(f"m{n}", code="PLACEHOLDER_ERROR", type="RENDER_ERROR", claim=n, to=[f"+4915112345{n}11"])
    (case,) = driver.cases()
    driver.store.cases.ack(case.id, by=By("me", "on it"))
    assert driver.cases()[0].state == "acknowledged"

    done = driver.store.cases.resolve(
        case.id, how="release", by=By("me", "mended"), policy=driver.policy, first=driver.now, step=MINUTE
    )

    assert (done.released, done.skipped, done.ended) == (3, 0, 0)
    assert len(driver.hand_over()) == 1
    driver.wait(2 * MINUTE)
    assert len(driver.hand_over()) == 2
    assert driver.notices().count("case_resolved") == 1
    with pytest.raises(NotFound):
        driver.store.cases.resolve(
            case.id, how="drop", by=By("me", "x"), policy=driver.policy, first=0, step=0
        )


def test_a_release_in_groups_is_staggered_as_a_whole_and_passes_no_deadline(driver):
    """520 messages are released in three calls of the store: one a step, and none past the end of the claim."""
    until = iso(driver.now + 300 * MINUTE)
    raws = [
        driver.failed(f"m{n}", "PLACEHOLDER_ERROR", claim=n, to=[f"+4915112{n:06}"], notAfter=until)
        for n in range(520)
    ]
    driver.accept(*raws)
    (case,) = driver.cases()
    done = driver.store.cases.resolve(
        case.id, how="release", by=By("me", "mended"), policy=driver.policy, first=driver.now, step=MINUTE
    )

    assert (case.count, done.released, done.skipped, done.ended) == (520, 301, 219, 0)
    assert [waiting.due for waiting in driver.waiting()] == [driver.now + n * MINUTE for n in range(301)]
    assert driver.notices().count("case_resolved") == 1


def test_a_stale_delivery_is_released_by_a_person_s_word_only(driver):
    """Past its deadline a held message is skipped, unless --even-stale says so; a run-now after it changes nothing."""
    driver.fail("m1", code="PLACEHOLDER_ERROR", type="RENDER_ERROR")
    driver.wait(5 * DAY)
    (case,) = driver.cases()

    done = driver.store.cases.resolve(
        case.id, how="release", by=By("me", "late"), policy=driver.policy, first=driver.now, step=0
    )
    assert (done.released, done.skipped) == (0, 1)
    driver.fail("m2", code="PLACEHOLDER_ERROR", type="RENDER_ERROR")
    driver.wait(5 * DAY)
    (case,) = [case for case in driver.cases() if case.state == "open"]
    driver.store.cases.resolve(
        case.id,
        how="release",
        by=By("me", "still"),
        policy=driver.policy,
        first=driver.now,
        step=0,
        even_stale=True,
    )
    driver.store.retries.run_now([driver.story("m2").delivery.id], by=By("me", "now"))

    assert driver.hand_over() == [("m2", 1)]


def test_a_released_message_is_not_resent_beyond_the_limit(driver):
    """limits.max_attempts binds a person's release too."""
    tight = driver.with_policy(_shipped().replace("max_attempts: 12", "max_attempts: 1"))
    tight.fail(code="PROVIDER_ERROR")
    tight.resend()
    tight.fail(code="PLACEHOLDER_ERROR", type="RENDER_ERROR")
    (case,) = tight.cases()

    done = tight.store.cases.resolve(
        case.id, how="release", by=By("me", "mended"), policy=tight.policy, first=tight.now, step=0
    )
    assert (done.released, done.skipped) == (0, 1)


def test_forgetting_erases_the_address_and_keeps_the_block(driver):
    """Recipients forget: no address is left anywhere, and the recipient stays suppressed."""
    driver.fail("m1")
    driver.fail("m2", code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR")
    rid = driver.store.suppressions.rid(NUMBER, "sms")

    erased = driver.store.erasure.erase(
        rid, streams={}, by=By("me", "GDPR 17"), history_kept=driver.policy.retention.history
    )

    assert sum(erased.counts().values()) >= 2
    assert driver.is_suppressed()
    assert not _found_anywhere(driver.client, NUMBER)
    assert driver.waiting() == []


class Interrupted(Erasure):
    """An erasure between whose look and whose write something happens, once."""

    def __init__(self, driver, happens):
        super().__init__(driver.client, driver.store.keys, key=driver.store.key)
        self.happens = [happens]

    def find(self, rid, *, streams):
        """Look; then it happens."""
        places = super().find(rid, streams=streams)
        while self.happens:
            self.happens.pop()()
        return places


def test_what_changed_between_the_look_and_the_erasure_is_looked_at_anew(driver):
    """What left meanwhile is not cancelled, and of several who come in another order the right one goes."""
    driver.fail("m1")
    driver.fail("m2", to=[NUMBER, OTHER], claim=2)

    def happens():
        driver.wait(4 * HOUR)
        assert len(driver.hand_over()) == 2
        driver.fail("m2", to=[OTHER, NUMBER], claim=2)

    rid, other = (driver.store.suppressions.rid(number, "sms") for number in (NUMBER, OTHER))
    Interrupted(driver, happens).erase(
        rid, streams={}, by=By("me", "GDPR 17"), history_kept=driver.policy.retention.history
    )

    assert driver.story("m1").delivery.state == "out"
    several = driver.story("m2").delivery
    assert (several.state, several.recipients, several.head["rs"]) == ("waiting", (OTHER,), [other])


def test_nothing_but_waiting_things_holds_an_address(driver):
    """After a hand-over and its notices no address is left in the clear, except on the suppression list."""
    driver.fail("m1")
    driver.resend("m1")
    driver.notices()

    assert not _found_anywhere(driver.client, NUMBER)


def test_no_key_or_field_names_an_address(driver):
    """Addresses stand under keyed hashes."""
    driver.fail("m1")
    driver.fail("m2", code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR")
    names = list(driver.client.scan_iter())
    for name in driver.client.scan_iter():
        if driver.client.type(name) == b"hash":
            names += driver.client.hkeys(name)

    assert not [name for name in names if NUMBER.encode() in name or NUMBER[1:].encode() in name]


def test_another_hash_key_is_refused(client, driver):
    """With another key every lookup would miss, so it is refused."""
    driver.fail()

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


def test_dead_letters_are_shown_and_dropped(driver):
    """An operator sees the bytes and can let go of them."""
    driver.accept(b'{"type": "MESSAGE_NOT_DELIVERED"}')
    (letter,) = driver.store.dead_letters.select(ANYTHING, now=driver.now)

    assert driver.store.dead_letters.show(letter.id).path == "claim"
    assert driver.store.dead_letters.drop([letter.id], by=By("me", "test data")) == 1
    with pytest.raises(NotFound):
        driver.store.dead_letters.show(letter.id)


def test_a_large_dead_letter_is_bounded(driver):
    """64 KiB are kept, with the length and the hash of the whole."""
    driver.accept(b"x" * 300_000)
    (letter,) = driver.store.dead_letters.select(ANYTHING, now=driver.now)

    assert (len(letter.raw), letter.length, letter.is_whole) == (64 * 1024, 300_000, False)


def test_a_notice_that_is_not_finished_comes_again_under_the_same_id(driver):
    """Notices leave at least once, with one id."""
    driver.fail(code="SMS_BLOCKED")
    (first,) = driver.store.notices.claim(limit=10, lease=30_000)
    assert driver.store.notices.claim(limit=10, lease=30_000) == []
    driver.wait(31 * SECOND)

    (second,) = driver.store.notices.claim(limit=10, lease=30_000)

    assert first.id == second.id
    assert second.body["type"] == "softbounce.held"
    assert second.body["recipients"] == [NUMBER]


def test_workers_are_forgotten_after_a_minute(driver):
    """Doctor shows who lives."""
    driver.store.workers.beat("w1", {"revision": "abc"}, now=driver.now)

    assert list(driver.store.workers.all(now=driver.now)) == ["w1"]
    assert list(driver.store.workers.all(now=driver.now + HOUR)) == []


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


def test_one_cancelled_retry_does_not_mark_its_neighbours(driver):
    """Each waiting retry is judged by its own marks, in a list of several too."""
    for n in range(3):
        driver.fail(f"m{n}", claim=n, to=[f"+4915112345{n}11"])
    driver.store.cancels.add("reference", "m0", by=By("me", "paid"), now=driver.now)

    states = {w.delivery.reference: w.state for w in driver.waiting()}

    assert states["m0"] == "cancelled"
    assert {states["m1"], states["m2"]} <= {"waiting", "quiet"}


@pytest.mark.parametrize("merchant", ["€", "ü", "•", "мама"])
def test_a_case_of_any_merchants_name_is_counted_and_shown(driver, merchant):
    """Names are not Latin alone: the list of all cases must not fail over one."""
    driver.fail("m1", "SNIPPET_ERROR", type="RENDER_ERROR", merchant=merchant)
    driver.fail("m2", "SNIPPET_ERROR", type="RENDER_ERROR", merchant=merchant)
    (case,) = driver.cases()

    assert case.count == 2
    assert len(driver.store.cases.show(case.id, limit=10)[1]) == 2


def test_the_audit_lasts_as_long_as_the_policy_says_whoever_writes_it(driver):
    """retention.audit: a command does not know the policy, so only the worker's sweep lets go of entries."""
    longer = driver.with_policy(_shipped().replace("audit: 400d", "audit: 800d"))

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


def test_a_persons_cancellation_lasts_as_long_as_the_policy_says(driver):
    """retention.cancelled: 30d. A report of the 29th day is refused, one of the 31st is taken."""
    short = driver.with_policy(_shipped().replace("cancelled: 400d", "cancelled: 30d"))
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
