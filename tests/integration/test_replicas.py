"""The store behind Sentinel and on a Cluster: what was confirmed survives a failover, and work goes on."""

import json
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
from celery import Celery
from live import START, failed_now, until
from tests import servers
from tests.conftest import needs_redis_server

from softbounce.client import Softbounce
from softbounce.core.decide import decide
from softbounce.core.filters import parse_filter
from softbounce.core.policy.file import load
from softbounce.errors import StoreUnreachable, UnsafeStore
from softbounce.settings import policy_text
from softbounce.store import Store
from softbounce.store.audit import By
from softbounce.store.keys import Keys
from softbounce.worker.celery.broker import celery_url

SHIPPED = load(policy_text()[0], file="policy.yaml")


@pytest.fixture
def group(tmp_path) -> Iterator[servers.Sentinels]:
    """A master with one replica behind three sentinels."""
    needs_redis_server()
    with servers.sentinels(tmp_path / "group") as nodes:
        yield nodes


@pytest.fixture
def cluster(tmp_path) -> Iterator[servers.Cluster]:
    """A Redis Cluster."""
    needs_redis_server()
    with servers.cluster(tmp_path / "cluster") as nodes:
        yield nodes


def _accept(store: Store, reference: str) -> str:
    raw = json.dumps(failed_now(reference)).encode()
    return store.ledger.accept([decide(raw, policy=SHIPPED, now=store.now())], policy=SHIPPED)[0].outcome


def _patient(call):
    """Repeat a call while the store says that it is away, and nothing else."""

    def answered():
        with suppress(StoreUnreachable):
            return [call()]

    return until(answered)[0]


def test_what_no_replica_has_is_not_accepted(group):
    """With WAIT 1 and the replication cut, neither producer nor worker hears "stored"; once mended, both do."""
    with closing(Store.open(group.url, replicas=1)) as store:
        assert _accept(store, "before") == "scheduled"
        group.cut()

        with pytest.raises(StoreUnreachable, match="only 0 of 1 replicas confirmed in 500 ms"):
            _accept(store, "meanwhile")
        with pytest.raises(StoreUnreachable, match="only 0 of 1"):
            Softbounce(store).report(failed_now("reported"))
        with pytest.raises(StoreUnreachable, match="only 0 of 1"):
            store.cancels.add("reference", "before", by=By("test", "paid"), now=store.now())

        group.mend()
        assert _accept(store, "meanwhile") == "duplicate"
        assert Softbounce(store).report(failed_now("reported")).entry_id


@pytest.mark.parametrize("replicas", [0, 1])
def test_a_failover_takes_back_only_what_was_not_confirmed(group, replicas):
    """With the link cut, a master without WAIT acknowledges what dies with it; with WAIT 1 it acknowledges nothing."""
    acknowledged = ["before"]
    with closing(Store.open(group.url, replicas=replicas)) as store:
        _accept(store, "before")
        epoch, old = store.epoch(), group.master
        group.attached(1)
        group.cut()
        for number in range(3):
            with suppress(StoreUnreachable):
                _accept(store, f"tail{number}")
                acknowledged.append(f"tail{number}")
        old.kill()
        group.failed_over(old)

        assert _patient(store.epoch) == epoch
        found = [name for name in acknowledged if _patient(lambda name=name: store.retries.find(name))]
        assert acknowledged == (["before"] if replicas else ["before", "tail0", "tail1", "tail2"])
        assert found == ["before"]


def test_a_replica_is_refused_as_the_store(group):
    """A worker that is pointed at a replica refuses to start and says what to name instead."""
    replica = Store.open(group.replicas[0].url)
    with closing(replica), pytest.raises(UnsafeStore, match="is a replica and takes no writes"):
        replica.require_safe()


def test_a_worker_goes_on_after_a_failover(group, start, policy):
    """Reports by the stream and by Celery, whose queues Sentinel names too, get their outcome from the new master."""
    worker = start(redis_url=group.url, policy=str(policy))
    celery = Celery(broker=celery_url(group.url), set_as_current=False)
    celery.conf.update(broker_transport_options={"master_name": group.name}, task_default_queue="softbounce")
    with closing(Store.open(group.url)) as store:
        Softbounce(store).report(failed_now("s1"))
        celery.send_task("softbounce.report", [failed_now("c1")])
        until(lambda: store.counters().get("scheduled") == 2)
        group.attached(1)

        old = group.master
        old.kill()
        group.failed_over(old)

        _patient(lambda: Softbounce(store).report(failed_now("s2")))
        until(lambda: _patient(store.counters).get("scheduled") == 3)
        celery.close()
        celery.send_task("softbounce.report", [failed_now("c2")])
        until(lambda: store.counters().get("scheduled") == 4)
    assert worker.process.poll() is None
    assert worker.logged("store.unreachable")
    celery.close()


def test_a_cluster_keeps_the_state_through_the_death_of_its_node(cluster):
    """The node that holds our slot dies: calls say that the store is away, then its replica answers with all we had."""
    with closing(Store.open(cluster.url, replicas=1)) as store:
        assert _accept(store, "before") == "scheduled"

        cluster.owner(store.keys.fixed("meta")).kill()

        assert _patient(lambda: store.retries.find("before"))
        # a cluster's client asks for the nodes at once, and may still be told of the dead one
        store_without_wait = _patient(lambda: Store.open(cluster.url))
        assert _patient(lambda: _accept(store_without_wait, "after")) in ("scheduled", "duplicate")
        store_without_wait.close()


@pytest.mark.parametrize("kind", ["group", "cluster"])
def test_namespaces_do_the_main_job_side_by_side(kind, request, server, start, policy):
    """Each of two takes in, schedules, hands over and ends its own messages, by stream and by Celery, and no other's."""
    nodes, broker = request.getfixturevalue(kind), celery_url(server.url)
    if kind == "cluster":
        refused = start(redis_url=nodes.url, policy=str(policy), may_refuse=True)
        assert "set SOFTBOUNCE_BROKER_URL" in refused.log

    queues = {"default": "softbounce", "team": "softbounce-team"}
    stores = {name: Store.open(nodes.url, namespace=name) for name in queues}
    for name, store in stores.items():
        store.set_now(START)  # at night the next hour would be 12 h away, and such a leap means quarantine
        start(redis_url=nodes.url, namespace=name, policy=str(policy), broker_url=broker)
    with Celery(broker=broker, set_as_current=False) as celery:
        for name in stores:
            Softbounce(nodes.url, namespace=name).report(failed_now(f"{name}-stream"))
            celery.send_task("softbounce.report", [failed_now(f"{name}-celery")], queue=queues[name])
    for name, store in stores.items():
        until(lambda store=store: store.counters().get("scheduled") == 2)
        waiting = list(store.retries.select(parse_filter("", keys=()), now=START))
        store.set_now(max(story.delivery.due for story in waiting) + 1000)
        resend = store.stream(store.keys.stream("resend"))
        until(lambda resend=resend: len(resend.read()) == 2)

        commands = [json.loads(fields["command"]) for _, fields in resend.read()]
        references = {f"{name}-stream", f"{name}-celery"}
        assert {command["reference"] for command in commands} == references
        for reference in references:
            Softbounce(store).delivered(reference=reference, channel="sms")
        until(lambda store=store: store.counters().get("delivered") == 2)
        assert store.counters() == {"scheduled": 2, "handed_over": 2, "delivered": 2}
        assert store.sizes()["scheduled"] == 0
        store.close()
    if kind == "cluster":
        assert len({nodes.owner(Keys(name).fixed("meta")).port for name in stores}) == 2
