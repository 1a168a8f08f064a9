"""A door in front of a store: it passes bytes, and stops at the one call that a test names."""

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self


class Door:
    """Listens on a port of its own and passes all to a server's socket or port; one thread a connection."""

    def __init__(self, server: Path | tuple[str, int], *, scheme: str = "redis", path: str = "/0") -> None:
        self._server = server
        self._away = ""
        self.delay = 0.0  # s before each call is passed
        self._passing: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}{path}"
        self._words: bytes | None = None
        self._what = ""
        self._opened = threading.Event()
        self._opened.set()
        self.stopped = threading.Event()  # set once the call that was named has come by
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.open()
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for connections
        self._listener.close()

    def keep_call(self, words: str) -> None:
        """Keep the next call that holds ``words``: the server has not seen it."""
        self._watch(words, "call")

    def keep_reply(self, words: str) -> None:
        """Keep the reply to the next call that holds ``words``: the server has done it."""
        self._watch(words, "reply")

    def lose_reply(self, words: str) -> None:
        """Cut the connection between the next call that holds ``words`` and its reply."""
        self._watch(words, "cut")

    def refuse(self) -> None:
        """End every connection and take no new one, as a server that died."""
        self._away = "refuse"
        for side in tuple(self._passing):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def swallow(self) -> None:
        """Take every byte and answer none, as a server behind a cut cable."""
        self._away = "swallow"

    def open(self) -> None:
        """Let through what is kept, and keep nothing more; what was swallowed stays lost."""
        self._words, self._away = None, ""
        self._opened.set()

    def _watch(self, words: str, what: str) -> None:
        self._what, self._words = what, words.encode()
        self.stopped.clear()
        self._opened.clear()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):  # closed: the test is over
            while True:
                client = self._listener.accept()[0]
                threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        family = socket.AF_UNIX if isinstance(self._server, Path) else socket.AF_INET
        with client, socket.socket(family) as server, contextlib.suppress(OSError):
            if self._away == "refuse":
                return
            server.connect(str(self._server) if isinstance(self._server, Path) else self._server)
            self._passing |= {client, server}
            awaits = ""
            for source, data in _read(client, server):
                if self._away == "swallow":
                    continue
                if source is client:
                    time.sleep(self.delay)
                    if self._words and self._words in data:
                        self._words, awaits = None, self._what
                    if awaits == "call":
                        self._stop()
                        awaits = ""
                    server.sendall(data)
                else:
                    if awaits:
                        self._stop(wait=awaits == "reply")
                    if awaits == "cut":
                        return
                    awaits = ""
                    client.sendall(data)

    def _stop(self, *, wait: bool = True) -> None:
        self.stopped.set()
        if wait:
            self._opened.wait()


def _read(client: socket.socket, server: socket.socket) -> Iterator[tuple[socket.socket, bytes]]:
    """Yield what either side says, until one of them has ended."""
    with selectors.DefaultSelector() as selector:
        for side in (client, server):
            selector.register(side, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                side = client if key.fileobj is client else server
                if not (data := side.recv(65536)):
                    return
                yield side, data
