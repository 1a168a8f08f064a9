"""What a compressed Celery message may grow to: kombu's own decoders know no bound."""

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any

from kombu import compression

LIMIT = 16 * 1024 * 1024  # bytes; some ten thousand reports in one task
_MEMORY = 128 * 1024 * 1024  # bytes that lzma may take for its dictionary

_MAKE: dict[str, Callable[[], Any]] = {
    "gzip": zlib.decompressobj,
    "bzip2": bz2.BZ2Decompressor,
    "lzma": lambda: lzma.LZMADecompressor(memlimit=_MEMORY),
}


def bound() -> None:
    """Let this process inflate a message up to ``LIMIT`` only, and by no other way than ours."""
    known: Any = compression.get_encoder  # the stubs take its answer for a function
    makers = {known(name)[1]: make for name, make in _MAKE.items()}
    for kind in compression.encoders():
        compression.register(known(kind)[0], _decoder(makers.get(kind)), kind)


def _decoder(make: Callable[[], Any] | None) -> Callable[[bytes], bytes]:
    def decode(body: bytes) -> bytes:
        if make is None:
            msg = "a compression that is not taken in; gzip, bzip2 and lzma are"
            raise ValueError(msg)
        stream = make()
        inflated: bytes = stream.decompress(body, LIMIT)
        if not stream.eof:
            msg = f"torn, or inflates to more than {LIMIT // 1024 // 1024} MiB"
            raise ValueError(msg)
        return inflated

    return decode
