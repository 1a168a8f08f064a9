"""``softbounce recipients``: a person's history and right to be forgotten."""

import json

import redis
from live import failed

from softbounce.store import Store
from softbounce.store.audit import By

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


def test_blocks_under_older_keys_are_moved(desk, valkey):
    """As after an upgrade that reads a number better; what is known by its hash alone is counted."""
    desk.run("suppressions", "add", "+525512345678", "--reason", "asked")
    desk.run("suppressions", "add", NUMBER, "--reason", "asked")
    letter = json.dumps({"zip": "10115", "city": "Berlin", "street": "Weg 1", "name": "Kim", "country": "DE"})
    desk.store.suppressions.add(json.loads(letter), "letter", by=By("eva", "asked"), now=desk.store.now())
    client, key = redis.Redis.from_url(valkey), desk.store.keys.fixed("suppressions")
    (name, raw) = next(pair for pair in client.hgetall(key).items() if b"+525512345678" in pair[1])
    client.hdel(key, name)
    client.hset(key, "AAAAAAAAAAAA", raw.replace(b"+525512345678", b"+5215512345678"))
    client.hset(key, "BBBBBBBBBBBB", raw.replace(b'"address":"+525512345678"', b'"x":1'))
    dry = desk.run("recipients", "rekey", "--dry-run", "--reason", "look")
    before = desk.run("suppressions", "check", "+5215512345678")
    done = desk.run("recipients", "rekey", "--reason", "upgrade")

    assert "To be moved: 1 block. 1 more are known by their hash alone" in dry.stdout
    assert "Moved: 1 block." in done.stdout
    assert (before.exit_code, desk.run("suppressions", "check", "+52 1 55 1234 5678").exit_code) == (0, 1)
    assert desk.run("suppressions", "check", NUMBER).exit_code == 1
    assert not desk.store.suppressions.check(json.loads(letter), "letter").allowed
    assert "Moved: 0 blocks." in desk.run("recipients", "rekey", "--reason", "again").stdout


def _raw_audit(store: Store) -> list[bytes]:
    return [json.dumps(entry).encode() for entry in store.audit.entries()]
