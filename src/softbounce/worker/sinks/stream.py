"""Commands and notices as entries of a Redis stream."""

from collections.abc import Sequence

from msgspec.json import encode as to_json

from softbounce.errors import StoreUnreachable
from softbounce.store import Store
from softbounce.worker.sinks.sink import Handed, MayBegin, Message, Sink, why


class ToStream:
    """Adds entries to a stream in the store, a whole batch in one transaction."""

    def __init__(self, store: Store, key: str, *, field: str) -> None:
        self.name = f"stream:{key}"
        self.stream, self._field = store.stream(key), field

    def deliver(self, messages: Sequence[Message], may_begin: MayBegin) -> Handed:
        """Add one entry ``id, command`` (or ``id, notice``) a message; raises ``StoreUnreachable``."""
        if not may_begin():
            return Handed(count=0)
        try:
            self.stream.add(self._field, [(name, to_json(body).decode()) for name, body in messages])
        except StoreUnreachable:
            raise
        except Exception as error:  # noqa: BLE001 - any refusal (the key is no stream) rests, and costs no strike
            return Handed(count=0, failure=why(error))
        return Handed(count=len(messages))


def trim(sink: Sink, *, before: int) -> None:
    """Delete what the readers of a stream have acknowledged, and what is older than ``before`` (ms)."""
    if isinstance(sink, ToStream):
        sink.stream.trim(before=before)
