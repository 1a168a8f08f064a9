"""Process settings. Precedence: flags of the command, ``SOFTBOUNCE_*`` variables, secret files."""

import os
from dataclasses import dataclass
from importlib.resources import files
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from softbounce.core.durations import parse_duration, words
from softbounce.errors import InvalidSettings
from softbounce.urls import mask_url, split_hosts

_MOST = 1 << 20  # characters that are read of a policy; the parser refuses more than 256 KiB
LEASE = 30_000  # ms
_UNCHECKED = {
    "ssl_cert_reqs": ("none", "optional", "cert_none", "cert_optional"),
    "ssl_check_hostname": ("0", "n", "no", "f", "false"),
}
PLAIN = {  # scheme -> the scheme of the same over TLS
    "redis": "rediss",
    "redis+sentinel": "rediss+sentinel",
    "redis+cluster": "rediss+cluster",
    "amqp": "amqps",
    "pyamqp": "amqps",
}
_STORES = {"redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSink:
    """Resends are entries of a Redis stream."""

    type: ClassVar[str] = "stream"
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CelerySink:
    """Resends are calls of the pipeline's own Celery task."""

    type: ClassVar[str] = "celery"
    task: str
    queue: str


Sink = StreamSink | CelerySink


def parse_sink(text: str) -> Sink:
    """Read ``stream:KEY`` or ``celery:TASK@QUEUE``; a ``ValueError`` says what is wrong."""
    kind, _, rest = text.partition(":")
    task, _, queue = rest.partition("@")
    if kind == "stream" and rest:
        return StreamSink(key=rest)
    if kind == "celery" and task and queue:
        return CelerySink(task=task, queue=queue)
    message = f"'{mask_url(text)}' is neither stream:KEY nor celery:TASK@QUEUE"
    if kind == "https":
        message = "hand-over by signed HTTP arrives with a later release; use stream:KEY or celery:TASK@QUEUE"
    raise ValueError(message)


def _sink(text: str) -> str:
    parse_sink(text)
    return text


def _url(url: SecretStr | None) -> SecretStr | None:
    try:
        _ = split_hosts(url.get_secret_value()) if url else None
    except ValueError:  # the error may show a part of the password
        message = "this is no URL; in a password write / as %2F, ? as %3F, # as %23, [ as %5B"
        raise ValueError(message) from None
    return url


def _path(path: Path | None) -> Path | None:
    if path and "\0" in str(path):
        message = "this is no path"
        raise ValueError(message)
    return path


def _store_url(url: SecretStr | None) -> SecretStr | None:
    text = url.get_secret_value() if url else "unix:"
    if urlsplit(text).scheme not in _STORES:
        message = (
            "write redis://HOST:PORT/DB (Valkey too), rediss://HOST:PORT/DB for TLS, unix:///PATH, "
            "redis+sentinel://HOST:PORT,HOST:PORT/NAME/DB, or redis+cluster://HOST:PORT"
        )
        raise ValueError(message)
    kind, _, path, _ = split_hosts(text)
    if kind == "sentinel" and not path:
        message = "Sentinel needs the name of the master: redis+sentinel://HOST:PORT,HOST:PORT/NAME/DB"
        raise ValueError(message)
    return url


def _duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _pii_key(key: SecretStr | None) -> SecretStr | None:
    if key and not 16 <= len(key.get_secret_value().encode()) <= 64:  # noqa: PLR2004 - blake2b takes 64 bytes
        message = "a key has 16 to 64 bytes"
        raise ValueError(message)
    return key


class Settings(BaseSettings):
    """All settings of one process. Secrets show as stars, in ``repr`` and in errors."""

    model_config = SettingsConfigDict(env_prefix="SOFTBOUNCE_", env_ignore_empty=True, frozen=True)

    redis_url: Annotated[SecretStr | None, AfterValidator(_url), AfterValidator(_store_url)] = None
    data: Annotated[Path, AfterValidator(_path)] = Path("data")
    policy: Annotated[Path | None, AfterValidator(_path)] = None
    broker_url: Annotated[SecretStr | None, AfterValidator(_url)] = None
    resend_to: Annotated[str, AfterValidator(_sink)] = "stream:softbounce:resend"
    pii_key: Annotated[SecretStr | None, AfterValidator(_pii_key)] = None
    namespace: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = "default"
    keep_addresses: bool = True
    lease: Annotated[int, BeforeValidator(_duration), Field(ge=2000, le=10 * 60_000)] = LEASE
    """ms that a claimed retry belongs to its worker; a report that it has read does twice as long. "30s"."""
    wait_replicas: Annotated[int, Field(ge=0, le=5)] = 0
    """How many replicas must have a report, a suppression or a cancel before it counts as stored."""
    handover_timeout: Annotated[int, BeforeValidator(_duration), Field(gt=0)] = 10_000  # ms
    allow_plaintext: bool = False
    remote_control: Literal["safe", "all"] = "safe"
    """What Celery's remote control may ask of a worker: ping, stats and softbounce, or anything."""

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """Read the settings; ``overrides`` are a command's flags, and None means that a flag was not given.

        Secret files are named ``softbounce_redis_url`` and so on, in ``/run/secrets`` or in the folder that
        ``SOFTBOUNCE_SECRETS`` names. Raises ``InvalidSettings`` with every problem, by the variable's name.
        """
        folder = os.environ.get("SOFTBOUNCE_SECRETS", "/run/secrets")
        given = {name: value for name, value in overrides.items() if value is not None}
        try:
            return cls(_secrets_dir=folder if Path(folder).is_dir() else None, **given)  # type: ignore[arg-type]
        except SettingsError as error:  # a variable or a secret file cannot even be read
            message = f"{error}: is it UTF-8 text?"
            raise InvalidSettings(message) from None
        except ValidationError as error:
            raise InvalidSettings("\n".join(map(_problem_text, error.errors(include_input=False)))) from None

    @property
    def sink(self) -> Sink:
        """The sink of due retries; a namespace beside the default has a stream of its own."""
        if self.namespace != "default" and "resend_to" not in self.model_fields_set:
            return StreamSink(key=f"softbounce:{self.namespace}:resend")
        return parse_sink(self.resend_to)

    @property
    def queue(self) -> str:
        """The queue of reports that come by Celery; namespaces may share a broker, but no queue."""
        return "softbounce" if self.namespace == "default" else f"softbounce-{self.namespace}"

    @model_validator(mode="after")
    def _a_handover_ends_within_its_lease(self) -> Self:
        if 2 * self.handover_timeout > self.lease:
            message = (
                f"SOFTBOUNCE_HANDOVER_TIMEOUT: a hand-over takes at most {words(self.lease // 2)}, "
                f"half of its lease (SOFTBOUNCE_LEASE)"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _nothing_travels_in_clear(self) -> Self:
        for name, url in (("REDIS_URL", self.redis_url), ("BROKER_URL", self.broker_url)):
            text = url.get_secret_value() if url else ""
            scheme, query = urlsplit(text).scheme, urlsplit(text).query
            away = [host for host, _ in split_hosts(text)[1] if not _is_this_machine(host)]
            if scheme in PLAIN and away and not self.allow_plaintext:
                message = (
                    f"SOFTBOUNCE_{name}: {scheme}://{away[0]} is plain TCP off this machine: "
                    f"addresses and passwords would travel in clear. Write {PLAIN[scheme]}://, or set "
                    "SOFTBOUNCE_ALLOW_PLAINTEXT=1 where you trust the network"
                )
                raise ValueError(message)
            if not self.allow_plaintext and any(
                value.lower() in _UNCHECKED.get(option, ()) for option, value in parse_qsl(query)
            ):
                message = (
                    f"SOFTBOUNCE_{name}: this TLS does not check whom it speaks to. Name the CA by "
                    "ssl_ca_certs=FILE, or set SOFTBOUNCE_ALLOW_PLAINTEXT=1 where you trust the network"
                )
                raise ValueError(message)
        return self


def policy_text(path: Path | None = None) -> tuple[str, str]:
    """Return the policy file's text, and its name as messages show it (``config/policy.yaml:39``).

    The first of: ``path``, ``SOFTBOUNCE_POLICY``, ./config/policy.yaml, the packaged default.
    """
    named = path or os.environ.get("SOFTBOUNCE_POLICY")
    local = Path("config/policy.yaml")
    if named is None and not local.is_file():
        return packaged_policy(), "softbounce/policy.yaml"
    try:
        with Path(named or local).open(encoding="utf-8") as file:
            return file.read(_MOST), str(named or local)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        message = f"cannot read the policy {named or local}: {reason}"
        raise InvalidSettings(message) from None


def packaged_policy() -> str:
    """Return the text of the policy that ships."""
    packaged = files("softbounce") / "policy.yaml"
    if not packaged.is_file():  # a checkout: the wheel alone holds the copy
        packaged = Path(__file__).parents[2] / "config" / "policy.yaml"
    if not packaged.is_file():
        message = (
            "no policy: this checkout has lost its config/policy.yaml, and SOFTBOUNCE_POLICY names no other"
        )
        raise InvalidSettings(message)
    return packaged.read_text(encoding="utf-8")


def _is_this_machine(host: str | None) -> bool:
    if host in {None, "", "localhost"}:
        return True
    try:
        return ip_address(str(host)).is_loopback
    except ValueError:
        return False


def _problem_text(problem: ErrorDetails) -> str:
    where = "".join(f"SOFTBOUNCE_{str(part).upper()}: " for part in problem["loc"][:1])
    return where + problem["msg"].removeprefix("Value error, ")
