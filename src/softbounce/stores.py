"""Finds and opens the store that the settings name."""

from softbounce.embedded import find_store
from softbounce.errors import InvalidSettings
from softbounce.settings import Settings
from softbounce.store import Store


def require_url(settings: Settings) -> str:
    """Return the URL of the store that is set or runs on the data folder. Raises ``InvalidSettings``."""
    if url := find_store(settings):
        return url
    message = f"no store: set SOFTBOUNCE_REDIS_URL, or start one on {settings.data} by `softbounce run`"
    raise InvalidSettings(message)


def open_store(settings: Settings, url: str) -> Store:
    """Return the store at ``url`` with the options of the settings; it connects at the first call."""
    return Store.open(
        url,
        namespace=settings.namespace,
        pii_key=settings.pii_key.get_secret_value().encode() if settings.pii_key else None,
        keep_addresses=settings.keep_addresses,
        replicas=settings.wait_replicas,
    )
