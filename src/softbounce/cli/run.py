"""``softbounce run``, ``worker`` and ``demo``: the commands that keep running."""

import signal
from contextlib import closing
from functools import partial
from logging import getLevelNamesMapping
from pathlib import Path
from socket import gethostname
from time import monotonic
from typing import Annotated
from urllib.parse import unquote

import typer

from softbounce import embedded
from softbounce.cli.shared import options
from softbounce.cli.shared.output import release, say
from softbounce.cli.shared.session import naming, policy_of, store_url
from softbounce.embedded import Embedded
from softbounce.settings import Settings, StreamSink
from softbounce.store import Store
from softbounce.store.keys import Keys
from softbounce.telemetry import get_logger
from softbounce.urls import mask_url

run = typer.Typer(add_completion=False)
worker = typer.Typer(add_completion=False)
demo = typer.Typer(add_completion=False)

log = get_logger()

Data = Annotated[
    Path | None, typer.Option("--data", help="Folder of the store; else SOFTBOUNCE_DATA, else ./data")
]
ResendTo = Annotated[
    str | None, typer.Option("--resend-to", help="stream:KEY or celery:TASK@QUEUE; else SOFTBOUNCE_RESEND_TO")
]
LogLevel = Annotated[str, typer.Option("--log-level", help="DEBUG, INFO, WARNING or ERROR")]


@run.command("run")
def run_(
    *,
    data: Data = None,
    policy: options.Policy = None,
    resend_to: ResendTo = None,
    log_level: LogLevel = "INFO",
) -> None:
    """Run the service: a worker and, unless SOFTBOUNCE_REDIS_URL is set, a durable Valkey of its own.

    Ctrl-C or SIGTERM ends it in order. A killed Valkey is started again; after a crash, run it again: what
    was accepted is still there.
    """
    settings = Settings.load(data=data, policy=policy, resend_to=resend_to)
    policy_of(settings.policy)  # an invalid policy refuses before anything starts
    if settings.redis_url is not None:
        _work(settings, None, log_level=log_level)
        return
    with embedded.start(settings.data) as server:
        flags = {"data": data, "policy": policy, "resend_to": resend_to, "redis_url": server.url}
        _work(Settings.load(**flags), server, log_level=log_level)


@worker.command("worker")
def worker_(
    *,
    data: Data = None,
    policy: options.Policy = None,
    resend_to: ResendTo = None,
    name: Annotated[str | None, typer.Option("--name", help="Its name for celery inspect")] = None,
    log_level: LogLevel = "INFO",
) -> None:
    """Run one more worker on the store that is set, or that softbounce run keeps in its folder."""
    settings = Settings.load(data=data, policy=policy, resend_to=resend_to)
    policy_of(settings.policy)
    _work(settings, None, log_level=log_level, name=name)


@demo.command("demo")
def demo_(
    *,
    seed: Annotated[int, typer.Option(help="The same seed gives the same table")] = 7,
    days: Annotated[int, typer.Option(min=1, help="Days to simulate")] = 4,
    recipients: Annotated[int, typer.Option(min=1, help="Recipients to simulate")] = 6000,
    fast: Annotated[bool, typer.Option("--fast", help="Without pacing")] = False,
    chaos: Annotated[bool, typer.Option("--chaos", help="Kill the worker three times on the way")] = False,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Write all reports, for policy simulate")
    ] = None,
) -> None:
    """Four simulated days of SMS and e-mail on the real worker, beside no retry and plain retry."""
    from softbounce import demo as world  # noqa: PLC0415 - the other commands here need none of it

    code = world.run(seed=seed, days=days, recipients=recipients, fast=fast, chaos=chaos, save=save)
    raise typer.Exit(code)


def _work(settings: Settings, server: Embedded | None, *, log_level: str, name: str | None = None) -> None:
    """Work until SIGTERM or Ctrl-C; keep the embedded server alive meanwhile."""
    signal.signal(signal.SIGTERM, _leave)  # until Celery has a handler of its own, a moment later
    from softbounce.worker.celery.app import run_worker  # noqa: PLC0415 - Celery is of no use to other commands

    level = log_level.upper()
    if level not in getLevelNamesMapping():
        message = f"'{log_level}' is no log level: DEBUG, INFO, WARNING or ERROR"
        raise typer.BadParameter(message, param_hint="--log-level")
    greetings = [partial(banner, settings, is_embedded=server is not None, began=monotonic())]

    def keep() -> None:
        if server is not None and server.ensure():
            log.warning("store.back", reason="the embedded store had died and was started again")
        if greetings:  # the first call comes when the worker's threads run
            say(greetings.pop()())

    hostname = f"{name}@{gethostname()}" if name else None
    with naming(store_url(settings)):
        code = run_worker(settings, hostname=hostname, loglevel=level, keep=keep)
    raise typer.Exit(code)


def _leave(*_: object) -> None:
    """End the process in order before the worker has begun."""
    raise SystemExit(0)


def banner(settings: Settings, *, is_embedded: bool, began: float) -> str:
    """Return what a person wants to see when a worker has started."""
    policy, url = policy_of(settings.policy), store_url(settings)
    with closing(Store.open(url, namespace=settings.namespace)) as store:
        facts = store.facts()
    kept = "AOF" if facts.aof else "no AOF"
    where = f"{'embedded ' if is_embedded else ''}{facts.kind} {facts.version}, {kept}"
    to = settings.sink
    sink = f"stream {to.key}" if isinstance(to, StreamSink) else f"Celery task {to.task}, queue {to.queue}"
    rules = f"policy {policy.file} {policy.revision}, {policy.rules_count} code rules"
    return (
        f"  softbounce {release()}   {rules}    store {where}, {_short(mask_url(url))}\n"
        f"  intake stream {Keys(settings.namespace).stream('events')}     hand-over {sink}"
        f"     ready in {monotonic() - began:.1f} s\n"
        "  report a failure: softbounce events report event.json      why? softbounce explain REFERENCE"
    )


def _short(url: str) -> str:
    """Return a socket's path as seen from here, any other URL as it is."""
    path = Path(unquote(url.removeprefix("unix://")))
    return f"./{path.relative_to(Path.cwd())}" if path.is_relative_to(Path.cwd()) else url
