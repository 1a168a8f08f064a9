"""Nothing but JSON is decoded: all else is one dead letter with its bytes, and takes no memory to speak of."""

import bz2
import codecs
import json
import lzma
import pickle
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import compression

from softbounce import embedded
from softbounce.core.filters import parse_filter
from softbounce.store import Store
from softbounce.worker.celery.broker import celery_url
from softbounce.worker.celery.decompression import LIMIT, bound

from .canaries import failed, until
from .conftest import Worker

MIB = 1024 * 1024
BOMB = 200 * MIB


class Exploit:
    """Leaves a file where somebody unpickles it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


@pytest.fixture
def rig(tmp_path: Path, worker: Callable[..., Worker]) -> Iterator[tuple[Store, Worker, Celery]]:
    """A store that is the broker too, a worker on it, and a producer."""
    data = tmp_path / "data"
    data.mkdir()
    with embedded.start(data) as server:
        store = Store.open(server.url)
        running = worker(redis_url=server.url)
        with Celery("producer", broker=celery_url(server.url), set_as_current=False) as producer:
            yield store, running, producer
        running.stop()
        store.close()


def send(producer: Celery, body: bytes, kind: str, encoding: str = "binary", **headers: str) -> None:
    """Put a message of any type on our queue, named as a report."""
    named = {"id": "1", "task": "softbounce.report", **headers}
    with producer.producer_pool.acquire() as publisher:
        publisher.publish(
            body,
            content_type=kind,
            content_encoding=encoding,
            headers=named,
            exchange="",
            routing_key="softbounce",
        )


def bomb(make: Any) -> bytes:
    """Return ``BOMB`` zeros, compressed."""
    return b"".join([*(make.compress(bytes(MIB)) for _ in range(BOMB // MIB)), make.flush()])


def letters(store: Store) -> list[bytes]:
    """Return the bytes of every dead letter."""
    return [letter.raw for letter in store.dead_letters.select(parse_filter("", keys=()), now=0)]


def test_what_is_no_json_is_one_dead_letter_with_its_bytes(rig: tuple[Store, Worker, Celery], tmp_path: Path):
    """Pickle, YAML, msgpack, codecs as encodings, wrong compressions: nothing runs, the worker goes on."""
    store, running, producer = rig
    mark = tmp_path / "mark"
    call = [[failed("m0", ["+4915112345678"])], {}, {}]
    sent = [
        (pickle.dumps(Exploit(mark)), "application/x-python-serialize", "binary", {}),
        (f"!!python/object/apply:os.mknod [{mark}]".encode(), "application/x-yaml", "utf-8", {}),
        (b"\x93\x90\x80\x80", "application/x-msgpack", "binary", {}),
        (b"\x93\x90\x80\x81", "application/data", "binary", {}),
        (codecs.encode(json.dumps(call).encode(), "zlib"), "application/data", "zlib_codec", {}),
        (json.dumps([*call, 1]).encode(), "application/text", "utf-8", {}),
        (b"no gzip", "application/json", "utf-8", {"compression": "gzip"}),
        (b"no such way", "application/json", "utf-8", {"compression": "x-unknown"}),
        (b"[" * 100_000, "application/json", "utf-8", {}),
        (b"[" + b"9" * 100_000, "application/json", "utf-8", {}),
    ]
    for body, kind, encoding, headers in sent:
        send(producer, body, kind, encoding, **headers)
    until(lambda: store.counters().get("dead_lettered") == len(sent))
    send(
        producer,
        json.dumps([[failed("m1", ["+4915112345678"])], {}, {}]).encode(),
        "application/json",
        "rot13",
    )

    assert until(lambda: store.counters() == {"dead_lettered": len(sent), "scheduled": 1})
    assert sorted(letters(store)) == sorted(body[: 64 * 1024] for body, *_ in sent)
    assert not mark.exists()
    assert running.process.poll() is None


def test_a_message_that_inflates_without_end_takes_no_memory(rig: tuple[Store, Worker, Celery]):
    """200 MiB in some hundred KiB, by header or by codec: a dead letter, and no more than some MiB each."""
    store, running, producer = rig
    before = running.peak()
    bombs = {
        "gzip": bomb(zlib.compressobj()),
        "bzip2": bomb(bz2.BZ2Compressor()),
        "xz": bomb(lzma.LZMACompressor(preset=0)),
    }
    for compression_, body in bombs.items():
        send(producer, body, "application/json", "utf-8", compression=compression_)
    send(producer, bombs["gzip"] + b" ", "application/data", "zlib_codec")
    until(lambda: store.counters().get("dead_lettered") == 4)

    assert running.peak() - before < BOMB  # without a bound six times as much was measured
    assert all(len(raw) <= 64 * 1024 for raw in letters(store))


def test_a_compressed_report_is_taken_in(rig: tuple[Store, Worker, Celery]):
    """What a producer's ``task_compression`` makes, up to 16 MiB."""
    store, _, producer = rig
    for kind in ("gzip", "bzip2", "xz"):
        report = failed(kind, ["+4915112345678"])
        producer.send_task("softbounce.report", args=[report], queue="softbounce", compression=kind)

    assert until(lambda: store.counters() == {"scheduled": 3})


@pytest.mark.parametrize(
    ("kind", "make"), [("gzip", zlib.compress), ("bzip2", bz2.compress), ("xz", lzma.compress)]
)
def test_the_bound_is_exact(kind: str, make: Callable[[bytes], bytes]):
    """16 MiB pass, a byte more does not, nor does what is torn."""
    bound()
    whole = make(bytes(LIMIT))

    assert len(compression.decompress(whole, kind)) == LIMIT
    for refused in (make(bytes(LIMIT + 1)), whole[:-9], b64encode(whole)):
        with pytest.raises(Exception):  # noqa: B017, PT011 - each library has its own
            compression.decompress(refused, kind)
