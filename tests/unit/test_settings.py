"""Settings come from flags, the environment and secret files, and never show a secret."""

from pathlib import Path

import pytest

from softbounce import embedded
from softbounce.errors import InvalidSettings
from softbounce.settings import CelerySink, Settings, StreamSink, policy_text
from softbounce.urls import mask_url

SECRET = "canary-in-a-coal-mine"  # noqa: S105 - it must not be seen again


def load(monkeypatch: pytest.MonkeyPatch, /, **environment: str) -> Settings:
    """Load the settings of an environment."""
    for name, value in environment.items():
        monkeypatch.setenv(f"SOFTBOUNCE_{name}", value)
    return Settings.load()


def refused(monkeypatch: pytest.MonkeyPatch, /, **environment: str) -> str:
    """Return the message with which an environment is refused."""
    with pytest.raises(InvalidSettings) as caught:
        load(monkeypatch, **environment)
    return str(caught.value)


def test_nothing_has_to_be_set(monkeypatch):
    """Without any setting softbounce works on ./data and hands over to its stream."""
    settings = load(monkeypatch)

    assert settings.redis_url is None
    assert settings.data == Path("data")
    assert settings.sink == StreamSink(key="softbounce:resend")
    assert settings.handover_timeout == 10_000


def test_a_flag_beats_the_environment_and_the_environment_a_secret_file(monkeypatch, tmp_path):
    """Order: flag, environment, file."""
    (tmp_path / "softbounce_namespace").write_text("file")
    (tmp_path / "softbounce_pii_key").write_text(SECRET)
    monkeypatch.setenv("SOFTBOUNCE_SECRETS", str(tmp_path))
    from_file = Settings.load(namespace=None)
    monkeypatch.setenv("SOFTBOUNCE_NAMESPACE", "environment")

    assert from_file.namespace == "file"
    assert from_file.pii_key is not None
    assert from_file.pii_key.get_secret_value() == SECRET
    assert Settings.load().namespace == "environment"
    assert Settings.load(namespace="flag").namespace == "flag"


def test_an_empty_variable_is_an_unset_one(monkeypatch):
    """A compose file passes ``${SOFTBOUNCE_BROKER_URL:-}`` on as an empty text."""
    assert load(monkeypatch, BROKER_URL="", REDIS_URL="").broker_url is None


def test_secrets_show_nowhere(monkeypatch):
    """A password or key is in no ``repr`` and in no error, not even beside a mistake."""
    settings = load(monkeypatch, REDIS_URL=f"redis://:{SECRET}@localhost/0", PII_KEY=SECRET)
    message = refused(monkeypatch, REDIS_URL=f"http://me:{SECRET}@localhost/0", PII_KEY=SECRET * 9)

    assert SECRET not in repr(settings)
    assert SECRET not in message
    assert "SOFTBOUNCE_REDIS_URL: write redis://" in message
    assert "SOFTBOUNCE_PII_KEY: a key has 16 to 64 bytes" in message


def test_every_wrong_setting_is_named_at_once(monkeypatch):
    """One start, one list of mistakes, each by the variable's name."""
    message = refused(monkeypatch, NAMESPACE="a b", RESEND_TO="kafka:x", HANDOVER_TIMEOUT="5")

    assert [line.split(":")[0] for line in message.splitlines()] == [
        "SOFTBOUNCE_RESEND_TO",
        "SOFTBOUNCE_NAMESPACE",
        "SOFTBOUNCE_HANDOVER_TIMEOUT",
    ]


@pytest.mark.parametrize(
    ("text", "sink"),
    [
        ("stream:pipeline:resends", StreamSink(key="pipeline:resends")),
        ("celery:messaging.resend@messaging", CelerySink(task="messaging.resend", queue="messaging")),
    ],
)
def test_resends_go_to_a_stream_or_a_celery_task(monkeypatch, text, sink):
    """``SOFTBOUNCE_RESEND_TO`` names the way of hand-over."""
    assert load(monkeypatch, RESEND_TO=text).sink == sink


@pytest.mark.parametrize("text", ["stream:", "celery:task", "celery:@queue", "messaging.resend", "kafka:x"])
def test_a_hand_over_that_is_not_known_is_refused(monkeypatch, text):
    """Half a sink is no sink."""
    assert "neither stream:KEY nor celery:TASK@QUEUE" in refused(monkeypatch, RESEND_TO=text)


def test_hand_over_by_http_is_refused_by_name(monkeypatch):
    """What is not released yet says so, and does not half work."""
    assert "arrives with a later release" in refused(monkeypatch, RESEND_TO="https://example.com/resend")


def test_a_namespace_beside_the_default_has_its_own_stream_and_queue(monkeypatch):
    """Two namespaces on one store and one broker never share a stream, unless somebody says so, nor a queue."""
    assert load(monkeypatch).queue == "softbounce"
    assert load(monkeypatch, NAMESPACE="north").queue == "softbounce-north"
    assert load(monkeypatch, NAMESPACE="north").sink == StreamSink(key="softbounce:north:resend")
    assert load(monkeypatch, RESEND_TO="stream:both").sink == StreamSink(key="both")


def test_remote_control_is_safe_unless_a_setting_says_all(monkeypatch):
    """Two values, and any other is refused with both named."""
    assert load(monkeypatch).remote_control == "safe"
    assert "REMOTE_CONTROL: Input should be 'safe' or 'all'" in refused(monkeypatch, REMOTE_CONTROL="some")
    assert load(monkeypatch, REMOTE_CONTROL="all").remote_control == "all"


def test_a_hand_over_fits_twice_into_its_lease(monkeypatch):
    """A hand-over that could outlast its lease would run beside the next one."""
    assert load(monkeypatch, HANDOVER_TIMEOUT="15s").handover_timeout == 15_000
    assert "at most 15s" in refused(monkeypatch, HANDOVER_TIMEOUT="16s")
    assert "greater than 0" in refused(monkeypatch, HANDOVER_TIMEOUT="0s")
    assert "at most 4s" in refused(monkeypatch, LEASE="8s", HANDOVER_TIMEOUT="10s")
    assert load(monkeypatch, LEASE="8s", HANDOVER_TIMEOUT="4s").lease == 8_000


@pytest.mark.parametrize("name", ["REDIS_URL", "BROKER_URL"])
def test_plain_tcp_off_this_machine_needs_permission(monkeypatch, name):
    """Addresses travel in clear over redis:// to another host only if somebody has said so."""
    message = refused(monkeypatch, **{name: f"redis://me:{SECRET}@cache.example:6379/0"})

    assert f"SOFTBOUNCE_{name}: redis://cache.example is plain TCP off this machine" in message
    assert SECRET not in message
    assert load(monkeypatch, ALLOW_PLAINTEXT="1").allow_plaintext


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://127.0.0.2:6379/1",
        "redis://[::1]:6379",
        "rediss://cache.example",
        "unix:///s",
    ],
)
def test_loopback_tls_and_sockets_need_no_permission(monkeypatch, url):
    """What cannot be overheard is not asked about."""
    assert load(monkeypatch, REDIS_URL=url).redis_url is not None


def test_the_store_that_is_set_is_the_store(monkeypatch):
    """``SOFTBOUNCE_REDIS_URL`` beats a server on the data folder."""
    assert (
        embedded.find_store(load(monkeypatch, REDIS_URL="redis://localhost:1/2")) == "redis://localhost:1/2"
    )


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:pass@host:6379/0", "redis://***@host:6379/0"),
        ("amqp://me:p@ss/w:rd@host//", "amqp://***@host//"),
        ("unix:///s.sock?db=1&password=pass", "unix:///s.sock?db=1&password=***"),
        ("cannot reach rediss://me:pass@host, retrying", "cannot reach rediss://***@host, retrying"),
    ],
)
def test_a_masked_url_says_where_and_not_how_to_get_in(url, masked):
    """Host, port and database stay; user and password go, however odd."""
    assert mask_url(url) == masked


def test_the_policy_named_on_the_command_line_comes_first(monkeypatch, tmp_path):
    """Order: the path given, ``SOFTBOUNCE_POLICY``, ./config/policy.yaml, the packaged default."""
    monkeypatch.chdir(tmp_path)
    packaged = policy_text()
    (tmp_path / "config").mkdir()
    (tmp_path / "config/policy.yaml").write_text("version: 1  # here")
    here = policy_text()
    (tmp_path / "set.yaml").write_text("version: 1  # set")
    monkeypatch.setenv("SOFTBOUNCE_POLICY", "set.yaml")
    (tmp_path / "given.yaml").write_text("version: 1  # given")

    assert policy_text(Path("given.yaml")) == ("version: 1  # given", "given.yaml")
    assert policy_text() == ("version: 1  # set", "set.yaml")
    assert here == ("version: 1  # here", "config/policy.yaml")
    assert packaged[1] == "softbounce/policy.yaml"
    assert "version: 1" in packaged[0]


def test_a_policy_that_cannot_be_read_is_named(tmp_path):
    """No silent fall back to the packaged default."""
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")

    with pytest.raises(InvalidSettings, match=r"cannot read the policy .*absent.yaml: No such file"):
        policy_text(tmp_path / "absent.yaml")
    with pytest.raises(InvalidSettings, match=r"latin.yaml: it is not UTF-8 text"):
        policy_text(tmp_path / "latin.yaml")


def test_each_host_of_a_url_counts(monkeypatch):
    """One host off this machine is enough for addresses to travel in clear; a sentinel needs its master's name."""
    message = refused(monkeypatch, REDIS_URL=f"redis+sentinel://:{SECRET}@127.0.0.1:1,cache.example:2/main/0")

    assert "redis+sentinel://cache.example is plain TCP off this machine" in message
    assert "Write rediss+sentinel://" in message
    assert "name of the master" in refused(monkeypatch, REDIS_URL="redis+sentinel://127.0.0.1:1")
