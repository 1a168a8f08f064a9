"""The broker's URL and TLS options, as Celery and kombu take them."""

from ssl import CERT_REQUIRED
from urllib.parse import parse_qsl, urlencode, urlsplit

from softbounce.errors import InvalidSettings
from softbounce.urls import split_hosts

_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")  # a TLS client's files, as in redis-py's URLs


def celery_url(store_url: str) -> str:
    """Return the store's URL as Celery spells it: ``redis+socket:///PATH``, ``sentinel://HOST;sentinel://HOST``.

    Raises ``InvalidSettings`` where Celery cannot have its queues there.
    """
    parts = urlsplit(store_url)
    kind, hosts, path, _ = split_hosts(store_url)
    if kind == "cluster" or parts.scheme == "rediss+sentinel":
        message = f"Celery has no queues on {parts.scheme}://: set SOFTBOUNCE_BROKER_URL to another broker"
        raise InvalidSettings(message)
    if kind == "sentinel":
        login, at, _ = parts.netloc.rpartition("@")
        database = [*path, "0", "0"][1]
        return ";".join(f"sentinel://{login}{at}{host}:{port}/{database}" for host, port in hosts)
    return store_url.replace("unix://", "redis+socket://", 1)


def verified(broker: str) -> tuple[str, dict[str, object] | None]:
    """Return a broker's URL and Celery's ``broker_use_ssl``, so that TLS checks certificate and host.

    kombu's own default checks neither on Redis, and no host on AMQP; nor does it know there what
    ``ssl_ca_certs``, ``ssl_certfile`` and ``ssl_keyfile`` in a URL mean.
    """
    parts = urlsplit(broker)
    query = dict(parse_qsl(parts.query))
    if parts.scheme == "rediss":
        query = {"ssl_cert_reqs": "required", **query}
        return parts._replace(query=urlencode(query, safe="/")).geturl(), None
    if parts.scheme != "amqps":
        return broker, None
    files = {name.removeprefix("ssl_"): query.pop(name) for name in _FILES if name in query}
    checks = {"cert_reqs": CERT_REQUIRED, "server_hostname": parts.hostname}
    return parts._replace(query=urlencode(query)).geturl(), {**checks, **files}
