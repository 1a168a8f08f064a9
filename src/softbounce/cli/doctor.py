"""``softbounce doctor``: what is wrong, each finding in a line."""

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

import typer

from softbounce.cli.dead_letters import fullness
from softbounce.cli.shared import options
from softbounce.cli.shared.output import REFUSED, Json, Output, say, show, zone
from softbounce.cli.shared.session import opened, policy_in_force, policy_of, unreachable_targets
from softbounce.core.durations import MINUTE, SECOND
from softbounce.core.filters import parse_filter
from softbounce.core.policy import file as policy_file
from softbounce.core.policy.model import Policy
from softbounce.core.texts import count, plain, span, when
from softbounce.errors import Forbidden, InvalidPolicy, StoreUnreachable, WrongKey
from softbounce.settings import CelerySink, Settings, policy_text
from softbounce.store import Store
from softbounce.store.cases import FILTER_KEYS
from softbounce.store.limits import FULL, LATE
from softbounce.store.policies import Revision

app = typer.Typer(add_completion=False)

OVERDUE = 10 * MINUTE  # ms that a retry is overdue, above which it is a fault
MANY = 10_000  # unread events, above which there is a warning
MANY_PAUSES = 10  # pauses that are listed
ODD = {
    "misdated": "had a date that cannot be right (never set, no zone, ahead): the time of receipt counts",
    "no_zone": "named a timezone that is none: the number's zones count",
    "repeated_id": "had the eventId of another event: give each report its own",
}
SILENT = 30 * SECOND  # a running worker is heard of every 5 s


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARN = "warn"
    FAULT = "fault"


Finding = tuple[Level, str]


@app.command()
def doctor(
    *,
    policy: options.Policy = None,
    ready: Annotated[bool, typer.Option("--ready", help="Only check this machine's worker")] = False,
    alive: Annotated[
        bool, typer.Option("--alive", help="Only check that no restart of this machine's worker is needed")
    ] = False,
    output: options.Output = Output.TABLE,
) -> None:
    """Look for what is wrong. Exit code 1 if something is at fault, 4 if the store does not answer.

    For health checks in the worker's own container: --ready fails while the store is away or refuses
    writes (4), and where no worker of this machine was heard of for 30 s (1). --alive fails in the second
    case alone: while the store is away a restart would mend nothing.
    """
    settings = Settings.load(policy=policy)
    if ready or alive:
        _probe(spares_store=alive and not ready)
        return
    with opened() as store:
        now = store.now()
        found = [
            *_store(store, settings),
            *_policy(settings, store, now),
            *_flow(store),
            *_modes(store, now),
            *_pauses(store, now),
            *_breakers(store, now),
            *_sources(store, now),
            *_feedback(settings, store),
            *_broker(settings),
            *_waiting_for_people(store),
        ]
    is_well = all(level is not Level.FAULT for level, _ in found)
    if output is Output.TABLE:
        for level, text in found:
            typer.echo(f"{level:<5} {plain(text)}")
    else:
        show((), (({"level": level, "text": text}, ()) for level, text in found), output)
    if not is_well:
        raise typer.Exit(REFUSED)


def _probe(*, spares_store: bool) -> None:
    """Exit 1 unless a worker of this machine was heard of; ``spares_store``: pass while the store is away."""
    try:
        with opened() as store:
            store.require_writable()
            now = store.now()
            heard = [
                entry["at"]
                for name, entry in store.workers.all(now=now).items()
                if name.rpartition("/")[0] == socket.gethostname()
            ]
    except StoreUnreachable:
        if spares_store:
            return
        raise
    if max(heard, default=0) < now - SILENT:
        say(f"no worker of {socket.gethostname()} was heard of within {span(SILENT)}")
        raise typer.Exit(REFUSED)


def _store(store: Store, settings: Settings) -> Iterator[Finding]:
    try:
        store.require_writable()
    except Forbidden:
        yield Level.WARN, "this user may only read: whether the store takes writes was not looked at"
    except StoreUnreachable as error:
        yield Level.FAULT, f"{error}. Until then nothing is taken in and nothing leaves"
    try:
        _ = store.key
    except WrongKey as error:
        yield Level.FAULT, str(error)
    facts = store.facts()
    kept = "AOF" if facts.aof else "no AOF"
    if not facts.faults:
        yield Level.OK, f"store {facts.kind} {facts.version}, {facts.policy}, {kept}"
    yield from ((Level.FAULT, text) for text in facts.faults)
    yield from ((Level.WARN, text) for text in facts.warnings)
    if facts.replicas < settings.wait_replicas:
        some = f"{facts.replicas} of {settings.wait_replicas} replicas are connected"
        yield Level.FAULT, f"{some} (SOFTBOUNCE_WAIT_REPLICAS): no report is accepted until they are"
    elif settings.wait_replicas:
        text = f"{facts.replicas} replicas are connected, each report waits for {settings.wait_replicas}"
        yield Level.OK, text
    if facts.memory_share is not None and facts.memory_share > FULL:
        used = f"the store uses {facts.memory_share:.0%} of maxmemory: reports are refused above {FULL:.0%}"
        yield Level.FAULT, f"{used}. Let workers drain it, or raise it: CONFIG SET maxmemory"


def _policy(settings: Settings, store: Store, now: int) -> Iterator[Finding]:
    workers = store.workers.all(now=now)
    if not workers:
        yield Level.FAULT, "no worker runs: nothing is taken in, nothing leaves. Start one: softbounce worker"
    applied = store.policies.applied()
    try:
        policy = policy_of(settings.policy)
    except InvalidPolicy as error:
        more = f" (and {len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
        first = error.problems[0].splitlines()[0]
        yield Level.FAULT, f"{first}{more}; workers keep the policy they have, a new one would not start"
        if applied:
            yield from _drift(f"policy applied by {applied.by}", applied.revision, workers)
        return
    yield from _torn(policy, policy_text(settings.policy)[0], store, workers)
    if applied:
        yield from _own_file(policy, applied)
        policy = policy_file.load(applied.text, file=applied.file)
    yield from _drift(f"policy {policy.file}", policy.revision, workers)
    for name, entry in workers.items():
        if (silent := now - entry["at"]) > SILENT:
            yield Level.WARN, f"worker {name} was heard of {span(silent)} ago: stopped, frozen or cut off?"
        if not store.clock()[1] and abs(ahead := entry.get("clock", entry["at"]) - entry["at"]) > MINUTE:
            which = "ahead of" if ahead > 0 else "behind"
            text = f"the clock of {name} is {span(abs(ahead))} {which} the store's: retries obey the store's"
            yield Level.WARN, f"{text}, logs show the worker's. Set both by NTP"
    yield from ((Level.WARN, text) for text in unreachable_targets(policy))
    if all(target.type == "log" for target in policy.notify):
        text = f"escalations go to the log alone: name a target in escalation.notify of {policy.file}"
        yield Level.WARN, text


def _torn(own: Policy, text: str, store: Store, workers: dict[str, Json]) -> Iterator[Finding]:
    """Yield a fault where a file is only the beginning of what runs: cut off while written, and yet valid."""
    for revision in sorted({str(entry["revision"]) for entry in workers.values()} - {own.revision}):
        kept = store.policies.find(revision)
        if kept and kept.text.startswith(text):
            text = f"{own.file} is the mere beginning of policy {revision}, which runs: write it whole"
            yield Level.FAULT, text


def _own_file(own: Policy, applied: Revision) -> Iterator[Finding]:
    if own.revision != applied.revision:
        here = f"{own.file} here is {own.revision}, but workers follow {applied.revision}"
        why = f"applied by {applied.by}: {applied.reason}"
        yield Level.WARN, f"{here}, {why}. Compare: softbounce policy plan {own.file}"


def _drift(what: str, wanted: str, workers: dict[str, Json]) -> Iterator[Finding]:
    running = Counter(str(entry["revision"]) for entry in workers.values())
    if set(running) <= {wanted}:
        yield Level.OK, f"policy {wanted} on {len(workers)} of {len(workers)} workers"
        return
    parts = [f"{number} {'runs' if number == 1 else 'run'} {name}" for name, number in running.most_common()]
    yield Level.WARN, f"{what} is {wanted}, but of {len(workers)} workers {', '.join(parts)}"


def _flow(store: Store) -> Iterator[Finding]:
    sizes, lag, overdue = store.sizes(), store.events.lag(), store.overdue()
    is_stopped = store.modes.all()[0].mode == "off"
    level = Level.FAULT if overdue > OVERDUE and not is_stopped else Level.OK
    late = f"overdue {sizes['due']:,}, the oldest for {span(overdue)}" if overdue > SECOND else "overdue 0"
    queued = f", {sizes['ready']:,} stand in line for the hand-over rate" if sizes["ready"] else ""
    yield level, f"{count(sizes['scheduled'] + sizes['ready'], 'retries')}, {late}{queued}"
    level = Level.WARN if lag.unread > MANY else Level.OK
    yield level, f"intake: {count(lag.unread, 'events')} unread, {lag.pending:,} being decided"


def _modes(store: Store, now: int) -> Iterator[Finding]:
    for mode in store.modes.all():
        if mode.mode == "on":
            continue
        whom = "" if mode.merchant == "*" else f" for merchant {mode.merchant}"
        since = f"since {when(mode.at, zone(), now)}, by {mode.by}: {mode.reason}"
        if mode.reason.startswith("quarantine") and mode.by == "softbounce":
            text = f"hand-overs are in {mode.reason} ({when(mode.at, zone(), now)}). Look at: softbounce "
            text += "retries list, suppressions list; then: softbounce mode on --reason ..."
            yield Level.FAULT, text
        else:
            yield Level.WARN, f"mode {mode.mode}{whom} {since}"


def _pauses(store: Store, now: int) -> Iterator[Finding]:
    found = [(field, pause) for field, pause in store.pauses.all().items() if pause.until > now]
    pauses = [pair for pair in found if pair[1].reason != "second_report"]  # of those there may be many
    if asked := len(found) - len(pauses):
        yield Level.OK, f"{count(asked, 'recipients')} paused until one retry tells whether a verdict is true"
    for field, pause in sorted(pauses, key=lambda found: found[1].until)[:MANY_PAUSES]:
        what = field.replace("recipient:", "recipient:r_", 1)
        until = when(pause.until, zone(), now)
        yield Level.WARN, f"{what} is paused until {until}, by {pause.by}: {pause.reason}"
    if len(pauses) > MANY_PAUSES:
        yield Level.WARN, f"{len(pauses) - MANY_PAUSES:,} more pauses"


def _breakers(store: Store, now: int) -> Iterator[Finding]:
    known = store.breakers.all()
    try:
        policy = policy_in_force(store)
    except InvalidPolicy:  # which is a finding of its own
        return
    for name, (state, until) in store.situations.breakers(tuple(known), policy=policy).items():
        if state in ("open", "half-open"):
            by = "by a person" if known[name].by_hand else "its resends failed"
            end = f" until {when(until, zone(), now)}" if until else ""
            yield Level.WARN, f"the breaker of {name} is {state}{end} ({by}): softbounce breakers list"


def _sources(store: Store, now: int) -> Iterator[Finding]:
    for name, (lag, odd) in store.sources(now=now).items():
        if lag * 1000 >= LATE:
            text = (
                f"reports of source {plain(name)} come {span(lag * 1000)} or more after their dates: is its"
            )
            yield Level.WARN, f"{text} clock behind? Which send they answer is told by their order alone"
        for what, number in odd.items():
            text = f"{count(number, 'events')} of source {plain(name)} {ODD[what]}"
            yield Level.WARN, f"{text}. Which they were: softbounce explain REFERENCE"


def _feedback(settings: Settings, store: Store) -> Iterator[Finding]:
    try:
        if policy_in_force(store).feedback == "none":
            return
    except InvalidPolicy:  # which is a finding of its own
        return
    for merchant, channel, number in store.unanswered():
        whose = f"merchant {plain(merchant)}" if merchant else "no merchant"
        text = f"{count(number, 'resends')} of {whose} on {channel or 'no channel'} had no answer, and no "
        text += "arrival was ever reported there. Report MESSAGE_DELIVERED, or set feedback: none in "
        yield Level.FAULT, f"{text}{settings.policy}"


def _broker(settings: Settings) -> Iterator[Finding]:
    url = settings.broker_url.get_secret_value() if settings.broker_url else "redis://"
    parts = urlsplit(url)
    if "amqp" not in parts.scheme:
        yield Level.OK, "softbounce.report is taken from Redis in one step: no kill of a worker loses one"
        if isinstance(settings.sink, CelerySink):
            text = "resends leave by a Celery task on Redis: a receiver with kombu's own transport can lose "
            text += "them, which cannot be seen from here (docs/introduction/pipeline-contract.md, "
            text += "A Celery task on Redis)"
            yield Level.WARN, text
        return
    host, port = parts.hostname or "localhost", parts.port or (5671 if parts.scheme == "amqps" else 5672)
    try:
        with closing(socket.create_connection((host, port), timeout=3)):
            yield Level.OK, f"broker {host}:{port} answers"
    except OSError as error:
        text = f"broker {host}:{port} does not answer: {error}. Is SOFTBOUNCE_BROKER_URL right?"
        yield Level.FAULT, text


def _waiting_for_people(store: Store) -> Iterator[Finding]:
    sizes = store.sizes()
    yield Level.OK, f"{count(sizes['open_cases'], 'cases')} open, {sizes['dead_letters']:,} dead letters kept"
    now = store.now()
    for case in store.cases.select(parse_filter("-state:resolved", keys=FILTER_KEYS), now=now):
        if group := case.entry.get("brake"):
            text = f"incident {case.id}, {group}: {case.entry['suppressed']:,} sudden suppressions,"
            text += f" {count(case.count, 'messages')} held. See: softbounce cases show {case.id}"
            yield Level.WARN, text
        if case.kind == "ambiguous_recipient" and "recipients[" in (detail := case.entry.get("detail") or ""):
            text = f"{count(case.count, 'messages')} held, nobody can read whom they go to ({plain(detail)})"
            yield Level.WARN, f"{text}: softbounce cases show {case.id}"
        if case.kind == "damaged_record":
            text = f"{count(case.count, 'records')} of the store cannot be read, set aside"
            yield Level.FAULT, f"{text}: softbounce cases show {case.id}"
    if full := fullness(store):
        yield Level.WARN, full
