"""HTTP requests that end within one limit by the wall clock, whatever the other side does."""

import socket
import ssl
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from time import monotonic
from typing import Any

from typing_extensions import Buffer, override
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NameResolutionError, NewConnectionError

ANSWER_BYTES = 256 * 1024  # bytes of one answer that are read; status and headers have a few hundred


class HttpClient:
    """Sends requests, each of which ends within one limit. Safe to call from several threads.

    urllib3's own time-out is for each read: a receiver that drips a byte a second never meets it. Here every
    call on the socket gets the time that is left of the exchange.
    """

    def __init__(self, *, limit: float) -> None:
        """``limit`` in seconds: from looking up the name to the last line of the answer's headers."""
        self._limit = limit
        context = ssl.create_default_context()
        context.sslsocket_class = _TlsSocket
        self._pools = PoolManager(retries=False, timeout=Timeout(total=limit), ssl_context=context)
        self._pools.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> BaseHTTPResponse:
        """Return status and headers of the answer; its body is not read, a redirect not followed.

        Raises ``TimeoutError`` once the limit is over, and what urllib3 and ssl raise.
        """
        end = monotonic() + self._limit
        try:
            answer = self._pools.request("POST", url, body=body, headers=headers, preload_content=False)
        except Exception as error:
            if monotonic() < end:
                raise
            message = f"no answer within {self._limit:g} s"
            raise TimeoutError(message) from error
        answer.close()  # what follows the headers may be endless
        return answer


class _Deadline(socket.socket):
    """A socket on which each call ends at ``deadline``, and of which no more than ``room`` bytes are read."""

    deadline: float
    room: int

    def begin(self, *, deadline: float) -> None:
        """Begin one exchange, that is to end at ``deadline`` by ``monotonic()``."""
        self.deadline, self.room = deadline, ANSWER_BYTES

    @override
    def send(self, data: Buffer, flags: int = 0, /) -> int:
        """Send some of ``data``; TLS sends all by this."""
        self.settimeout(_left(self.deadline))
        return super().send(data, flags)

    @override
    def sendall(self, data: Buffer, flags: int = 0, /) -> None:
        """Send all of ``data``."""
        self.settimeout(_left(self.deadline))
        super().sendall(data, flags)

    @override
    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        """Receive into ``buffer``; http.client reads by this alone."""
        self.settimeout(_left(self.deadline))
        count = super().recv_into(buffer, nbytes, flags)
        self.room -= count
        if self.room < 0:
            message = f"an answer of more than {ANSWER_BYTES} bytes before its body"
            raise OSError(message)
        return count


class _TlsSocket(_Deadline, ssl.SSLSocket):  # type: ignore[misc]  # nbytes may be None there; ours never is
    pass


class _Connection(HTTPConnection):
    """urllib3 sets ``timeout`` to what is left of its total before it connects, sends and receives."""

    _deadline = 0.0

    @property  # type: ignore[explicit-override]  # mypy takes no `override` on a pair
    def timeout(self) -> float:
        return max(0.0, self._deadline - monotonic())

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self._deadline = monotonic() + seconds
        if isinstance(sock := getattr(self, "sock", None), _Deadline):
            sock.begin(deadline=self._deadline)

    @override
    def connect(self) -> None:
        super().connect()
        assert isinstance(self.sock, _Deadline)  # noqa: S101 - for mypy: `_new_conn` and the context make these
        self.sock.begin(deadline=self._deadline)

    @override
    def _new_conn(self) -> socket.socket:
        try:
            found = _look_up(self._dns_host.strip("[]"), self.port, deadline=self._deadline)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        failure = "it has no address"
        for number, (family, kind, protocol, _, address) in enumerate(found):
            sock = _Deadline(family, kind, protocol)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.settimeout(_left(self._deadline) / (len(found) - number))  # each address has its share
                sock.connect(address)
                sock.settimeout(_left(self._deadline))  # OpenSSL keeps to it for the whole handshake
            except OSError as error:
                sock.close()
                failure = str(error)
            else:
                return sock
        raise NewConnectionError(self, failure)


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection  # type: ignore[assignment]  # urllib3's protocol has a plain attribute


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection  # type: ignore[assignment]


def _left(deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        message = "the time for the exchange is over"
        raise TimeoutError(message)
    return left


def _look_up(host: str, port: int, *, deadline: float) -> list[Any]:
    """Return the addresses of ``host``. Nothing interrupts the system's resolver: it has its own thread."""
    found: Future[list[Any]] = Future()

    def look_up() -> None:
        try:
            found.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:  # noqa: BLE001 - raised where somebody waits for it
            found.set_exception(error)

    threading.Thread(target=look_up, name="look-up", daemon=True).start()
    return found.result(_left(deadline))
