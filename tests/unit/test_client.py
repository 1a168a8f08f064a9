"""The client without a store: what is wrong is said in the producer, and an absent store stops no invoice."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import softbounce
from softbounce import InvalidEvent, InvalidRecipient, Softbounce, StoreUnreachable, embedded
from softbounce.errors import InvalidSettings
from softbounce.testing import PHONE, failed


@pytest.fixture
def nobody(tmp_path: Path) -> Softbounce:
    """A client of a store that is not there."""
    return Softbounce(f"unix://{tmp_path}/no.sock")


@pytest.fixture
def hangs_up() -> Iterator[tuple[str, list[int]]]:
    """A server that closes every connection, and the list of those it had."""
    calls: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                calls.append(1)
                connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0", calls
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("event", "path"),
    [
        ({"type": "MESSAGE_NOT_DELIVERED"}, "claim"),
        ({"type": "MESSAGE_NOT_DELIVERED", "claim": {"communication": {}}}, "claim.communication.reference"),
        ({"claim": {}}, "type"),
        (failed(to=[3]), "claim.communication.recipients[0]"),
    ],
)
def test_an_invalid_event_names_its_field_in_the_producer(nobody, event, path):
    """Nothing is sent; the error has the path of the field, for a mapping as for its bytes."""
    with pytest.raises(InvalidEvent) as of_mapping:
        nobody.report(event)
    with pytest.raises(InvalidEvent) as of_bytes:
        nobody.report(json.dumps(event).encode())

    assert (of_mapping.value.path, of_bytes.value.path) == (path, path)


@pytest.mark.parametrize(
    "event", [b"{torn", "[]", [failed()], None, {"when": object()}, {"x": float("nan")}, {1: {"a": "\ud800"}}]
)
def test_what_is_no_json_object_is_an_invalid_event(nobody, event):
    """Whatever a producer passes, it hears ``InvalidEvent`` and nothing else."""
    with pytest.raises(InvalidEvent):
        nobody.report(event)


def test_an_unreachable_store_is_said_to_the_producer(nobody):
    """Nothing is dropped silently: each call but ``may_send`` raises ``StoreUnreachable``."""
    calls = [
        lambda: nobody.report(failed()),
        lambda: list(nobody.report_many([failed()])),
        lambda: nobody.delivered(reference="m1", channel="sms"),
        lambda: nobody.opt_in(PHONE, channel="sms"),
        lambda: nobody.cancel(claim=1, reason="paid"),
    ]

    for call in calls:
        with pytest.raises(StoreUnreachable):
            call()


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"at": datetime(2026, 11, 23, 9)}, "at"),  # noqa: DTZ001 - the mistake that is meant
        ({"merchant": 10**400}, "merchant"),
        ({"event_id": "x" * 513}, "event_id"),
        ({"event_id": "a\x00b"}, "eventId"),
    ],
)
def test_an_opt_in_that_cannot_be_read_is_refused_in_the_producer(nobody, options, path):
    """Before anything is sent; the error names what is wrong."""
    when = {"at": datetime(2026, 11, 23, 9, tzinfo=UTC)}
    with pytest.raises(InvalidEvent) as refused:
        nobody.opt_in(PHONE, channel="sms", **when | options)

    assert refused.value.path == path


@pytest.mark.parametrize("value", ["nobody", None, "+49151•••78", "4915112345678"])
def test_an_opt_in_of_what_is_no_address_is_refused_in_the_producer(nobody, value):
    """No block is lifted by a guess."""
    with pytest.raises(InvalidRecipient):
        nobody.opt_in(value, channel="sms")


@pytest.mark.parametrize(("choice", "allowed"), [("allow", True), ("deny", False)])
def test_may_send_without_a_store_does_what_the_caller_chose(nobody, caplog, choice, allowed):
    """A suppression list must not stop invoices, legal opt-outs may: counted and logged, without the address."""
    verdict = nobody.may_send(PHONE, channel="sms", if_unreachable=choice)

    assert (bool(verdict), verdict.reason) == (allowed, "unreachable")
    assert nobody.unreachable == 1
    assert "store.unreachable" in caplog.text
    assert PHONE not in caplog.text


def test_may_send_allows_where_nobody_chose(nobody):
    """The default is to allow."""
    assert nobody.may_send(PHONE, channel="sms")


def test_what_is_no_address_is_refused_without_a_store_too(nobody):
    """To refuse a value that is no address needs no store, and raises nothing."""
    verdicts = list(nobody.may_send_many([PHONE, "nobody", None, "+49151•••78"], channel="sms"))

    assert [bool(verdict) for verdict in verdicts] == [True, False, False, False]
    assert verdicts[1].because == "not an address on this channel"


def test_a_store_that_hangs_up_is_asked_three_times(hangs_up):
    """One bounded layer of retries, because repeating a report is harmless."""
    url, calls = hangs_up
    with pytest.raises(StoreUnreachable):
        Softbounce(url).report(failed())

    assert len(calls) == 3


def test_a_campaign_does_not_wait_for_an_absent_store_again_and_again(hangs_up):
    """After an answer without the store, nobody is asked again for a second."""
    url, calls = hangs_up
    sb = Softbounce(url)
    verdicts = list(sb.may_send_many([PHONE] * 5_001, channel="sms"))

    assert all(verdicts)
    assert (len(calls), sb.unreachable) == (3, 5_001)


@pytest.mark.parametrize(
    "call",
    [
        lambda sb: sb.cancel(reason="paid"),
        lambda sb: sb.cancel(claim=1, reference="m1", reason="paid"),
        lambda sb: sb.delivered(),
        lambda sb: sb.delivered(reference="m1"),
        lambda sb: sb.delivered(failed(), reference="m1", channel="sms"),
    ],
    ids=["nothing", "two things", "no message", "no channel", "twice"],
)
def test_a_call_that_can_mean_two_things_is_refused(nobody, call):
    """Exactly one thing is cancelled, and a delivery is named in one way."""
    with pytest.raises(TypeError):
        call(nobody)


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_name_cancels_nothing(nobody, empty):
    """It would stand for every message that has no claim."""
    with pytest.raises(InvalidEvent, match="claim: is empty"):
        nobody.cancel(claim=empty, reason="paid")


def test_a_failure_is_no_delivery(nobody):
    """``delivered`` takes MESSAGE_DELIVERED only."""
    with pytest.raises(InvalidEvent, match="must be MESSAGE_DELIVERED"):
        nobody.delivered(failed())


def test_an_unknown_channel_is_refused_before_anybody_is_asked(nobody):
    """Also by the calls that answer lazily."""
    with pytest.raises(InvalidRecipient, match="a channel is sms, email or letter"):
        nobody.may_send_many([PHONE], channel="fax")


def test_a_misspelt_choice_never_allows(nobody):
    """Who writes ``if_unreachable="block"`` must not get ``allow``."""
    with pytest.raises(ValueError, match="allow or deny"):
        nobody.may_send(PHONE, channel="sms", if_unreachable="block")


def test_from_env_says_what_to_do_without_a_store(tmp_path, monkeypatch):
    """Neither a URL nor a store in the data folder: the error names both ways out."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(
        InvalidSettings, match="set SOFTBOUNCE_REDIS_URL, or start one on data by `softbounce run`"
    ):
        Softbounce.from_env()


def test_from_env_finds_the_store_of_the_data_folder(tmp_path, monkeypatch):
    """Where ``softbounce run`` is up, a producer beside it needs no setting."""
    monkeypatch.chdir(tmp_path)
    with embedded.start(Path("data")), Softbounce.from_env() as sb:
        receipt = sb.report(failed())

    assert receipt.event_id


def test_plain_text_off_this_machine_is_refused():
    """The client obeys the same setting as the worker."""
    with pytest.raises(InvalidSettings, match="plain TCP off this machine"):
        Softbounce("redis://store.example.com")


def test_every_public_name_is_where_it_says():
    """``from softbounce import X`` works for each name of the package, and for no other."""
    assert {getattr(softbounce, name).__name__ for name in softbounce.__all__} == set(softbounce.__all__)
    with pytest.raises(AttributeError):
        softbounce.Nothing  # noqa: B018 - the access is the test


def test_a_producer_loads_only_what_it_needs():
    """Client and receiver cost a producer no Celery, no logging of ours, no library for odd e-mail addresses."""
    code = "import sys, softbounce; softbounce.Softbounce, softbounce.handle_once; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own words

    assert {"celery", "kombu", "fakeredis", "structlog", "rich", "email_validator"} & set(
        loaded.split()
    ) == set()
