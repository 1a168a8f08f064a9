"""``softbounce recipients``: a person's history and right to be forgotten."""

import json

from live import failed

from softbounce.store import Store

from .desk import NUMBER


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
    return [json.dumps(entry).encode() for entry in store.audit.entries()]
