"""A store in memory, for tests only."""

from importlib import import_module

from softbounce.store import Store


def in_memory() -> Store:
    """Return an empty store in the memory of this process. Needs ``fakeredis[lua]``."""
    try:
        fakeredis = import_module("fakeredis")  # not a dependency
        import_module("lupa")  # runs scripts; without it fakeredis gives no clear error
    except ImportError as error:
        message = "softbounce.testing keeps its state in fakeredis: pip install 'fakeredis[lua]'"
        raise ImportError(message) from error
    return Store(fakeredis.FakeRedis(server=fakeredis.FakeServer()))
