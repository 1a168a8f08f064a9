"""What the scripts get of an event: facts of people by their hashes alone."""

import json

from msgspec import structs

from softbounce.core.decide import plan
from softbounce.core.events import parse
from softbounce.core.policy.file import load
from softbounce.settings import packaged_policy
from softbounce.store.encoding import Encoder
from softbounce.testing import failed

POLICY = load(packaged_policy(), file="policy.yaml")
NOW = 1_795_192_343_000
TWO = ["+4915112345678", "+4915187654321"]


def facts(event):
    """Return the facts of one failure."""
    encoder = Encoder(key=b"k" * 32, revision="r1", keep_addresses=True)
    return json.loads(encoder.row(plan(event, policy=POLICY, now=NOW)).arguments[0])


def test_each_of_several_people_has_a_hash():
    """By which caps, pauses and blocks know them."""
    found = facts(parse(failed("m1", "PROVIDER_ERROR", to=TWO)))

    assert len(set(found["rids"])) == 2
    assert all(found["rids"])


def test_people_of_whom_nothing_is_known_share_no_hash():
    """A replay of the history knows how many there were, and no more: a cap must not count them as one."""
    event = parse(failed("m1", "PROVIDER_ERROR", to=TWO))
    found = facts(structs.replace(event, recipients=("•••", "•••"), people=()))

    assert found["rids"] == ["", ""]
