"""One suite for the store's rules, on every server that can keep our state; keys left are accounted for."""

from collections.abc import Iterator
from pathlib import Path

import fakeredis
import pytest
import redis
from tests import servers
from tests.conftest import needs_redis_server
from tests.references import broken
from tests.security.servers import guarded, url_for

from softbounce.core.policy.file import load
from softbounce.store import Store
from softbounce.store.connection import close, connect
from softbounce.store.keys import FIXED

from .store_driver import START, StoreDriver

POLICY = Path(__file__).parents[2] / "config" / "policy.yaml"


@pytest.fixture(scope="session")
def policy():
    """The policy that ships."""
    return load(POLICY.read_text(encoding="utf-8"), file="config/policy.yaml")


SERVERS = ["fakeredis", "valkey", "acl", "redis", "sentinel", "cluster"]
REPLICATED = (
    "sentinel",
    "cluster",
)  # the whole suite, 200 tests each; there a replica confirms what we write
CALM = 20_000  # ms; a test must not meet a failover because the machine is busy


@pytest.fixture(scope="session")
def acl_port(tmp_path_factory) -> Iterator[int]:
    """The port of a Redis under the shipped ACL."""
    with guarded(tmp_path_factory.mktemp("acl")) as port:
        yield port


@pytest.fixture(scope="session")
def sentinel_url(tmp_path_factory) -> Iterator[str]:
    """The URL of a master with one replica behind three sentinels."""
    needs_redis_server()
    with servers.sentinels(tmp_path_factory.mktemp("sentinel"), "appendonly no", down_after=CALM) as group:
        yield group.url


@pytest.fixture(scope="session")
def cluster_url(tmp_path_factory) -> Iterator[str]:
    """The URL of a Redis Cluster of three masters and their replicas."""
    needs_redis_server()
    with servers.cluster(tmp_path_factory.mktemp("cluster"), "appendonly no", down_after=CALM) as nodes:
        yield nodes.url


@pytest.fixture(params=SERVERS)
def client(request) -> Iterator[redis.Redis]:
    """An empty database of each kind of server; under the shipped ACL as the worker's user."""
    admin = None
    match request.param:
        case "fakeredis":
            client = fakeredis.FakeRedis()
        case "acl":
            port = request.getfixturevalue("acl_port")
            client = redis.Redis.from_url(url_for("softbounce-worker", port))
            admin = redis.Redis.from_url(url_for("admin", port))
        case "valkey":
            client = connect(request.getfixturevalue("valkey"))
        case kind:
            client = connect(request.getfixturevalue(f"{kind}_url"))
    admin = admin or client
    admin.flushdb()
    yield client
    leaked = [key for key in admin.scan_iter() if not _is_accounted_for(admin, key.decode())]
    said = broken(admin)
    admin.flushdb()
    admin.close()
    close(client)
    assert not leaked, f"keys without an end that are not permanent ones of the right type: {leaked}"
    assert not said, "\n".join(said)


def _is_accounted_for(client: redis.Redis, key: str) -> bool:
    name = key.rpartition(":")[2]
    is_permanent = FIXED.get(name) == client.type(key).decode()
    return is_permanent or name in ("events", "resend", "notices") or client.ttl(key) > 0


@pytest.fixture
def driver(client, policy, request) -> StoreDriver:
    """A ledger in virtual time with the shipped policy, and short words for what tests do to it."""
    replicas = 1 if request.node.callspec.params["client"] in REPLICATED else 0
    store = Store(client, replicas=replicas)
    store.set_now(START)
    return StoreDriver(store, policy, client=client)
