"""The addresses that a pipeline's own settings name stay where they are, wherever our modules move."""

from importlib import import_module

import pytest

import softbounce


@pytest.mark.parametrize("name", ["AMQP", "Connection"])
def test_the_public_address_of_the_transport_leads_to_it(name):
    """``Celery(amqp="softbounce.worker.transport:AMQP")`` is what pipelines have in their code."""
    public = import_module("softbounce.worker.transport")

    assert getattr(public, name) is getattr(import_module("softbounce.worker.celery.transport"), name)


def test_celery_finds_the_app_by_the_name_of_the_package(monkeypatch, tmp_path):
    """``celery -A softbounce worker`` asks for ``softbounce.app``, which says here that there is no store."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit, match="softbounce: no store"):
        _ = softbounce.app
