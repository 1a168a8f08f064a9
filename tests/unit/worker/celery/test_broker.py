"""Celery spells the store's URL in its own way, and cannot have its queues everywhere."""

import pytest

from softbounce.errors import InvalidSettings
from softbounce.worker.celery.broker import celery_url


def test_celery_spells_a_socket_in_its_own_way():
    """One function translates, so that the two spellings cannot drift apart."""
    assert celery_url("unix:///a%20b/valkey.sock") == "redis+socket:///a%20b/valkey.sock"
    assert celery_url("redis://localhost/0") == "redis://localhost/0"


@pytest.mark.parametrize(
    ("url", "celery"),
    [
        ("redis+sentinel://a:1,b/main/2", "sentinel://a:1/2;sentinel://b:26379/2"),
        ("redis+sentinel://:p%40@a,b/main", "sentinel://:p%40@a:26379/0;sentinel://:p%40@b:26379/0"),
        ("unix:///run/v.sock", "redis+socket:///run/v.sock"),
        ("rediss://a:1/2", "rediss://a:1/2"),
    ],
)
def test_the_broker_is_where_the_store_is(url, celery):
    """Celery's queues lie in the store, by its own spelling of the URL."""
    assert celery_url(url) == celery


@pytest.mark.parametrize("url", ["redis+cluster://a:1,b:2", "rediss+sentinel://a:1/main"])
def test_where_celery_has_no_queues_the_broker_must_be_named(url):
    """A Cluster cannot carry Celery's queues: the sentence says what to set."""
    with pytest.raises(InvalidSettings, match="set SOFTBOUNCE_BROKER_URL"):
        celery_url(url)
