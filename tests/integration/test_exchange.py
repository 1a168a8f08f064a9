"""One HTTP exchange ends within its limit, and takes in no more than it needs, whatever the other side does."""

import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest
import strange
from live import Desk
from strange import listening
from tests.conftest import program

from softbounce.worker.sinks.http import HttpClient

LIMIT = 1.0  # s
GENEROUS = 20.0  # s that a busy machine may take for it; each strange receiver goes on for twice as long
HEADERS = {"content-type": "application/json"}


def post(url: str, body: bytes = b"{}", *, limit: float = LIMIT) -> int:
    """Return the status of one exchange."""
    return HttpClient(limit=limit).post(url, body, HEADERS).status


@contextmanager
def ends_at_its_limit():
    """Expect that an exchange is given up at ``LIMIT``, as far as a busy machine can tell."""
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="no answer within 1 s"):
        yield

    assert LIMIT <= time.monotonic() - began < GENEROUS


@pytest.mark.parametrize(
    ("scheme", "behaviour"),
    [
        ("http", strange.never_answers),
        ("http", strange.drips_bytes),
        ("http", strange.drips_lines),
        ("http", strange.drips_interim),
        ("https", strange.never_answers),
        ("https", strange.drips_tls),
    ],
)
def test_an_exchange_ends_at_its_limit_whatever_the_receiver_does(scheme, behaviour):
    """It is one limit for the whole exchange, by the wall clock: no sign of life prolongs it."""
    with listening(behaviour) as there, ends_at_its_limit():
        post(f"{scheme}://127.0.0.1:{there.port}/")


def test_an_exchange_ends_at_its_limit_where_the_receiver_does_not_read():
    """A body that fills the buffers of both sides is given up like an answer that does not come."""
    with listening(strange.never_reads) as there, ends_at_its_limit():
        post(f"http://127.0.0.1:{there.port}/", b"x" * 50_000_000)


def test_an_exchange_ends_at_its_limit_while_the_name_is_looked_up(desk, monkeypatch):
    """The system's resolver cannot be interrupted: nobody waits for it, and nothing is sent once it answers."""
    found, is_known = socket.getaddrinfo, threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: (is_known.wait(GENEROUS), found(*a, **k))[1])
    with ends_at_its_limit():
        post(desk.url)
    is_known.set()

    assert desk.got == []


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (strange.pours_lines, "more than 100 headers"),
        (strange.pours_one_line, "more than 65536 bytes"),
        (strange.pours_interim, "more than 262144 bytes before its body"),
    ],
)
def test_an_answer_is_bounded_in_bytes_too(behaviour, reason):
    """Headers that never end are refused long before the limit is over."""
    with listening(behaviour) as there, pytest.raises(Exception, match=reason):
        post(f"http://127.0.0.1:{there.port}/", limit=GENEROUS)


def test_no_body_is_read():
    """The status has said all; a body that never ends costs nothing."""
    with listening(strange.pours_body) as there:
        assert post(f"http://127.0.0.1:{there.port}/", limit=GENEROUS) == 200


def test_a_redirect_is_an_answer_and_is_not_followed(desk):
    """It could carry the request to anybody."""
    desk.statuses = [307]

    assert post(desk.url) == 307
    assert len(desk.got) == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nobody_there_is_said_at_once(scheme):
    """A refused connection does not use up the limit."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(Exception, match="refused"):
            post(f"{scheme}://127.0.0.1:{nobody.getsockname()[1]}/", limit=GENEROUS)


def test_one_dead_address_of_a_name_does_not_use_up_the_time_of_the_next(desk, monkeypatch):
    """Each address has its share of the time: a host whose IPv6 leads nowhere still gets its notices."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as first:
        first.connect(full.getsockname())  # nobody accepts: the next one gets no answer
        addresses = [full.getsockname(), desk.server.server_address]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", address) for address in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

        assert post("http://desk.example/", limit=4) == 204


@pytest.fixture
def certificate(tmp_path, monkeypatch):
    """A certificate for localhost, and the folder with its key; OpenSSL trusts it in this test."""
    program("openssl")
    words = ["-newkey", "rsa:2048", "-nodes", "-keyout", "key", "-out", "pem", "-subj", "/CN=localhost"]
    subprocess.run(  # noqa: S603 - our own words
        ["openssl", "req", "-x509", *words, "-addext", "subjectAltName=DNS:localhost"],  # noqa: S607
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "pem"))
    return tmp_path


@pytest.fixture
def over_tls(certificate):
    """Return a context that speaks TLS with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "pem", certificate / "key")
    return context


def test_an_exchange_over_tls_arrives_and_checks_the_certificate(over_tls, monkeypatch, tmp_path):
    """The host's name is checked, and who signed it; a large body arrives whole."""
    desk = Desk()
    desk.server.socket = over_tls.wrap_socket(desk.server.socket, server_side=True)
    port = desk.server.server_port

    try:
        assert post(f"https://localhost:{port}/", b"x" * 1_000_000, limit=GENEROUS) == 204
        assert [len(body) for _, body in desk.got] == [1_000_000]
        with pytest.raises(Exception, match="IP address mismatch"):
            post(f"https://127.0.0.1:{port}/", limit=GENEROUS)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
        with pytest.raises(Exception, match="self-signed certificate"):
            post(f"https://localhost:{port}/", limit=GENEROUS)
        assert len(desk.got) == 1
    finally:
        desk.server.shutdown()
        desk.server.server_close()


@pytest.mark.parametrize(
    ("behaviour", "size"),
    [(strange.never_answers, 2), (strange.drips_bytes, 2), (strange.never_reads, 50_000_000)],
)
def test_an_exchange_ends_at_its_limit_within_tls_too(over_tls, behaviour, size):
    """Encrypted bytes are dripped as easily, and a body gets stuck as well."""

    def encrypted(caller, over):
        with over_tls.wrap_socket(caller, server_side=True) as secured:
            behaviour(secured, over)

    with listening(encrypted) as there, ends_at_its_limit():
        post(f"https://localhost:{there.port}/", b"x" * size)
