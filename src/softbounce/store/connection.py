"""One client for one store: how to connect, what an error means, whether the store is fit for our state."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from softbounce.errors import Forbidden, Overloaded, StoreUnreachable

_TIMEOUT = 10.0  # seconds; longer than the longest blocking read, see streams.BLOCK_MS
_REMEDIES = {  # the server's word -> what to do
    "LOADING": "it reads its data; this passes by itself",
    "READONLY": "it is a replica: SOFTBOUNCE_REDIS_URL must name the primary",
    "MISCONF": "it cannot write to its disk: free space there, see its log",
    "NOREPLICAS": "fewer replicas are connected than its min-replicas-to-write",
    "BUSY": "another client's script runs for too long: SCRIPT KILL ends it",
    "UNKILLABLE": "another client's script runs for too long",
    "NOPERM": "its ACL forbids this to our user: take the worker's, or mend the rules (config/redis.acl)",
}
_NOT_NOW = re.compile(  # in a pipeline redis-py puts its own words before the server's
    rf"(?:^|caused error: )({'|'.join(_REMEDIES)})\b"
)

_NOT_NOW_KINDS = (  # redis-py takes the word off these
    exceptions.ReadOnlyError,
    exceptions.MasterDownError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
    exceptions.NoPermissionError,
)
_UNTRUSTED = re.compile(r"CERTIFICATE_VERIFY_FAILED\] certificate verify failed: (.*?)(?: \(_ssl|$)")
_WORDS = {exceptions.ReadOnlyError: "READONLY", exceptions.NoPermissionError: "NOPERM"}


def connect(url: str) -> redis.Redis:
    """Return a client for ``redis://``, ``rediss://`` or ``unix://``. It connects at the first call.

    redis-py would repeat a command, even a write, after a lost reply: off, the caller's retry layer decides.
    """
    return redis.Redis.from_url(
        url,
        socket_timeout=_TIMEOUT,
        socket_connect_timeout=3.0,
        retry=Retry(NoBackoff(), 0),
        client_name="softbounce",
    )


@contextmanager
def reaching() -> Iterator[None]:
    """Translate redis-py's errors: ``StoreUnreachable`` and ``Overloaded`` may pass, the rest are bugs."""
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
        raise


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """What the store says of itself. ``faults`` refuse a start; ``warnings`` are what ``doctor`` repeats."""

    kind: str
    version: str
    policy: str
    aof: bool
    fsync: str
    memory_share: float | None  # of maxmemory; None: no limit is set
    faults: tuple[str, ...]
    warnings: tuple[str, ...]


def facts(client: redis.Redis) -> StoreFacts:
    """Ask by INFO alone (CONFIG may be forbidden); a server that cannot say is taken as safe, and said so."""
    with reaching():
        try:
            info = client.info("everything")
        except exceptions.NoPermissionError:
            info = {}
        except exceptions.ResponseError as error:  # fakeredis knows no INFO
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
    )
