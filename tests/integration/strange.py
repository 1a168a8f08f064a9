"""HTTP receivers that behave as none should: each takes connections and never gives a proper answer."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

Behaviour = Callable[[socket.socket, threading.Event], None]

STATUS = b"HTTP/1.1 200 OK\r\n"
TLS_RECORD = b"\x16\x03\x03\x3f\x00\x02\x00\x3e\xfc\x03\x03"  # of a ServerHello that is 16 KB long
PACE = 0.4  # s between two drops; 100 header lines, as many as http.client takes, last for 40 s
PATIENCE = 40.0  # s, then the receiver hangs up: a client without a limit fails its test, and does not hang


def never_answers(caller: socket.socket, over: threading.Event) -> None:
    """Read the request, and say nothing."""
    caller.recv(65536)
    over.wait(PATIENCE)


def never_reads(_: socket.socket, over: threading.Event) -> None:
    """Leave the request where it is, so that a large one gets stuck."""
    over.wait(PATIENCE)


def drips_bytes(caller: socket.socket, over: threading.Event) -> None:
    """Send one header for ever, a byte at a time."""
    _drip(caller, over, first=STATUS, drop=b"x")


def drips_lines(caller: socket.socket, over: threading.Event) -> None:
    """Send the status, and one header line after the other."""
    _drip(caller, over, first=STATUS, drop=b"x: y\r\n")


def drips_interim(caller: socket.socket, over: threading.Event) -> None:
    """Say 100 Continue again and again."""
    _drip(caller, over, first=b"", drop=b"HTTP/1.1 100 Continue\r\n\r\n")


def drips_tls(caller: socket.socket, over: threading.Event) -> None:
    """Send a ServerHello that never ends."""
    _drip(caller, over, first=TLS_RECORD, drop=b"x")


def pours_lines(caller: socket.socket, over: threading.Event) -> None:
    """Send header lines as fast as they are taken."""
    _pour(caller, over, first=STATUS, block=b"x: y\r\n" * 1000)


def pours_one_line(caller: socket.socket, over: threading.Event) -> None:
    """Send one header line as fast as it is taken."""
    _pour(caller, over, first=STATUS, block=b"x" * 10_000)


def pours_interim(caller: socket.socket, over: threading.Event) -> None:
    """Say 100 Continue as fast as it is taken."""
    _pour(caller, over, first=b"", block=b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def pours_body(caller: socket.socket, over: threading.Event) -> None:
    """Answer properly, and add a body that never ends."""
    _pour(caller, over, first=STATUS + b"\r\n", block=b"x" * 10_000)


def _drip(caller: socket.socket, over: threading.Event, *, first: bytes, drop: bytes) -> None:
    caller.recv(65536)
    caller.sendall(first)
    for _ in range(int(PATIENCE / PACE)):
        if over.wait(PACE):
            return
        caller.sendall(drop)


def _pour(caller: socket.socket, over: threading.Event, *, first: bytes, block: bytes) -> None:
    caller.recv(65536)
    caller.sendall(first)
    while not over.is_set():
        caller.sendall(block)


@dataclass
class Strange:
    """One such receiver: its port, and how many have called."""

    port: int
    callers: int = 0


@contextmanager
def listening(behaviour: Behaviour) -> Iterator[Strange]:
    """Let a receiver behave so to each caller, until the block ends."""
    over = threading.Event()

    def attend(caller: socket.socket) -> None:
        with caller, suppress(OSError):
            caller.settimeout(PATIENCE)
            behaviour(caller, over)

    def accept() -> None:
        with suppress(OSError):
            while not over.is_set():
                caller, _ = server.accept()
                receiver.callers += 1
                threading.Thread(target=attend, args=(caller,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        receiver = Strange(server.getsockname()[1])
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield receiver
        finally:
            over.set()
            server.shutdown(socket.SHUT_RDWR)  # wakes `accept`
