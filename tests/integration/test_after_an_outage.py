"""What became due during an outage leaves in order and at its pace; ``make outage`` is the same at 1,250,000."""

import redis
from checks.outage.drain import drain, fill, policy

from softbounce import embedded
from softbounce.store import Store


def test_after_an_outage_the_nearest_deadlines_leave_first_at_the_cap_and_merchants_take_turns(tmp_path):
    """6,000 at once are more than one claim can sort; another merchant's retries that come due meanwhile hardly wait."""
    rules = policy(50)
    with embedded.start(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        store = Store.open(server.url)
        fill(store, rules, count=6_000, seed=1)
        found = drain(store, client, rules, cap=50, count=6_000, late=30, seed=1)

    assert found.handed_over + found.given_up == 6_030
    assert found.given_up > 100
    assert (found.out_of_order, found.past_deadline, found.over) == (0, 0, 0)
    assert 50 <= found.most <= 100
    assert found.wait(0.99) < 10
