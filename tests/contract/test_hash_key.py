"""The hash key of a store: one for all, never replaced in silence, given back by who still knows it."""

import secrets

import pytest

from softbounce import Softbounce, WrongKey
from softbounce.store import Store
from softbounce.store.audit import By

NUMBER = "+4915112345678"
META = "{sb:default}:meta"
GIVEN = b"a key that the store does not hold"


def blocked(driver, number=NUMBER):
    """Put a recipient on the list."""
    driver.store.suppressions.add(number, "sms", by=By("test", "asked"), now=driver.now)


def counted(driver):
    """Let a recipient have a soft bounce and a retry that waits."""
    driver.fail()


@pytest.mark.parametrize("hold", [blocked, counted])
def test_no_key_is_made_for_a_store_that_holds_hashes(driver, client, hold):
    """Under another key nobody would be found, and everybody allowed: it refuses, and changes nothing."""
    hold(driver)
    client.hdel(META, "key")
    before = client.hgetall(META)

    for _ in range(2):
        with pytest.raises(WrongKey, match="is gone, and the store holds blocks"):
            _ = Store(client).key
        with pytest.raises(WrongKey, match="is gone"):
            Softbounce(Store(client)).may_send(NUMBER, channel="sms")
    assert client.hgetall(META) == before


@pytest.mark.parametrize("kept", ["suppressions", "deliveries", "standing"])
def test_each_of_the_three_places_that_hold_hashes_counts(client, kept):
    """Whichever is left of a store, its recipients could not be found again."""
    client.hset(f"{{sb:default}}:{kept}", "field", '{"z":1}')

    with pytest.raises(WrongKey):
        _ = Store(client).key
    with pytest.raises(WrongKey):
        _ = Store(client, pii_key=GIVEN).key
    assert not client.hkeys(META)
    client.delete(f"{{sb:default}}:{kept}")


def test_a_lost_fingerprint_is_refused_as_a_lost_key_is(driver, client):
    """Which key is the right one, nobody could say any more."""
    client.delete(META)
    store = Store(client, pii_key=GIVEN)
    store.suppressions.add(NUMBER, "sms", by=By("test", "asked"), now=driver.now)
    client.hdel(META, "key_fingerprint")

    for stranger in (GIVEN, b"another key"):
        with pytest.raises(WrongKey, match="is gone"):
            _ = Store(client, pii_key=stranger).key
    assert store.keep_key()
    assert Store(client, pii_key=GIVEN).suppressions.check(NUMBER, "sms").reason == "MANUAL"


def test_who_still_knows_the_key_gives_it_back(driver, client):
    """A worker looks every five seconds; then every block is found again."""
    blocked(driver)
    assert not driver.store.keep_key()
    client.hdel(META, "key")

    assert driver.store.keep_key()
    assert not driver.store.keep_key()
    assert not Softbounce(Store(client)).may_send(NUMBER, channel="sms")


def test_the_first_to_give_a_key_back_is_right_and_the_other_refuses(driver, client):
    """Two keys in one store would each find half of it."""
    blocked(driver)
    client.hset(META, "key", secrets.token_bytes(32))

    with pytest.raises(WrongKey, match="has another hash key by now"):
        driver.store.keep_key()
    client.hdel(META, "key")
    client.hset(META, "key_fingerprint", "0" * 16)
    with pytest.raises(WrongKey, match="has another hash key by now"):
        driver.store.keep_key()


def test_a_client_that_lives_long_notices_another_key(client):
    """It asks with each question whether its key is still the store's: no one is allowed by mistake."""
    sb = Softbounce(Store(client))
    assert sb.may_send(NUMBER, channel="sms")
    client.hset(META, "key", secrets.token_bytes(32))

    with pytest.raises(WrongKey, match="Start this worker or program again"):
        sb.may_send(NUMBER, channel="sms")
    with pytest.raises(WrongKey):
        sb.split([NUMBER], channel="sms")
    with pytest.raises(WrongKey):
        sb.cancel(recipient=NUMBER, channel="sms", reason="paid")


def test_a_client_that_lives_long_gives_a_lost_key_back(driver, client):
    """It knows what the store has lost, and its answer is right."""
    blocked(driver)
    sb = Softbounce(Store(client))
    assert not sb.may_send(NUMBER, channel="sms")
    client.hdel(META, "key")

    assert not sb.may_send(NUMBER, channel="sms")
    assert not Softbounce(Store(client)).may_send(NUMBER, channel="sms")


def test_a_store_that_lost_everything_is_founded_anew(driver, client):
    """Nothing is hashed in it: the next command makes a key, and a worker that ran gives its own back."""
    key = driver.store.key
    blocked(driver)
    epoch = driver.store.epoch()
    client.delete(META, "{sb:default}:suppressions", "{sb:default}:audit")

    assert driver.store.found_again() != epoch
    assert Store(client).key == key
    client.delete(META)
    assert Store(client).key != key


def test_a_worker_gives_a_lost_store_its_hash_key_back(driver, client):
    """What was exported under the key, and what the worker writes, stays findable."""
    key = driver.store.key
    client.delete(driver.store.keys.fixed("meta"))
    driver.store.found_again()

    assert Store(client).key == key


def test_a_worker_refuses_a_lost_store_that_has_another_key_by_now(driver, client):
    """Its blocks would be written where nobody looks."""
    assert driver.store.key
    client.delete(driver.store.keys.fixed("meta"))
    assert Store(client).key != driver.store.key

    with pytest.raises(WrongKey, match="Start this worker or program again"):
        driver.store.found_again()
