"""What the tests of the commands share."""

import secrets
from typing import Any

import pytest
from live import START

from softbounce.core.policy import file as policy_file
from softbounce.settings import policy_text
from softbounce.store import Store

from .desk import Desk


@pytest.fixture
def desk(valkey: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """A namespace of this test alone, at a Sunday morning in Berlin."""
    namespace = f"cli-{secrets.token_hex(4)}"
    monkeypatch.setenv("SOFTBOUNCE_REDIS_URL", valkey)
    monkeypatch.setenv("SOFTBOUNCE_NAMESPACE", namespace)
    monkeypatch.chdir(tmp_path)
    store = Store.open(valkey, namespace=namespace)
    store.set_now(START)
    text, file = policy_text()
    yield Desk(store, policy_file.load(text, file=file))
    store.close()
