"""Where addresses lie: in the documented places, and nowhere else, at any log level."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from typing_extensions import override

from softbounce import embedded
from softbounce.core.filters import parse_filter
from softbounce.demo.lockstep import Lockstep
from softbounce.demo.pipeline import Pipeline
from softbounce.demo.world import START, World
from softbounce.store import Store
from softbounce.worker.celery.broker import celery_url

from .canaries import failed, spellings, until
from .conftest import Worker

KEPT = {  # docs/operations/operations.md, "Where addresses lie"
    "{sb:default}:deliveries",  # waiting, held or being handed over
    "{sb:default}:suppressions",
    "{sb:default}:notice_bodies",  # until told
    "{sb:default}:dead_letters",
    "softbounce:events",  # until taken in
    "softbounce:resend",
    "softbounce:notices",
}
EVERYTHING = parse_filter("", keys=())


class Loud(Lockstep):
    """The demo's worker, saying all it can say."""

    @override
    def start(self) -> None:
        command = [sys.executable, "-m", "celery", "-A", "softbounce", "worker", "--loglevel", "DEBUG"]
        with self._log.open("ab") as log:
            self._worker = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)  # noqa: S603


def plain(url: str) -> redis.Redis:
    """Return a client that reads text."""
    return redis.Redis.from_url(url, decode_responses=True, encoding_errors="replace")


def contents(client: redis.Redis) -> Iterator[tuple[str, str]]:
    """Yield every key with all that it holds, names of fields and members included."""
    for name in client.scan_iter():
        match client.type(name):
            case "hash":
                value: Any = client.hgetall(name)
            case "zset":
                value = client.zrange(name, 0, -1)
            case "stream":
                value = client.xrange(name)
            case "list":
                value = client.lrange(name, 0, -1)
            case "set":
                value = client.smembers(name)
            case _:
                value = client.get(name)
        yield name, str(value)


def hits(text: str, addresses: Iterable[str]) -> list[str]:
    """Return which spellings of which addresses a text holds, in any case."""
    lower = text.lower()
    return [said for address in addresses for said in spellings(address) if said.lower() in lower]


def places(client: redis.Redis, addresses: list[str]) -> Counter[str]:
    """Return in which keys addresses lie; no key may be named after one."""
    found = Counter({key: len(hits(value, addresses)) for key, value in contents(client)})
    assert [key for key in found if hits(key, addresses)] == []
    return +found


def test_the_demo_leaves_no_address_where_it_does_not_belong(tmp_path: Path):
    """A simulated day of 150 people, with a worker at DEBUG: its log, key names, fields, members, streams."""
    world = World(seed=7, days=1, recipients=150)
    addresses = sorted({person.address for person in world.people})
    with embedded.start(tmp_path) as server, plain(server.url) as client:
        lockstep = Loud(url=server.url, data=tmp_path, log=tmp_path / "worker.log")
        lockstep.store.set_now(START)
        lockstep.start()
        try:
            Pipeline(world, lockstep, tell=lambda *_, **__: None).run(progress=lambda _: None, kills=[])
        finally:
            lockstep.stop()
        found = places(client, addresses)

        assert set(found) <= KEPT
        assert found["softbounce:resend"] > 0  # the search does find what is there
        assert hits((tmp_path / "worker.log").read_text(), addresses) == []


CANARIES = (
    "+4915112345678",
    "+4915187654321",
    "Jane.Canary@Example.com",
    "müller@canary.example",
    "0151 99887766",
)


def reports() -> list[dict[str, Any]]:
    """Return reports that name the canaries in several spellings, and in texts."""
    phone, other, mail, umlaut, national = CANARIES
    found = [
        failed("m1", [phone]),
        failed("m2", ["0049 151 12345678"]),
        failed("m3", [phone, other]),
        failed("m4", [{"email": mail, "phoneNumber": phone}], channel="EMAIL", code="MBX_FULL"),
        failed("m5", [umlaut], channel="EMAIL", code="MBX_FULL"),
        failed("m6", [mail.upper()], channel="EMAIL", code="BOUNCE_PERMANENT"),
        failed("m7", [national], code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR"),
        failed("m8", [other], code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR"),
        failed("m9", [phone], code="PLACEHOLDER_ERROR", type="RENDER_ERROR"),
    ]
    for event in found:
        text = f"550 5.1.1 <{mail}>: unknown; {phone} / {other} absent"
        event["claim"]["communication"]["error"]["details"] = {"message": text}
    return found


@pytest.mark.parametrize(("level", "keep"), [("DEBUG", "1"), ("INFO", "0")])
def test_canaries_lie_in_the_documented_places_alone(
    tmp_path: Path, worker: Callable[..., Worker], level: str, keep: str
):
    """By stream and by Celery, in any spelling; ``SOFTBOUNCE_KEEP_ADDRESSES=0`` leaves none in a suppression."""
    data = tmp_path / "data"
    data.mkdir()
    addresses = list(CANARIES)
    with embedded.start(data) as server, closing(Store.open(server.url)) as store:
        running = worker(redis_url=server.url, level=level, keep_addresses=keep)
        sent = reports()
        store.events.publish([json.dumps(event).encode() for event in sent[:5]])
        store.events.publish([b'{"type": "' + CANARIES[0].encode() + b'", torn ' + CANARIES[2].encode()])
        with Celery("producer", broker=celery_url(server.url), set_as_current=False) as producer:
            for event in sent[5:]:
                producer.send_task("softbounce.report", args=[event], queue="softbounce")
            producer.send_task("softbounce.other", args=[CANARIES[0]], queue="softbounce")
        until(lambda: sum(store.counters().values()) >= len(sent) + 2)
        until(lambda: not store.sizes()["notices"])
        with plain(server.url) as client:
            found = places(client, addresses)
        running.stop()

        assert set(found) <= KEPT - {"{sb:default}:notice_bodies", "softbounce:events"}
        assert found["{sb:default}:deliveries"] > 0
        assert (found["{sb:default}:suppressions"] > 0) is (keep == "1")
        assert {letter.raw[:10] for letter in store.dead_letters.select(EVERYTHING, now=0)}
        assert hits(running.log.read_text(), addresses) == []
