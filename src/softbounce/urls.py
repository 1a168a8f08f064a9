"""Reads URLs that name several hosts (Sentinel, a Redis Cluster), and masks passwords in any."""

import re
from urllib.parse import urlsplit

_CREDENTIALS = re.compile(r"(\b[A-Za-z][\w+.-]*://)[^\s\"'<>]*@")  # to the last @: a password may hold one
_PASSWORD = re.compile(r"([?&]password=)[^&\s\"'<>]+", re.IGNORECASE)


def split_hosts(url: str) -> tuple[str, list[tuple[str, int]], list[str], str]:
    """Return the parts of a URL of several hosts: its kind, its hosts, its path, a URL of one host.

    ``redis+sentinel://[USER:PASSWORD@]HOST:PORT,HOST:PORT/NAME/DB`` or ``redis+cluster://HOST:PORT,HOST:PORT``;
    the user and the password are the store's. Any other URL is of no kind.
    """
    parts = urlsplit(url)
    scheme, _, kind = parts.scheme.partition("+")
    login, at, named = parts.netloc.rpartition("@")
    usual = 26379 if kind == "sentinel" else 6379
    hosts = []
    for host in filter(None, named.split(",")):
        one = urlsplit(f"//{host}")
        hosts.append((one.hostname or "localhost", one.port or usual))
    path = [part for part in parts.path.split("/") if part]
    database = path[1] if kind == "sentinel" and len(path) > 1 else "0"
    query = f"?{parts.query}" if parts.query else ""
    return kind, hosts, path, f"{scheme}://{login}{at}localhost/{database}{query}"


def mask_url(text: str) -> str:
    """Return ``text`` without the user names and passwords of the URLs in it; host and path stay."""
    return _PASSWORD.sub(r"\1***", _CREDENTIALS.sub(r"\1***@", text))
