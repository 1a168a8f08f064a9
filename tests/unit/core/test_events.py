"""Events: strict where a guard depends on it, generous elsewhere, never anything but three answers."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softbounce.core.events import Claim, Event, Ignored, OptedIn, content_hash, parse
from softbounce.core.reasons import KNOWN, VETO_TYPES, Fault, built_in_fault, cause
from softbounce.core.recipients import Channel
from softbounce.errors import InvalidEvent

NUMBER = "+4915112345678"
OTHER = "+4915112345679"
LINES = Path(__file__).parents[2].joinpath("data", "events.ndjson").read_text(encoding="utf-8").splitlines()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


def failed(code="SMS_EXPIRED", *, details=None, error=None, **communication):
    """Return a report; ``communication`` replaces fields of ``claim.communication``, None leaves one out."""
    given = {
        "channel": "SMS",
        "reference": "m-1",
        "recipients": [NUMBER],
        "error": error or {"type": "SEND_ERROR", "reasonCode": code, "details": details},
    } | communication
    sent = {name: value for name, value in given.items() if value is not None}
    return {"type": "MESSAGE_NOT_DELIVERED", "eventId": "e-1", "claim": {"id": 1, "communication": sent}}


def bare():
    """Return a report in the old form."""
    event = failed(recipients=None)
    del event["claim"]["communication"]["error"]
    return event


def subject(event):
    """Return the address of an event's subject."""
    found = parse(event).subject
    return found and found.address


def refusal(raw):
    """Return why, and where, an event is refused."""
    with pytest.raises(InvalidEvent) as refused:
        parse(raw)
    return refused.value.reason, refused.value.path


# --- the forms of an event


def test_an_enriched_failure_is_read_in_full():
    """Every field of the seed's enriched form, and every optional one of ours, arrives."""
    event = failed(
        details={"message": "no answer", "smtpCode": "200"},
        notAfter="2026-11-23T18:00:00+01:00",
        timezone="Europe/Paris",
        provider="sms-a",
        campaign="november",
        operator="26201",
        resendId="r-1",
    ) | {
        "date": "2026-11-20T15:32:23.5Z",
        "source": "REMINDER",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }
    event["claim"] |= {"merchantId": 7, "referenceNumber": "CASE-1", "customerNumber": "0012"}

    read = parse(json.dumps(event))

    assert (read.delivered, read.event_id, read.at, read.source) == (
        False,
        "e-1",
        1_795_188_743_500,
        "REMINDER",
    )
    assert read.claim == Claim(id=1, merchant_id=7, reference_number="CASE-1", customer_number="0012")
    assert (read.reference, read.channel, read.recipients) == ("m-1", Channel.SMS, (NUMBER,))
    assert read.subject.address == NUMBER
    assert (read.failure.type, read.failure.code, read.failure.smtp) == ("SEND_ERROR", "SMS_EXPIRED", None)
    assert read.failure.text == "no answer"
    assert (read.not_after, read.timezone) == (1_795_453_200_000, "Europe/Paris")
    assert (read.provider, read.campaign, read.operator, read.resend_id) == (
        "sms-a",
        "november",
        "26201",
        "r-1",
    )
    assert read.traceparent == event["traceparent"]
    assert not read.is_bare


def test_the_old_form_without_recipients_and_error_is_bare():
    """Nothing is known about why, so nothing is guessed."""
    event = parse(bare())

    assert (event.is_bare, event.failure, event.recipients, event.subject) == (True, None, (), None)


@pytest.mark.parametrize(
    "error", [{"type": "SEND_ERROR"}, {"type": "SEND_ERROR", "reasonCode": ""}, {"note": 1}]
)
def test_an_error_without_a_code_has_the_empty_code(error):
    """Policy treats it as unclassified, like the old form; it is no reason to lose the event."""
    event = parse(failed(error=error))

    assert (event.is_bare, event.failure.code) == (False, "")


def test_delivered_has_no_failure_even_if_an_error_is_left_over():
    """``MESSAGE_DELIVERED`` has the same shape; an error in it says nothing."""
    event = parse(failed() | {"type": "MESSAGE_DELIVERED"})

    assert (event.delivered, event.failure, event.is_bare) == (True, None, False)
    assert event.subject.address == NUMBER


@pytest.mark.parametrize("kind", ["MESSAGE_OPENED", "message_not_delivered", ""])
def test_other_types_share_the_topic_and_are_ignored(kind):
    """Whatever else they hold is not ours to judge."""
    assert parse({"type": kind, "eventId": "e-9", "claim": 7}) == Ignored(type=kind, event_id="e-9")


def opted_in(**communication):
    """Return an opt-in at merchant 1."""
    sent = {"channel": "SMS", "recipients": [NUMBER]} | communication
    return {"type": "RECIPIENT_OPTED_IN", "eventId": "e-1", "claim": {"merchantId": 1, "communication": sent}}


def test_an_opt_in_names_merchant_channel_and_recipients_and_nothing_else_of_it_is_read():
    """Neither a reference nor a claim is needed, and what stands there is not judged."""
    event = parse(opted_in(reference=7, error="x", notAfter="soon", recipients=[NUMBER, "0049 1511 2345678"]))

    assert (event.claim, event.channel) == (Claim(merchant_id=1), "sms")
    assert [who.address for who in event.people] == [NUMBER]


def test_digits_without_a_plus_agree_where_the_policy_says_whose_they_are():
    """As in any report, by `digits_without_plus: international`."""
    event = parse(opted_in(recipients=["4915112345678"]), lacks_plus=True)

    assert [who.address for who in event.people] == [NUMBER]


def test_an_opt_in_is_known_by_its_id_and_without_one_by_its_content():
    """An opt-in of the id of a failure is another event."""
    first, spelled = opted_in(), opted_in() | {"eventId": " e-1 ", "source": "x"}
    nameless = {key: value for key, value in opted_in().items() if key != "eventId"}

    assert parse(first).identity == parse(spelled).identity
    assert parse(nameless).identity == parse(dict(reversed(nameless.items()))).identity
    assert parse(first).identity not in (
        parse(nameless).identity,
        parse(failed() | {"eventId": "e-1"}).identity,
    )


@pytest.mark.parametrize(
    ("communication", "field"),
    [
        ({"recipients": []}, "recipients"),
        ({"recipients": None}, "recipients"),
        ({"recipients": [NUMBER, "nobody"]}, "recipients[1]"),
        ({"recipients": ["+49151•••78"]}, "recipients[0]"),
        ({"recipients": ["4915112345678"]}, "recipients[0]"),
        ({"channel": "FAX", "recipients": ["Jane"]}, "channel"),
    ],
)
def test_an_opt_in_that_names_nobody_for_certain_is_refused_with_its_field(communication, field):
    """A block is never lifted by a guess: the report becomes a dead letter, and can be replayed after a fix."""
    with pytest.raises(InvalidEvent) as refused:
        parse(opted_in(**communication))

    assert refused.value.path == f"claim.communication.{field}"


def test_unknown_fields_are_not_judged():
    """Producers add fields; none of them makes an event unreadable."""
    event = failed(colour=["red", {"deep": None}], details={"extra": 1.5}) | {"new": True}

    assert parse(event).failure.code == "SMS_EXPIRED"


@pytest.mark.parametrize("field", ["provider", "campaign", "operator", "resendId", "timezone"])
@pytest.mark.parametrize("value", [{"a": 1}, [], True, 1.5, "x\x00y", ""])
def test_an_unreadable_label_is_left_out(field, value):
    """A field that only describes is worth no dead letter; producers may use its name for something else."""
    event = parse(failed(**{field: value}))

    assert (event.provider, event.campaign, event.operator, event.resend_id, event.timezone) == (None,) * 5


@pytest.mark.parametrize("field", ["provider", "campaign", "operator"])
@pytest.mark.parametrize(
    ("value", "kept"), [("x" * 513, "x" * 200), ("😀" * 500, "😀" * 50), (10**400, str(10**400)[:200])]
)
def test_a_long_label_is_cut_to_200_bytes_of_text(field, value, kept):
    """It stands in each line of a history and in each resend command; a number is text like any other label."""
    assert getattr(parse(failed(**{field: value})), field) == kept


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Argentina/Buenos_Aires", "UTC"])
def test_a_real_zone_is_kept(zone):
    """The event's own zone comes first for quiet hours."""
    assert parse(failed(timezone=zone)).timezone == zone


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "Europe", "+15:00", "-03:30"])
def test_an_invented_zone_is_left_out(zone):
    """The recipient's region decides then; what was written is kept for ``explain``."""
    event = parse(failed(timezone=zone))

    assert (event.timezone, event.unread_timezone) == (None, zone)


@pytest.mark.parametrize("zone", ["europe/berlin ", "W. Europe Standard Time", "Europe/Berlin"])
def test_a_zone_has_one_name(zone):
    """Case, blanks and the names of Windows do not matter, and nothing is said to be left out."""
    event = parse(failed(timezone=zone))

    assert (event.timezone, event.unread_timezone) == ("Europe/Berlin", None)


@pytest.mark.parametrize(
    "trace", ["00-" + "0" * 32 + "-00f067aa0ba902b7-01", "x", 7, "ff-" + "1" * 32 + "-" + "1" * 16 + "-01"]
)
def test_a_broken_traceparent_is_dropped(trace):
    """A trace that cannot be joined is not passed on."""
    assert parse(failed() | {"traceparent": trace}).traceparent is None


# --- what is refused, and where


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"type": None}, "type"),
        ({"type": 7}, "type"),
        ({"eventId": {}}, "eventId"),
        ({"eventId": "a\nb"}, "eventId"),
        ({"claim": None}, "claim"),
        ({"claim": []}, "claim"),
        ({"claim": {"id": 1}}, "claim.communication"),
        ({"claim": {"communication": "x"}}, "claim.communication"),
        ({"claim": {"id": {}, "communication": {"reference": "m"}}}, "claim.id"),
        ({"claim": {"merchantId": True, "communication": {"reference": "m"}}}, "claim.merchantId"),
        ({"claim": {"customerNumber": 1.5, "communication": {"reference": "m"}}}, "claim.customerNumber"),
        ({"claim": {"id": 1 << 63, "communication": {"reference": "m"}}}, "claim.id"),
        ({"claim": {"merchantId": -(1 << 63), "communication": {"reference": "m"}}}, "claim.merchantId"),
    ],
)
def test_a_refusal_names_the_field(change, path):
    """What cancels, caps or finds a delivery must be readable; the path says what was not."""
    assert refusal(failed() | change)[1] == path


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"reference": None}, "reference"),
        ({"reference": ""}, "reference"),
        ({"reference": "  "}, "reference"),
        ({"reference": 12}, "reference"),
        ({"reference": "a\x00b"}, "reference"),
        ({"reference": "a\nb"}, "reference"),
        ({"reference": "x" * 513}, "reference"),
        ({"reference": "é" * 257}, "reference"),
        ({"recipients": NUMBER}, "recipients"),
        ({"recipients": [NUMBER] * 101}, "recipients"),
        ({"recipients": [NUMBER, None]}, "recipients[1]"),
        ({"recipients": [4915112345678]}, "recipients[0]"),
        ({"recipients": ["x" * 4097]}, "recipients[0]"),
        ({"recipients": [f"{n}@{'x' * 400}.example" for n in range(100)]}, "recipients"),
        ({"recipients": [{"phone": NUMBER, "note": "x" * 4096}]}, "recipients[0]"),
        ({"notAfter": "tomorrow"}, "notAfter"),
        ({"notAfter": 1_795_188_743}, "notAfter"),
        ({"notAfter": ""}, "notAfter"),
        ({"notAfter": False}, "notAfter"),
        ({"notAfter": [2026]}, "notAfter"),
        ({"notAfter": "2026-02-30T00:00:00Z"}, "notAfter"),
        ({"notAfter": "2026-11-20"}, "notAfter"),
        ({"error": "broken"}, "error"),
        ({"error": {"reasonCode": ["SMS_EXPIRED"]}}, "error.reasonCode"),
        ({"error": {"type": {}}}, "error.type"),
        ({"error": {"reasonCode": "SMS\u0000EXPIRED"}}, "error.reasonCode"),
    ],
)
def test_a_refusal_inside_the_communication_names_the_field(change, path):
    """A deadline that cannot be read is refused too: after it, nothing may go out."""
    assert refusal(failed(**change))[1] == f"claim.communication.{path}"


@pytest.mark.parametrize(
    "unset",
    [
        "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "1970-01-01T00:00:00Z", "1999-12-31T23:59:59Z", "0000-00-00",
        "0000-00-00 00:00:00", "0000-00-00T00:00:00Z", "0", 0, 0.0, "2100-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59",
    ],
    ids=repr,
)  # fmt: skip
def test_a_deadline_that_nobody_means_is_absent_and_marked(unset):
    """Go's, .NET's and MySQL's unset times are no deadline, and "for ever" is none either."""
    event = parse(failed(notAfter=unset))

    assert (event.not_after, event.is_unbounded) == (None, True)


@pytest.mark.parametrize(
    ("text", "moment"),
    [("2000-01-01T00:00:00Z", 946_684_800_000), ("2099-12-31T23:59:59Z", 4_102_444_799_000)],
)
def test_a_deadline_that_somebody_may_mean_binds(text, moment):
    """One that lies in the past ends its message."""
    event = parse(failed(notAfter=text))

    assert (event.not_after, event.is_unbounded) == (moment, False)


def test_a_reference_is_opaque_text():
    """It is echoed as reported: case, blanks and anything printable stay."""
    assert parse(failed(reference=" A6590eb9-xxxx é ")).reference == " A6590eb9-xxxx é "


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{} {}",
        b'{"type": "X",}',
        b'{"type": "X" /* why */}',
        b"{'type': 'X'}",
        b'{"type": NaN}',
        b'{"type": Infinity}',
        b'{"type": 1e999}',
        b'{"type": "X", "type": "Y"}',
        b'{"type" :"X", "type": "Y"}',
        b'{"a": {"b": 1, "b": [2]}}',
        b'{"a": "\\"", "b": 1, "b": 2}',
        b'{"a": 1, "\\u0061": 2}',
        b'{"type": "\\ud800"}',
        b'{"type": "\xff"}',
        b'{"type": "\xed\xa0\x80"}',
        b'\xef\xbb\xbf{"type": "X"}',
        '{"type": "X"}'.encode("utf-16"),
        b'{"type": "a\nb"}',
        b'{"n": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_not_strict_json_is_refused(raw):
    """What one parser accepts and the next reads differently is a dead letter, not a guess."""
    assert refusal(raw)[0]


def test_text_with_lone_surrogates_is_refused():
    """Python can hold such text; UTF-8 cannot."""
    assert refusal('{"type": "\ud800"}')[0] == "cannot be written as JSON"


def test_a_text_that_looks_like_a_key_is_no_duplicate():
    """Quotes and colons inside text are text."""
    event = failed(details={"message": '"type": "a", "type": "b"'})

    assert parse(json.dumps(event)).failure.text == '"type": "a", "type": "b"'


@pytest.mark.parametrize("depth", [62, 63, 64, 200, 1_000, 100_000])
@pytest.mark.parametrize(("left", "right"), [("[", "]"), ('{"a":', "}")])
def test_sixty_four_levels_are_read_and_no_more(depth, left, right):
    """Any depth is answered, also one that would exhaust a stack."""
    raw = '{"type":"X","deep":' + left * depth + "1" + right * depth + "}"
    if depth < 64:
        assert isinstance(parse(raw), Ignored)
    else:
        assert refusal(raw)[0]


def test_a_quarter_of_a_megabyte_is_read_and_no_more():
    """The bound is on bytes, before anything is read."""
    head = '{"type":"X","pad":"'
    fits = head + "a" * (256 * 1024 - len(head) - 2) + '"}'

    assert isinstance(parse(fits), Ignored)
    assert refusal(fits + " ")[0] == "is larger than 256 KiB"


def test_a_long_reply_is_cut_not_refused():
    """The text of a bounce is shown, never matched: its first 4096 characters are enough."""
    assert len(parse(failed(details={"message": "x" * 70_000})).failure.text) == 4096


def test_a_mapping_that_is_no_json_is_refused():
    """Python callers get the same answer as bytes would."""
    endless = failed()
    endless["claim"]["self"] = endless

    assert refusal(failed() | {"when": object()})[0] == "cannot be written as JSON"
    assert refusal(failed() | {"x": float("nan")})[0] == "cannot be written as JSON"
    assert refusal(endless)[0] == "cannot be written as JSON"


# --- dates


@pytest.mark.parametrize(
    ("date", "at"),
    [
        ("2026-11-20T15:32:23Z", 1_795_188_743_000),
        ("2026-11-20t15:32:23.123456789z", 1_795_188_743_123),
        ("2026-11-20 16:32:23+01:00", 1_795_188_743_000),
        ("2026-11-20T10:02:23-05:30", 1_795_188_743_000),
    ],
)
def test_any_offset_is_the_same_moment(date, at):
    """RFC 3339 in all its forms, in milliseconds."""
    event = parse(failed() | {"date": date})

    assert (event.at, event.misdated) == (at, "")


def test_a_date_without_zone_is_not_used_and_marked():
    """It cannot order events: the time of receipt counts. A deadline is the earliest that it may mean."""
    event = parse(failed(notAfter="2026-11-20T15:32:24") | {"date": "2026-11-20T15:32:23"})

    assert (event.at, event.misdated) == (None, "its date has no zone")
    assert event.not_after == 1_795_188_744_000 - 14 * 3_600_000  # the first place where the clock shows it


@pytest.mark.parametrize(
    "date",
    [
        None,
        "",
        "yesterday",
        "2026-11-20",
        "20261120T153223Z",
        "2026-13-20T15:32:23Z",
        "2026-11-20T25:00:00Z",
        1_795_188_743,
        {},
        "0001-01-01T00:00:00+23:59:59",
    ],
)
def test_an_unusable_date_loses_no_event(date):
    """The store's clock says when it came."""
    assert parse(failed() | {"date": date}).at is None


# --- channel


@pytest.mark.parametrize(
    ("channel", "code", "recipients", "expected"),
    [
        ("sms", "PROVIDER_ERROR", None, Channel.SMS),
        (" Email ", "PROVIDER_ERROR", None, Channel.EMAIL),
        ("LETTER", "SMS_EXPIRED", None, Channel.LETTER),
        ("SMS/EMAIL", "SMS_EXPIRED", None, Channel.SMS),
        ("SMS/EMAIL", "BOUNCE_TRANSIENT_NEW", None, Channel.EMAIL),
        (None, "INVALID_MOBILE_NUMBER", None, Channel.SMS),
        (None, "INVALID_EMAIL_ADDRESS", None, Channel.EMAIL),
        (7, "INVALID_POSTAL_ADDRESS", None, Channel.LETTER),
        ("PIGEON", "PROVIDER_ERROR", [NUMBER], Channel.SMS),
        (None, "INVALID_CLAIM", ["a@example.com"], Channel.EMAIL),
        (None, "INVALID_CLAIM", [{"street": "Weg 1", "zip": "1"}], Channel.LETTER),
        (None, "PROVIDER_ERROR", [NUMBER, "a@example.com"], None),
        (None, "PROVIDER_ERROR", None, None),
    ],
)
def test_the_channel_is_named_or_told_by_code_or_recipient(channel, code, recipients, expected):
    """In this order; where nothing tells, nobody guesses."""
    assert parse(failed(code, channel=channel, recipients=recipients)).channel is expected


# --- subject


def test_a_single_recipient_is_the_subject():
    """Also if it is listed twice, and whatever ``invalidValues`` holds."""
    assert subject(failed()) == NUMBER
    assert subject(failed(recipients=[NUMBER, NUMBER])) == NUMBER
    assert (
        subject(failed(recipients=[{"phone": NUMBER}], details={"invalidValues": {"phone": OTHER}})) == NUMBER
    )


def test_several_recipients_without_a_culprit_have_no_subject():
    """One error for many recipients convicts nobody; all of them are kept for the resend."""
    event = parse(
        failed("BOUNCE_PERMANENT_GENERAL", channel="EMAIL", recipients=["a@example.com", "b@example.com"])
    )

    assert event.subject is None
    assert event.recipients == ("a@example.com", "b@example.com")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"phone": OTHER}, OTHER),
        ({"phone": "0049 151 12345679"}, OTHER),
        ({"recipients[1].phoneNumber": OTHER}, OTHER),
        ({"recipients[0].email": "a@example.com", "recipients[1].phone": OTHER}, OTHER),
        ({"whatever": OTHER}, OTHER),
        ({"phone": [OTHER, OTHER]}, OTHER),
        ([OTHER], OTHER),
        (OTHER, OTHER),
        ({"phone": {"number": OTHER}}, OTHER),
        ({"phone": OTHER, "email": "a@example.com", "name": ""}, OTHER),
        ({"phone": [NUMBER, OTHER]}, None),
        ({"phone": OTHER, "mobile": NUMBER}, None),
        ({"phone": ["+1XXX5550100", OTHER]}, None),
        ({"phone": "+1XXX5550100"}, None),
        ({"phone": None}, None),
        ({}, None),
        (None, None),
        (7, None),
    ],
)
@pytest.mark.parametrize("recipients", [[NUMBER, OTHER], [], None])
def test_the_only_invalid_value_names_the_subject(values, expected, recipients):
    """Among several recipients or without any, one named value counts, unless it is masked."""
    assert (
        subject(failed("SMS_REJECTED", recipients=recipients, details={"invalidValues": values})) == expected
    )


@pytest.mark.parametrize(
    ("recipients", "value", "expected"),
    [
        ([], " 0151-ABC ", "0151abc"),
        ([NUMBER, "0151 abc"], " 0151-ABC ", "0151abc"),
        ([NUMBER, OTHER], " 0151-ABC ", None),
        ([NUMBER, OTHER], "+4915199999999", None),
        ([NUMBER, OTHER], OTHER.replace("+49", "0049 "), OTHER),
    ],
)
def test_an_invalid_value_convicts_only_a_recipient_of_the_event(recipients, value, expected):
    """A value that is none of them is somebody else's, or a slip; how it is spelled does not matter."""
    details = {"invalidValues": {"phone": value}}

    assert subject(failed("SMS_REJECTED", recipients=recipients, details=details)) == expected


@pytest.mark.parametrize(
    "twice",
    [[NUMBER, NUMBER.replace("+", "00")], [NUMBER, {"phone": f"tel:{NUMBER}"}], ["0151 12", "0151-12"]],
)
def test_one_person_named_twice_is_one(twice):
    """Recipients are compared by key."""
    event = parse(failed(recipients=twice))

    assert event.subject is not None
    assert event.recipients == (twice[0],)
    assert event.people == (event.subject,)


def test_who_cannot_be_read_among_several_is_left_out():
    """The resend goes to the others, and it says who was left out; nobody is convicted."""
    event = parse(failed(recipients=[NUMBER, NUMBER, "0151-12", OTHER]))

    assert (event.subject, event.recipients, event.unreadable) == (None, (NUMBER, OTHER), "")
    assert event.left_out.startswith("recipients[2]: a phone number must be written internationally")


@pytest.mark.parametrize(
    ("value", "key", "is_masked"),
    [
        ("0151-12", "015112", False),
        ("447911123457", "447911123457", False),
        ("4.47911E+11", "447911e+11", False),
        ("+1XXX5550100", "+1xxx5550100", True),
        ("+49151•••78", "+49151•••78", True),
        ({"phone": "+49151***78"}, "+49151***78", True),
    ],
)
def test_who_cannot_be_read_is_known_by_the_folded_spelling(value, key, is_masked):
    """So every guard knows it again; the event says why, and the resend has it as it was."""
    event = parse(failed(recipients=[value]))

    assert (event.subject.address, event.subject.is_masked) == (key, is_masked)
    assert event.unreadable.startswith("recipients[0]: a phone number must be written internationally")
    assert event.recipients == (value,)


def test_the_parts_of_one_postal_address_are_one_culprit():
    """``invalidValues`` of a letter lists fields of an address, not several recipients."""
    whole = {"street": "Weg 1", "postalCode": "10115", "name": "Kim"}
    event = failed(
        "INVALID_POSTAL_ADDRESS", channel="LETTER", recipients=None, details={"invalidValues": whole}
    )

    assert subject(event) == "|10115|weg 1|kim"


def test_without_a_channel_there_is_no_subject():
    """An address alone does not say which of its channels failed."""
    assert subject(failed("PROVIDER_ERROR", channel=None, recipients=["10115 Berlin"])) is None


# --- SMTP reply, detail, code


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (550, None, "550"),
        ("550", None, "550"),
        (" 5.1.1 ", None, "5.1.1"),
        ("550 5.1.1 user unknown", None, "5.1.1"),
        ("550-5.1.1 user unknown", None, "5.1.1"),
        ("smtp; 550 5.7.13 disabled", None, "5.7.13"),
        ("452 #4.2.2 full", None, "4.2.2"),
        ("550 no such user", "5.1.1 later words", "5.1.1"),
        (550, "550 5.1.1 user unknown", "5.1.1"),
        (None, "550 5.1.1 user unknown", "5.1.1"),
        (None, "550 user unknown", "550"),
        (None, "smtp;550 user unknown", "550"),
        (None, "host mx.example[192.0.2.9] said: 550 no", "550"),
        (None, "Remote Server returned '550 Access denied'", "550"),
        (None, "550.5 is a number", None),
        (None, "there were 550 of them", None),
        (550, "see 5.1.1", "550"),
        ("4.2.2", "550 5.1.1", "4.2.2"),
        (200, None, None),
        ("200", None, None),
        ("250 2.1.5 ok", None, None),
        (354, None, None),
        (600, None, "600"),
        ("607", None, "607"),
        ("1000", None, None),
        ("192.0.2.7", None, None),
        (550, "host mx.example[192.0.2.9] said: 550 5.7.1 blocked", "5.7.1"),
        (550, "Remote Server returned '550 5.4.1 Recipient address rejected'", "5.4.1"),
        (550, "550-5.7.1 [192.0.2.7 12] Our system\n550-5.7.1 thinks\n550 5.7.1 so", "5.7.1"),
        (554, "Sorry, no mailbox here by that name. (#5.1.1)", "5.1.1"),
        (None, "to=<a@b.example>, relay=mx, dsn=5.1.1, status=bounced", "5.1.1"),
        (550, "550 5.7.1. Blocked", "5.7.1"),
        (550, "550-5.7.1.9 is on a list", "550"),
        (550, "550 host [5.7.1.9] is on a list", "550"),
        (550, "550 4.94.2 is the version of this server", "550"),
        (550, "blocked by Postfix 5.7.1", "550"),
        (450, "450 try later; said before: 550 5.1.1 unknown", "450"),
        (550, "550 4.4.7 expired", "4.4.7"),
        (550, "x" * 4096 + " 550 5.1.1", "550"),
        (5500, None, None),
        (-550, None, None),
        ("5.1", None, None),
        ("5.1.1.1", None, None),
        ("", None, None),
        (True, None, None),
        (550.5, None, None),
        ({}, {}, None),
    ],
    ids=repr,
)
def test_an_smtp_reply_is_its_enhanced_status_or_three_digits(code, text, expected):
    """Number or text; 2xx, 3xx and what is out of range say nothing."""
    details = {"smtpCode": code, "message": text}

    assert (
        parse(failed("BOUNCE_PERMANENT_GENERAL", channel="EMAIL", details=details)).failure.smtp == expected
    )


STATUSES = st.from_regex(r"[45]\.[0-7]\.[0-9]{1,3}", fullmatch=True)
FRAMES = (
    "{}",
    "smtp; 550 {} no",
    "550-{} no\n550 5.0.0 no",
    "host mx.example[192.0.2.9] said: 550 {} no",
    "Remote Server returned '550 {} no'",
    "550 #{} no",
    "Sorry. (#{})",
    "dsn={}, status=bounced",
)
NOISE = st.lists(
    st.one_of(
        st.ip_addresses(v=4).map(lambda ip: f"[{ip}]"),
        st.from_regex(r"(Exim|Postfix|v) [0-9]\.[0-9]{1,2}\.[0-9]{1,2}", fullmatch=True),
        st.from_regex(r"[45][0-9]{2}-?[45]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}", fullmatch=True),
        st.sampled_from(["mx1.example", "<a@5.example>", "port 25", "2026.11.28", "blocked"]),
    ),
    max_size=5,
).map(" ".join)


@given(STATUSES, st.sampled_from(FRAMES), NOISE)
def test_the_status_is_found_where_servers_put_it(status, frame, noise):
    """Whatever follows: addresses, versions and dates with the same dots."""
    details = {"message": f"{frame.format(status)} {noise}"}

    assert parse(failed("X", channel="EMAIL", details=details)).failure.smtp == status


@given(NOISE, st.sampled_from([None, 550]))
def test_an_address_or_a_version_is_no_status(noise, code):
    """Only the three digits of the code are left then."""
    details = {"smtpCode": code, "message": f"refused: {noise}"}

    assert parse(failed("X", channel="EMAIL", details=details)).failure.smtp == (code and str(code))


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({"snippets": ["greeting", "footer"]}, "greeting"),
        ({"placeholders": ["dueDate"]}, "dueDate"),
        ({"snippets": [], "placeholders": [None, "iban"]}, "iban"),
        ({"snippets": "greeting"}, None),
        ({}, None),
        ("text", None),
    ],
)
def test_the_first_snippet_or_placeholder_groups_a_case(details, expected):
    """All messages with one broken text block are one case."""
    error = {"type": "RENDER_ERROR", "reasonCode": "SNIPPET_ERROR", "details": details}

    assert parse(failed(error=error)).failure.detail == expected


def test_type_and_code_are_compared_in_upper_case():
    """A veto must not be missed by a letter's case."""
    failure = parse(failed(error={"type": " render_error ", "reasonCode": "sms_rejected"})).failure

    assert (failure.type, failure.code) == ("RENDER_ERROR", "SMS_REJECTED")


# --- identity


def test_identity_is_the_event_id_where_there_is_one():
    """So that the enriched form may supersede the bare one with the same id."""
    enriched, first = parse(failed()).identity, parse(bare()).identity

    assert enriched[:6] == first[:6] == content_hash(b"id:e-1")[:4] + content_hash(b"id:e-1|")[:2]
    assert enriched != first
    assert len(enriched) == 16


@pytest.mark.parametrize(
    "other", [{"resendId": "r-1"}, {"error": {"type": "SEND_ERROR", "reasonCode": "SMS_REJECTED"}}]
)
def test_the_same_event_id_with_another_code_or_resend_is_another_event(other):
    """Some carriers give all reports of a message one id; another date alone is a redelivery."""
    assert parse(failed(**other)).identity != parse(failed()).identity
    assert parse(failed() | {"date": "2026-11-21T00:00:00Z"}).identity == parse(failed()).identity


@pytest.mark.parametrize("form", ["{}", " {} ", "{{{}}}"])
def test_ids_have_one_form(form):
    """Blanks around an id, braces and capitals of a UUID are those of a system along the way."""
    uuid = "a6590eb9-497a-4a7f-b5df-0c2f6f1f7d10"
    plain, other = (
        parse(failed(resendId=one) | {"eventId": one}) for one in (uuid, form.format(uuid.upper()))
    )

    assert (plain.identity, plain.resend_id) == (other.identity, other.resend_id)


@pytest.mark.parametrize(
    ("date", "why"),
    [
        ("0001-01-01T00:00:00Z", "its date was never set"),
        ("1970-01-01T00:00:00Z", "its date was never set"),
        ("1969-12-31T19:00:00-05:00", "its date was never set"),
        ("soon", "its date is no time"),
        (None, ""),
    ],
)
def test_a_date_that_was_never_set_is_not_used(date, why):
    """The time of receipt counts, and the event says why."""
    event = parse(failed() | {"date": date})

    assert (event.at, event.misdated) == (None, why)


def test_identity_is_the_content_where_there_is_no_event_id():
    """Spacing, order and escapes make no other event; another value does."""
    event = failed(reference="é") | {"eventId": None}
    turned = dict(reversed(event.items()))

    assert parse(event).identity == parse(json.dumps(turned, indent=2)).identity
    assert parse(event).identity != parse(event | {"date": "2026-11-20T15:32:23Z"}).identity


@given(st.dictionaries(st.sampled_from(["channel", "recipients", "notAfter", "timezone", "more"]), JSON))
def test_bytes_text_and_mapping_are_one_event(communication):
    """The same report through the stream, Celery or Python means the same."""
    event = failed(**communication)

    assert (
        outcome(event)
        == outcome(json.dumps(event))
        == outcome(json.dumps(event, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    )


def outcome(raw):
    """Return the event, or where it was refused."""
    try:
        return parse(raw)
    except InvalidEvent as refused:
        return refused.path


# --- nothing but three answers


@given(st.binary(max_size=200) | st.text(max_size=200) | JSON.map(json.dumps))
def test_any_bytes_are_an_event_ignored_or_invalid(raw):
    """Input may be anything; it never crashes a worker."""
    assert isinstance(outcome(raw), Event | OptedIn | Ignored | str)


@given(data=st.data(), line=st.sampled_from(LINES[:43]))
def test_any_field_may_hold_anything(data, line):
    """A known event with one value replaced is an event, an opt-in, ignored, or refused with a path."""
    event = json.loads(line)
    at = event
    while True:
        name = data.draw(st.sampled_from(sorted(at)))
        if not isinstance(at[name], dict) or not at[name] or data.draw(st.booleans()):
            break
        at = at[name]
    at[name] = data.draw(JSON)

    assert isinstance(outcome(event), Event | OptedIn | Ignored | str)


# --- the sample file and the reason codes


def test_the_sample_has_every_known_code_and_every_answer():
    """One line a code, and each of the three answers."""
    answers = [outcome(line) for line in LINES]
    codes = {answer.failure.code for answer in answers if isinstance(answer, Event) and answer.failure}

    assert set(KNOWN) <= codes
    assert {type(answer) for answer in answers} == {Event, Ignored, str}
    assert "claim.communication.reference" in answers


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("BOUNCE_TRANSIENT_UNDETERMINED", Fault.RECIPIENT),
        ("BOUNCE_TRANSIENT_CONTENT_REJECTED", Fault.MESSAGE),
        ("BOUNCE_PERMANENT_ANYTHING", Fault.RECIPIENT),
        ("BOUNCE_PERMANENT", None),
        ("SMS_BLOCKED", None),
        ("", None),
    ],
)
def test_a_family_answers_for_its_unknown_siblings(code, fault):
    """The exact name first, then its family, then nobody."""
    assert built_in_fault(code) is fault


def test_every_known_code_has_a_cause_in_plain_words():
    """People read causes, not codes; an unknown one is named as it came."""
    assert [code for code in KNOWN if code in cause(code)] == []
    assert cause("SMS_BLOCKED") == "Unknown reason SMS_BLOCKED"
    assert cause(None) == cause("") == "Failed, cause not reported"
    assert cause("BOUNCE_TRANSIENT_NEW") == "Mailbox not accepting mail right now"


def test_faults_that_no_recipient_causes_are_vetoed_by_type():
    """Template and set-up errors never count against a recipient."""
    assert sorted(VETO_TYPES) == ["CONFIGURATION_ERROR", "RENDER_ERROR"]
    assert len(KNOWN) == 22 + 4


def test_what_names_no_zone_is_kept_without_an_address():
    """The history keeps it, and an address there would outlive an erasure."""
    event = parse(failed(timezone="jane.doe@example.com +4915112345678"))

    assert "jane.doe" not in event.unread_timezone
    assert "15112345678" not in event.unread_timezone


@pytest.mark.parametrize(
    ("reported", "code"),
    [
        ("BOUNCE_PERMANENT_NOEMAIL", "BOUNCE_PERMANENT_NO_EMAIL"),
        (" sms-expired ", "SMS_EXPIRED"),
        ("Provider Error", "PROVIDER_ERROR"),
        ("SMS_EXPIRED", "SMS_EXPIRED"),
        ("SMS_EXPIRED_TWICE", "SMS_EXPIRED_TWICE"),
        ("new-code", "NEW-CODE"),
        ("", ""),
    ],
)
def test_a_known_code_is_known_however_its_words_are_parted(reported, code):
    """Another code stays as it was reported, in upper case: a rule of the policy may name it."""
    assert parse(failed(error={"type": "SEND_ERROR", "reasonCode": reported})).failure.code == code
