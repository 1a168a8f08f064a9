"""A wire between workers and their store that can be cut, swallow bytes, stall, lose replies, or be slow."""

import asyncio
import threading
from contextlib import suppress
from typing import Self


class Wire:
    """Listens on a port of its own and passes everything on to another one; ``mode`` says how.

    pass; hole (bytes of both sides vanish); stall (nothing is read any more); deaf (calls arrive, replies
    vanish); slow (each piece takes 200 ms). Only ``pass`` and ``slow`` leave a connection that can go on.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self.mode = "pass"
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def cut(self) -> None:
        """Break every connection; new ones pass."""
        self.mode = "pass"

        async def abort() -> None:
            for writer in list(self._writers):
                writer.transport.abort()

        self._call(abort())

    def _call(self, what):
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self._writers |= both
        try:
            await asyncio.gather(
                self._pass(reader, far_writer, is_reply=False), self._pass(far_reader, writer, is_reply=True)
            )
        finally:
            self._writers -= both
            for one in both:
                one.transport.abort()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_reply: bool
    ) -> None:
        with suppress(OSError):
            while True:
                while self.mode == "stall":  # noqa: ASYNC110 - another thread sets it
                    await asyncio.sleep(0.02)
                data = await reader.read(65536)
                if not data:
                    break
                if self.mode == "slow":
                    await asyncio.sleep(0.2)
                if self.mode == "hole" or (self.mode == "deaf" and is_reply):
                    continue
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
