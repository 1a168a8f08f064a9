"""Connects to the store, translates its errors, and checks whether the server may hold our state."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel

from softbounce.errors import Forbidden, Overloaded, ScriptFailed, StoreUnreachable
from softbounce.urls import split_hosts

_TIMEOUT = 10.0  # seconds until a reply; longer than the longest blocking read, inbox.BLOCK_MS
_CONFIRM_MS = 500  # replicas must confirm a write within so many ms; on a healthy link they take one
_REMEDIES = {  # error word of the server -> what to do
    "LOADING": "it reads its data; this passes by itself",
    "READONLY": "it is a replica: SOFTBOUNCE_REDIS_URL must name the primary",
    "MISCONF": "it cannot write to its disk: free space there, see its log",
    "NOREPLICAS": "fewer replicas are connected than its min-replicas-to-write",
    "BUSY": "another client's script runs for too long: SCRIPT KILL ends it",
    "UNKILLABLE": "another client's script runs for too long",
    "NOPERM": "its ACL forbids this to our user: take the worker's, or mend the rules (config/redis.acl)",
}
_NOT_NOW = re.compile(  # in a pipeline redis-py puts text of its own before that of the server
    rf"(?:^|caused error: )({'|'.join(_REMEDIES)})\b"
)

_NOT_NOW_KINDS = (  # redis-py removes the error word of these
    exceptions.ReadOnlyError,
    exceptions.MasterDownError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
    exceptions.NoPermissionError,
    exceptions.AskError,  # and MOVED: another node of the Cluster has the key now
)
_BY_CONTENT = re.compile(  # errors of Lua itself; those of a command begin with a word such as WRONGTYPE
    r"(?:^|caused error: )(?:ERR )?(?:user_script:\d+: |Error running script )(?P<said>[^\n]*)"
)
_UNTRUSTED = re.compile(r"CERTIFICATE_VERIFY_FAILED\] certificate verify failed: (.*?)(?: \(_ssl|$)")
_WORDS = {exceptions.ReadOnlyError: "READONLY", exceptions.NoPermissionError: "NOPERM"}


def connect(url: str) -> redis.Redis:
    """Return a client for any URL that ``SOFTBOUNCE_REDIS_URL`` takes. It connects at the first call.

    A client of a Cluster connects at once and may raise ``StoreUnreachable``. redis-py's own retries are off:
    it would repeat even a write after a lost reply; the caller's retry layer decides.
    """
    options: dict[str, Any] = {
        "socket_timeout": _TIMEOUT,
        "socket_connect_timeout": 3.0,
        "retry": Retry(NoBackoff(), 0),
        "client_name": "softbounce",
    }
    kind, hosts, path, one = split_hosts(url)
    if kind not in ("sentinel", "cluster"):
        return redis.Redis.from_url(url, **options)
    given = cast("dict[str, Any]", parse_url(one))  # type: ignore[no-untyped-call]  # user, password, TLS options
    given = {name: value for name, value in given.items() if name not in ("host", "port", "connection_class")}
    if one.startswith("rediss:"):
        given["ssl"] = True
    if kind == "cluster":
        given.pop("db", None)  # a Cluster has only database 0
        nodes = [ClusterNode(host, port) for host, port in hosts]  # type: ignore[no-untyped-call]
        with reaching():
            return cast("redis.Redis", redis.RedisCluster(startup_nodes=nodes, **(options | given)))
    asked = {name: value for name, value in given.items() if name.startswith("ssl")}
    asked |= {"socket_timeout": 1.0, "socket_connect_timeout": 1.0, "retry": options["retry"]}
    sentinel = Sentinel(hosts, sentinel_kwargs=asked)  # type: ignore[no-untyped-call]
    found = sentinel.master_for(path[0], **(options | given))  # type: ignore[no-untyped-call]
    return cast("redis.Redis", found)


def close(client: redis.Redis) -> None:
    """Close the connections of a client and those to its sentinels, which ``client.close`` leaves open."""
    client.close()
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    for sentinel in manager.sentinels if manager is not None else ():
        sentinel.close()


@contextmanager
def node(client: redis.Redis, key: str) -> Iterator[redis.Redis]:
    """Yield the server that holds ``key``, for commands that name no key (TIME, INFO, WAIT).

    This is ``client``, except on a Cluster; there the nodes are read again after an error.
    """
    if not isinstance(client, redis.RedisCluster):
        yield client
        return
    try:
        yield client.get_redis_connection(client.get_node_from_key(key))
    except (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.AskError, *_NOT_NOW_KINDS):
        client.nodes_manager.initialize()
        raise


def store_time(client: redis.Redis, meta: str) -> tuple[int, bool]:
    """Return the store's time in ms and whether it is virtual, by one round trip."""
    with node(client, meta) as server:
        pipe = server.pipeline(transaction=False)
        pipe.hget(meta, "now")
        pipe.time()
        return time_in(*pipe.execute())


def as_text(raw: bytes) -> str:
    """Return bytes of the store as text; invalid UTF-8 is replaced."""
    return raw.decode(errors="replace")


def time_in(virtual: bytes | None, time: tuple[int, int]) -> tuple[int, bool]:
    """Return the store's time in ms and whether it is virtual, from meta's ``now`` and the server's TIME."""
    return (int(virtual), True) if virtual else (time[0] * 1000 + time[1] // 1000, False)


def confirm(pipe: "redis.client.Pipeline", replicas: int) -> list[Any]:
    """Execute a pipeline of writes, and return its answers when that many replicas have the writes.

    WAIT counts only writes of its own connection. Raises ``StoreUnreachable`` if fewer replicas confirm: the
    writes are made, but a failover may lose them.
    """
    if not replicas:
        return pipe.execute()
    pipe.wait(replicas, _CONFIRM_MS)
    *answers, confirmed = pipe.execute()
    if confirmed < replicas:
        msg = f"only {confirmed} of {replicas} replicas confirmed in {_CONFIRM_MS} ms: see softbounce doctor"
        raise StoreUnreachable(msg)
    return answers


@contextmanager
def reaching() -> Iterator[None]:
    """Translate redis-py's errors.

    ``StoreUnreachable`` and ``Overloaded`` are temporary. ``ScriptFailed``: a script failed on its arguments.
    Any other error is a bug.
    """
    try:
        yield
    except (exceptions.ConnectionError, exceptions.TimeoutError) as error:
        name = type(error).__name__
        msg = f"the store does not answer: {name}. Is it running, and is SOFTBOUNCE_REDIS_URL right?"
        if isinstance(error, exceptions.AuthenticationError):
            msg = "the store refuses our user or password: see SOFTBOUNCE_REDIS_URL"
        elif found := _UNTRUSTED.search(str(error)):
            msg = (
                f"the store's certificate is not trusted: {found[1]}. SOFTBOUNCE_REDIS_URL must name the "
                "host as the certificate does, and the CA by ?ssl_ca_certs=FILE unless the system knows it"
            )
        elif isinstance(error, exceptions.BusyLoadingError):
            msg = f"the store refuses for now: {_REMEDIES['LOADING']}"
        raise StoreUnreachable(msg) from error
    except exceptions.RedisClusterException as error:
        msg = f"the store's Cluster is not whole: {str(error)[:120]}"
        raise StoreUnreachable(msg) from error
    except exceptions.OutOfMemoryError as error:
        msg = "the store's memory is full: raise maxmemory, or let it drain"
        raise Overloaded(msg) from error
    except exceptions.ResponseError as error:
        text = str(error)
        found = _NOT_NOW.search(text)
        if isinstance(error, _NOT_NOW_KINDS) or found:
            word = found[1] if found else _WORDS.get(type(error), "")
            said = f"{word} {text[:120]}" if word and not found else text[:120]
            msg = f"the store refuses for now: {_REMEDIES.get(word, 'it may pass by itself')} ({said})"
            raise (Forbidden if word == "NOPERM" else StoreUnreachable)(msg) from error
        if found := _BY_CONTENT.search(text):
            msg = f"the store's script fails on it: {found['said'].partition(' script: ')[0][:200]}"
            raise ScriptFailed(msg) from error
        raise


def ask(client: redis.Redis, key: str, *commands: tuple[str, ...]) -> list[Any]:
    """Send commands to the server that holds ``key``, and return their answers; errors as by ``reaching``.

    For the check before each message: two commands cost 22 us of CPU, one by redis-py's client 28, a pipeline
    59, because this neither retries nor measures nor translates replies.
    """
    try:
        if not isinstance(client, redis.RedisCluster):
            return _exchange(client.connection_pool, commands)
        with node(client, key) as server:
            return _exchange(server.connection_pool, commands)
    except exceptions.RedisError:
        with reaching():
            raise


def _exchange(pool: redis.ConnectionPool, commands: tuple[tuple[str, ...], ...]) -> list[Any]:
    connection: Any = pool.get_connection()
    try:
        connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        return [connection.read_response() for _ in commands]
    except BaseException:
        connection.disconnect()  # the next call would take unread answers for its own
        raise
    finally:
        pool.release(connection)


def hash_field(client: redis.Redis, key: str, field: str) -> bytes | None:
    """Return one field of a hash; None if it is missing. Errors as by ``reaching``, as below."""
    with reaching():
        return cast("bytes | None", client.hget(key, field))


def hash_fields(client: redis.Redis, key: str, fields: Sequence[str]) -> list[bytes | None]:
    """Return several fields of a hash, in order; no field needs no round trip."""
    with reaching():
        return cast("list[bytes | None]", client.hmget(key, fields)) if fields else []


def whole_hash(client: redis.Redis, key: str) -> dict[bytes, bytes]:
    """Return all fields of a hash that is small."""
    with reaching():
        return cast("dict[bytes, bytes]", client.hgetall(key))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """What INFO says of the server. ``faults`` prevent a start; ``doctor`` shows ``warnings``."""

    kind: str
    version: str
    policy: str
    aof: bool
    fsync: str
    memory_share: float | None  # used part of maxmemory; None: no limit is set
    faults: tuple[str, ...]
    warnings: tuple[str, ...]
    replicas: int = 0  # connected ones


def facts(client: redis.Redis, key: str) -> StoreFacts:
    """Return the facts from INFO, since CONFIG may be forbidden; what INFO does not tell counts as safe."""
    with reaching():
        try:
            with node(client, key) as server:
                info = server.info("everything")
        except exceptions.NoPermissionError:
            info = {}
        except exceptions.ResponseError as error:  # fakeredis has no INFO
            if _NOT_NOW.search(str(error)):
                raise
            info = {}
    kind = "Valkey" if "valkey_version" in info else "Redis"
    policy = str(info.get("maxmemory_policy", "unknown"))
    limit = int(info.get("maxmemory", 0))
    aof = bool(info.get("aof_enabled", 0))
    faults = []
    if policy not in ("noeviction", "unknown"):
        faults.append(
            f"maxmemory-policy is {policy}: it may delete the schedule. "
            "Set: CONFIG SET maxmemory-policy noeviction"
        )
    if info.get("role") == "slave":
        faults.append(
            "this server is a replica and takes no writes: SOFTBOUNCE_REDIS_URL must name the primary, "
            "or the sentinels (redis+sentinel://HOST:PORT,HOST:PORT/NAME)"
        )
    warnings = []
    if info and not aof:
        warnings.append(
            "AOF is off: a restart of the store loses every report and retry. Set: CONFIG SET appendonly yes"
        )
    if info and not limit:
        warnings.append("maxmemory is 0: the store may take all memory of its machine")
    return StoreFacts(
        kind=kind,
        version=str(info.get("valkey_version", info.get("redis_version", "unknown"))),
        policy=policy,
        aof=aof,
        fsync="on" if aof else "off",
        memory_share=int(info["used_memory"]) / limit if limit else None,
        faults=tuple(faults),
        warnings=tuple(warnings),
        replicas=int(info.get("connected_slaves", 0)),
    )
