"""What a producer may do wrong, in the middle of what others do right."""

from contextlib import suppress

from tests import hostile, servers

from .lanes import CeleryLane
from .rig import Rig
from .scenarios import Bench, Skipped, scenario
from .world import Plan

SECONDS = 30  # of ordinary messages, at full scale
RATE = 60  # of them a second
BOUND = 6.0  # s from an ordinary report to its resend, which is due after one; a batch that waits for a lease takes longer
IN_LINE = b"another merchant\n9999999999\nnobody"  # while it stands there, all that is due has to line up
REPLY = "chaos"  # names the list on which each bad entry is told its outcome
NO_OUTCOME = ("handed_over", "escalated", "dead_letters_cut")  # among the counters
LENGTHS = range(1, 1 << 20)  # bytes of a report that a task of this row holds
SOUND = Plan(sends=1, ends="delivered")


@scenario("the worst inputs, beside ordinary ones", times=1000)
def worst_inputs(bench: Bench) -> None:
    """Each ordinary message leaves in time, each bad one is accepted or a dead letter, and the worker lives on."""
    with servers.plain(bench.folder / "store") as server, bench.rig(server.url) as rig:
        worker = rig.ready(rig.worker())
        rig.history.add("bound", seconds=BOUND)
        rig.client.zadd(rig.store.keys.fixed("ready"), {IN_LINE: 0})
        loading = rig.load(seconds=SECONDS * bench.scale, rate=RATE)
        with rig.fault("the worst inputs"):
            rig.pause(0.5, 1.0)
            _plant(rig)
            _with_bad_tokens(rig)
            count = _report(rig, share=bench.scale)
        loading.join()
        with suppress(AssertionError):  # the checker says what is still there
            rig.until(lambda: sum(_lag(rig)) == 0 and not _stuck(rig), "all is taken in and set aside")
        for answer in rig.store.events.wait_replies(REPLY, count=count, seconds=1):
            rig.history.add("answered", entry=answer["entry"], outcome=answer["outcome"])
        _take_out(rig)
        bench.facts["bad entries"] = count
        rig.settle()
        assert worker.is_alive, f"the worker has ended with {worker.code}: {worker.log[-2000:]}"


@scenario("the worst inputs as Celery tasks, beside ordinary ones", times=1000)
def worst_tasks(bench: Bench) -> None:
    """The same by RabbitMQ, as far as a task can hold them; here as many outcomes as tasks must be there."""
    if not bench.amqp:
        raise Skipped("SOFTBOUNCE_TEST_AMQP_URL names no RabbitMQ")
    lane, other = (CeleryLane(bench.amqp, intake="softbounce-worst") for _ in range(2))
    lane.clear()
    with (
        servers.plain(bench.folder / "store") as server,
        bench.rig(server.url, namespace="worst", intake=lane, sink=lane) as rig,
    ):
        worker = rig.ready(rig.worker())
        loading = rig.load(seconds=SECONDS * bench.scale, rate=RATE / 2)
        names = []
        with rig.fault("the worst inputs"):
            for bad in _chosen(rig, share=bench.scale):
                raws = [
                    fields[b"event"] for fields in bad.entries if len(fields.get(b"event", b"")) in LENGTHS
                ]
                names += [bad.name] * other.publish(raws)
                rig.pause(0, 0.02)
        loading.join()
        rig.settle()
        counters = rig.client.hgetall(rig.store.keys.fixed("counters"))
        outcomes = sum(int(count) for name, count in counters.items() if name not in NO_OUTCOME)
        for number, name in enumerate(names):
            rig.history.add("bad", name=name, entry=f"{number}")
            if outcomes >= rig.told + len(names):
                rig.history.add("answered", entry=f"{number}", outcome="one of them")
        bench.facts["bad tasks"] = len(names)
        assert worker.is_alive, f"the worker has ended with {worker.code}: {worker.log[-2000:]}"


def _chosen(rig: Rig, *, share: float) -> list[hostile.Bad]:
    """Return bad inputs in an order that only the seed knows, and say that anything may become of their messages."""
    inputs = list(hostile.inputs(share=share))
    rig.rng.shuffle(inputs)
    inputs = inputs[: max(1, round(len(inputs) * share))]
    for bad in inputs:
        for ref in (bad.reference, f"{bad.reference}-other"):
            rig.history.add("fate", ref=ref, to="", sends=0, ends="any", code="")
    return inputs


def _report(rig: Rig, *, share: float) -> int:
    """Add every bad input, in an order that only the seed knows; return how many entries."""
    inputs, count = _chosen(rig, share=share), 0
    for bad in inputs:
        for fields in bad.entries:
            entry = rig.add(bad.reference, {**fields, b"reply": REPLY.encode()})
            rig.history.add("bad", name=bad.name, entry=entry)
            count += 1
        rig.pause(0, 1.4 * SECONDS * share / len(inputs))
    return count


def _with_bad_tokens(rig: Rig) -> None:
    """Report ordinary messages whose entries ask for a reply in a bad place."""
    rig.client.set(rig.store.keys.reply(hostile.TAKEN.decode()), "no list", ex=600)
    for _, token in hostile.tokens():
        ref, plan, to, (raw,) = rig.world.message(SOUND)
        rig.history.add("fate", ref=ref, to=to, sends=plan.sends, ends=plan.ends, code=plan.code)
        rig.add(ref, {b"event": raw, b"reply": token})


def _plant(rig: Rig) -> None:
    """Write records that are none into the store, and one of a newer release; all of them are due."""
    deadline = rig.store.now() // 1000 + 86_400
    newer = ("of a newer release", *hostile.newer(deadline=deadline))
    rig.history.add(
        "fate", ref="r", to="", sends=0, ends="any", code=""
    )  # the message that some of them speak of
    for _, ident, raw in (newer, *hostile.records(deadline=deadline)):
        rig.planted.add(ident)
        rig.client.hset(rig.store.keys.fixed("deliveries"), ident, raw)  # type: ignore[arg-type]
        rig.client.zadd(rig.store.keys.fixed("schedule"), {ident: rig.store.now()})


def _take_out(rig: Rig) -> None:
    """Note which of the planted ones stand in the schedule still, and take them out: only the newer one should."""
    newest, _ = hostile.newer(deadline=0)
    names = {ident: name for name, ident, _ in hostile.records(deadline=0)} | {newest: "of a newer release"}
    scheduled = _stuck(rig) | {newest} if _is_scheduled(rig, newest) else _stuck(rig)
    for ident, name in names.items():
        rig.history.add("planted", name=name, wanted=ident == newest, scheduled=ident in scheduled)
        rig.client.zrem(rig.store.keys.fixed("schedule"), ident)
    for place in _line(rig):
        if place == IN_LINE or place.rpartition(b"\n")[2] in names:
            rig.client.zrem(rig.store.keys.fixed("ready"), place)


def _stuck(rig: Rig) -> set[bytes]:
    """Return what is scheduled, or in line, though it is no record."""
    newest, _ = hostile.newer(deadline=0)
    in_line = {place.rpartition(b"\n")[2] for place in _line(rig)}
    return {ident for ident in rig.planted - {newest} if ident in in_line or _is_scheduled(rig, ident)}


def _is_scheduled(rig: Rig, ident: bytes) -> bool:
    return rig.client.zscore(rig.store.keys.fixed("schedule"), ident) is not None  # type: ignore[arg-type]


def _line(rig: Rig) -> list[bytes]:
    with servers.client_of(rig.url, socket_timeout=10) as client:
        return client.zrange(rig.store.keys.fixed("ready"), 0, -1)  # type: ignore[return-value]


def _lag(rig: Rig) -> tuple[int, int]:
    lag = rig.store.events.lag()
    return lag.unread, lag.pending
