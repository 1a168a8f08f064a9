"""TLS is checked: the certificate and the host, of the store and of the broker."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from kombu import Connection
from tests.conftest import program
from typer.testing import CliRunner

from softbounce import Softbounce
from softbounce.cli.main import app
from softbounce.errors import InvalidSettings
from softbounce.settings import Settings
from softbounce.store import Store
from softbounce.worker.celery.broker import verified

from .canaries import failed, until
from .conftest import Worker
from .servers import redis_server


@dataclass
class Secured:
    """A Redis that speaks TLS only and wants a client's certificate, and the files for it."""

    port: int
    folder: Path

    def url(self, *, host: str = "localhost", ca: str = "ca") -> str:
        """Return the store's URL."""
        files = {"ssl_ca_certs": ca, "ssl_certfile": "client", "ssl_keyfile": "client.key"}
        query = "&".join(
            f"{name}={self.folder / file}{'' if '.' in file else '.pem'}" for name, file in files.items()
        )
        return f"rediss://{host}:{self.port}/0?{query}"


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)  # noqa: S603, S607 - our own words


def _authority(folder: Path, name: str) -> None:
    words = [
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        f"{name}.key",
        "-out",
        f"{name}.pem",
        "-subj",
        f"/CN={name}",
    ]
    _openssl(folder, "req", "-x509", *words, "-addext", "keyUsage=critical,keyCertSign")


def _certificate(folder: Path, name: str) -> None:
    _openssl(
        folder,
        "req",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        f"{name}.key",
        "-out",
        "csr",
        "-subj",
        f"/CN={name}",
    )
    (folder / "names").write_text("subjectAltName=DNS:localhost\n", encoding="ascii")
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names"]
    _openssl(folder, "x509", "-req", "-in", "csr", *signed, "-out", f"{name}.pem")


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """The server, with a CA of this module alone, and a CA of somebody else."""
    program("openssl")
    folder = tmp_path_factory.mktemp("tls")
    _authority(folder, "ca")
    _authority(folder, "other")
    _certificate(folder, "server")
    _certificate(folder, "client")
    files = ["--tls-cert-file", "server.pem", "--tls-key-file", "server.key", "--tls-ca-cert-file", "ca.pem"]
    files = [str(folder / word) if "." in word else word for word in files]
    with redis_server(folder, "--port", "0", "--tls-port", "{port}", *files) as port:
        yield Secured(port, folder)


def test_the_whole_way_works_over_tls(secured: Secured, worker: Callable[..., Worker]):
    """Producer, worker, its broker and a command, with a CA and a client's certificate of one's own."""
    running = worker(redis_url=secured.url())
    with closing(Softbounce(secured.url())) as producer:
        producer.report(failed("m1", ["+4915112345678"]))
    store = Store.open(secured.url())
    until(lambda: store.counters() == {"scheduled": 1})
    store.close()
    done = CliRunner().invoke(app, ["doctor"], env={"SOFTBOUNCE_REDIS_URL": secured.url()})

    assert done.exit_code == 0, done.output
    until(lambda: "Connected to rediss://" in running.log.read_text())
    assert "CERT_NONE" not in running.log.read_text()


@pytest.mark.parametrize(
    "wrong", [{"ca": "other"}, {"host": "127.0.0.1"}], ids=["another CA", "another host"]
)
def test_a_store_that_cannot_prove_its_name_is_refused(secured: Secured, wrong: dict[str, str]):
    """With a sentence that says what is wrong and which setting mends it; exit code 4."""
    done = CliRunner().invoke(app, ["doctor"], env={"SOFTBOUNCE_REDIS_URL": secured.url(**wrong)})

    assert done.exit_code == 4
    assert "certificate is not trusted" in done.stderr
    assert "ssl_ca_certs" in done.stderr


@pytest.mark.parametrize(
    "wrong", [None, {"ca": "other"}, {"host": "127.0.0.1"}], ids=["right", "another CA", "another host"]
)
def test_a_broker_on_redis_must_prove_its_name(secured: Secured, wrong: dict[str, str] | None):
    """Also where its URL says nothing of it: kombu alone would not look."""
    url, use_ssl = verified(secured.url(**(wrong or {})))
    with Connection(url, ssl=use_ssl, transport_options={"socket_connect_timeout": 2}) as connection:
        if wrong is None:
            connection.ensure_connection(max_retries=1)
        else:
            with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
                connection.ensure_connection(max_retries=1, interval_start=0)


def test_a_broker_url_that_says_nothing_is_checked():
    """Certificate and host, on Redis as on AMQP; files are named as in the store's URL."""
    assert verified("rediss://broker/0")[0].endswith("?ssl_cert_reqs=required")
    url, use_ssl = verified("amqps://user:pw@broker/v?ssl_ca_certs=/ca.pem")

    assert url == "amqps://user:pw@broker/v"
    assert use_ssl is not None
    assert (use_ssl["server_hostname"], use_ssl["ca_certs"], int(use_ssl["cert_reqs"])) == (
        "broker",
        "/ca.pem",
        2,
    )  # type: ignore[call-overload]
    assert verified("amqp://broker//") == ("amqp://broker//", None)


@pytest.mark.parametrize(
    "option", ["ssl_cert_reqs=none", "ssl_cert_reqs=CERT_NONE", "ssl_check_hostname=false"]
)
@pytest.mark.parametrize("name", ["redis_url", "broker_url"])
def test_tls_that_checks_nothing_is_refused(name: str, option: str):
    """As plain TCP off this machine is, unless the network is trusted by a setting."""
    with pytest.raises(InvalidSettings, match="does not check whom it speaks to"):
        Settings.load(**{name: f"rediss://store.example/0?{option}"})

    assert Settings.load(**{name: f"rediss://store.example/0?{option}"}, allow_plaintext=True)
