"""One namespace lies in one slot of a Cluster, two namespaces share nothing."""

from redis.crc import key_slot

from softbounce.store.keys import FIXED, Keys

NAMES = ["default", "team", *(f"merchant-{number}" for number in range(1000))]


def private(namespace: str) -> set[str]:
    """Return a key of each kind that holds our state."""
    keys = Keys(namespace)
    return {keys.fixed(name) for name in FIXED} | {keys.receipt("x"), keys.strike("x"), keys.reply("x")}


def public(namespace: str) -> set[str]:
    """Return the keys that producers and pipelines see."""
    keys = Keys(namespace)
    return {keys.stream(name) for name in ("events", "resend", "notices")}


def slots(keys: set[str]) -> set[int]:
    """Return the slots in which keys lie."""
    return {key_slot(key.encode()) for key in keys}


def test_all_state_of_a_namespace_is_in_one_slot():
    """A script may touch keys of one slot only, and every script touches several of ours."""
    assert {name: len(slots(private(name))) for name in NAMES} == dict.fromkeys(NAMES, 1)


def test_namespaces_share_no_key():
    """Merchants in namespaces of their own never meet, neither in our state nor on the public streams."""
    keys = [private(name) | public(name) for name in NAMES]

    assert len(set().union(*keys)) == sum(map(len, keys))


def test_namespaces_spread_over_a_cluster():
    """Each third of the slots, one of three masters, gets about a third of a thousand namespaces."""
    masters = [slot // 5462 for name in NAMES for slot in slots(private(name))]

    assert all(280 < masters.count(master) < 390 for master in range(3))
