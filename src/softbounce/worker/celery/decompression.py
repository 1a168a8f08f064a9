"""How large a Celery message may be, compressed or not: kombu's own decoders have no limit."""

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any

from kombu import compression

LIMIT = 16 * 1024 * 1024  # bytes; some ten thousand reports in one task
_LEAST = 16  # bytes of JSON for each value, on average; an ordinary report has 25, and "[[]]" 2
_MEMORY = 128 * 1024 * 1024  # bytes that lzma may take for its dictionary

_MAKE: dict[str, Callable[[], Any]] = {
    "gzip": zlib.decompressobj,
    "bzip2": bz2.BZ2Decompressor,
    "lzma": lambda: lzma.LZMADecompressor(memlimit=_MEMORY),
}


def bound() -> None:
    """Replace kombu's decoders in this process by ours, which stop at ``LIMIT``."""
    known: Any = compression.get_encoder  # the stubs take its answer for a function
    makers = {known(name)[1]: make for name, make in _MAKE.items()}
    for kind in compression.encoders():
        compression.register(known(kind)[0], _decoder(makers.get(kind)), kind)


def excess(text: bytes, *, limit: int) -> str | None:
    """Return what JSON has too much of: more than ``limit`` bytes, or than one value for each 16 of them.

    Read, a value takes some 70 bytes of memory, so that 16 MiB of empty lists would take 400 MiB.
    """
    if len(text) > limit:
        return f"is larger than {limit // 1024 // 1024} MiB"
    if sum(map(text.count, (b",", b"[", b"{"))) > limit // _LEAST:  # one before each value, but the first
        return f"holds more than {limit // _LEAST:,} values"
    return None


def _decoder(make: Callable[[], Any] | None) -> Callable[[bytes], bytes]:
    def decode(body: bytes) -> bytes:
        if make is None:
            msg = "this compression is none of gzip, bzip2 and lzma"
            raise ValueError(msg)
        stream = make()
        inflated: bytes = stream.decompress(body, LIMIT)
        if not stream.eof:
            msg = f"torn, or inflates to more than {LIMIT // 1024 // 1024} MiB"
            raise ValueError(msg)
        return inflated

    return decode
