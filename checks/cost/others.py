"""The other scripts, with the largest batches that their callers send."""

from collections.abc import Sequence

from softbounce.store import Finish, Store
from softbounce.store.audit import By
from softbounce.store.limits import HANDOVER_BATCH

from .kinds import OTHER, SHIPPED, Call, client_of, due, kind, take
from .reports import HOUR, NOW, label, large_people, people, report, retried


def _leases(store: Store, raws: Sequence[bytes]) -> list[Finish]:
    due(store, raws)
    leases = store.ledger.claim(
        policy=SHIPPED.current, limit=HANDOVER_BATCH, lease=30_000, soon=100_000
    ).leases
    return [
        Finish(delivery=one.delivery.id, token=one.token, result="handed_over", note="s") for one in leases
    ]


def _finished(results: list[Finish]) -> Call:
    return Call(items=len(results), run=lambda store: store.ledger.finish(results, policy=SHIPPED.current))


@kind(OTHER, "finish: ordinary")
def _finish(store: Store) -> Call:
    return _finished(_leases(store, retried(500)))


@kind(OTHER, "finish: 100 large recipients")
def _finish_several(store: Store) -> Call:
    return _finished(_leases(store, [report(to=large_people()) for _ in range(500)]))


@kind(OTHER, "finish: 500 recipients of one message")
def _finish_one(store: Store) -> Call:
    return _finished(_leases(store, [report(reference="m", to=[one]) for one in people(500)]))


@kind(OTHER, "finish: 500 recipients of one message with large labels")
def _finish_one_large(store: Store) -> Call:
    return _finished(_leases(store, [report(reference="m", to=[one], large=True) for one in people(500)]))


@kind(OTHER, "notices_claim: ordinary")
def _notices(store: Store) -> Call:
    take(store, [report(code="PLACEHOLDER_ERROR", kind="RENDER_ERROR") for _ in range(500)])
    return Call(items=500, run=lambda store: store.notices.claim(limit=500, lease=30_000))


@kind(OTHER, "notices_claim: 100 large recipients")
def _notices_large(store: Store) -> Call:
    take(
        store, [report(code="PLACEHOLDER_ERROR", kind="RENDER_ERROR", to=large_people()) for _ in range(500)]
    )
    return Call(items=500, run=lambda store: store.notices.claim(limit=500, lease=30_000))


@kind(OTHER, "notices_claim: groups of large names, five large samples each")
def _groups(store: Store) -> Call:
    _escalations(store)
    finish_notices(store)
    store.set_now(NOW + HOUR)
    return Call(items=60, run=lambda store: store.notices.claim(limit=500, lease=30_000))


def _escalations(store: Store) -> None:
    for n in range(60):
        for day in (15, 17, 19):
            take(
                store,
                [
                    report(
                        reference=f"{day}{label(n)}",
                        to=[one],
                        code="BOUNCE_TRANSIENT_GENERAL",
                        date=f"2026-11-{day}T10:00:00Z",
                        claim={"merchantId": label(n)},
                    )
                    for one in people(5, first=5 * n)
                ],
            )


def finish_notices(store: Store) -> None:
    """Finish all notices, to make groups of them."""
    while notices := [one for one in store.notices.claim(limit=500, lease=30_000) if not one.told]:
        store.notices.finish(notices, people=SHIPPED.current.grouping)


@kind(OTHER, "notices_finish: groups of large names")
def _notices_finish(store: Store) -> Call:
    _escalations(store)
    notices = store.notices.claim(limit=500, lease=30_000)
    return Call(
        items=len(notices), run=lambda store: store.notices.finish(notices, people=SHIPPED.current.grouping)
    )


@kind(OTHER, "sweep: 100 ordinary deliveries that have ended")
def _sweep(store: Store) -> Call:
    take(store, [report(code="DEADLINE_EXCEEDED") for _ in range(300)])
    store.set_now(NOW + 3000 * HOUR)
    return Call(items=300, run=lambda store: store.sweep(policy=SHIPPED.current, count=100))


@kind(OTHER, "sweep: deliveries that have ended, large labels, one reference")
def _sweep_large(store: Store) -> Call:
    take(store, [report(code="DEADLINE_EXCEEDED", reference="m", large=True) for _ in range(300)])
    store.set_now(NOW + 3000 * HOUR)
    return Call(items=300, run=lambda store: store.sweep(policy=SHIPPED.current, count=100))


@kind(OTHER, "sweep: dead letters of 64 KiB")
def _sweep_letters(store: Store) -> Call:
    take(store, [f"{n} ".encode() + b"x" * 65536 for n in range(300)], is_read=False)
    store.set_now(NOW + 3000 * HOUR)
    return Call(items=300, run=lambda store: store.sweep(policy=SHIPPED.current, count=100))


def _released(store: Store) -> Call:
    def run(store: Store) -> object:
        return store.cases.resolve(
            "k_1", how="release", by=By("x", "x"), policy=SHIPPED.current, first=NOW + HOUR, step=1
        )

    return Call(items=500, run=run)


@kind(OTHER, "resolve: ordinary")
def _resolve(store: Store) -> Call:
    take(store, [report(code="PLACEHOLDER_ERROR", claim={"merchantId": 1}) for _ in range(500)])
    return _released(store)


@kind(OTHER, "resolve: 500 recipients of one message with large labels")
def _resolve_one(store: Store) -> Call:
    take(
        store, [report(code="PLACEHOLDER_ERROR", reference="m", to=[one], large=True) for one in people(500)]
    )
    return _released(store)


@kind(OTHER, "resolve: 100 large recipients")
def _resolve_several(store: Store) -> Call:
    take(
        store,
        [report(code="PLACEHOLDER_ERROR", to=large_people(), claim={"merchantId": 1}) for _ in range(500)],
    )
    return _released(store)


@kind(OTHER, "reschedule: 500 recipients of one message with large labels")
def _reschedule(store: Store) -> Call:
    take(store, [report(reference="m", to=[one], large=True) for one in people(500)])
    ids = [one.decode() for one in client_of(store).hkeys(store.keys.fixed("deliveries"))]
    return Call(items=500, run=lambda store: store.retries.run_now(ids, by=By("x", "x")))


@kind(OTHER, "suppressions: 500 at once")
def _import(store: Store) -> Call:
    numbers = [f"+4915113{n:06}" for n in range(500)]
    rows = [{"channel": "sms", "address": one, "reason": "x" * 500} for one in numbers]

    def run(store: Store) -> object:
        return list(store.suppressions.load(rows, by=By("x", "x"), now=NOW))

    return Call(items=500, run=run)


@kind(OTHER, "incident: undo of 300 recipients of one message with large labels")
def _undo(store: Store) -> Call:
    take(
        store,
        [report(code="INVALID_EMAIL_ADDRESS", reference="m", to=[one], large=True) for one in people(300)],
    )
    name = next(
        name.decode()
        for name, raw in client_of(store).hgetall(store.keys.fixed("cases")).items()
        if b'"brake"' in raw
    )
    case, _ = store.cases.show(name)

    def run(store: Store) -> object:
        return list(store.incidents.settle(case, "undo"))

    return Call(items=300, run=run)


@kind(OTHER, "discard: 300 letters of 64 KiB")
def _discard(store: Store) -> Call:
    take(store, [f"{n} ".encode() + b"x" * 65536 for n in range(300)], is_read=False)
    ids = [one.decode() for one in client_of(store).hkeys(store.keys.fixed("dead_letters"))]
    return Call(items=300, run=lambda store: store.dead_letters.drop(ids, by=By("x", "x")))


@kind(OTHER, "forget: one recipient in 30 retries to 100 large ones")
def _forget(store: Store) -> Call:
    to = large_people()
    take(store, [report(to=to) for _ in range(30)])

    def run(store: Store) -> object:
        rid = store.suppressions.rid(to[0], "email")
        return store.erasure.erase(rid, streams={}, by=By("x", "x"), history_kept=HOUR)

    return Call(items=30, run=run)


@kind(OTHER, "sweep: deliveries that have ended, large labels, a message each")
def _sweep_lines(store: Store) -> Call:
    take(store, [report(code="DEADLINE_EXCEEDED", large=True) for _ in range(300)])
    store.set_now(NOW + 3000 * HOUR)
    return Call(items=300, run=lambda store: store.sweep(policy=SHIPPED.current, count=100))
