"""Kinds of reports, each about the worst of its sort: how its state is made, then what is measured."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from threading import Event

from msgspec import Struct
from softbounce.core import policy_file
from softbounce.core.policy import Policy
from softbounce.settings import policy_text
from softbounce.store import Caller, Finish, Store
from softbounce.worker import intake, pump
from softbounce.worker.reload import PolicyInForce

from .reports import HOUR, LABEL, NOW, label, letters, ordinary, people, report, retried

KEY = b"k" * 32


class Policies(PolicyInForce):
    """A policy that lets a whole batch leave at once: the shipped hand-over rate is less."""

    def __init__(self, *changes: tuple[str, str]) -> None:
        text = policy_text()[0]
        for old, new in (("handover_rate: 50/s", "handover_rate: 100000/s"), ("rate: 50/s", "rate: 100000/s"), *changes):
            assert old in text, old
            text = text.replace(old, new)
        self.current = policy_file.load(text, file="policy.yaml")


SHIPPED = Policies()


class Call(Struct, frozen=True, kw_only=True):
    """A step of the worker to be measured, and how many events or retries it is about."""

    items: int
    run: Callable[[Store], object]


Kind = Callable[[Store], Call]
ACCEPT: dict[str, Kind] = {}
CLAIM: dict[str, Kind] = {}
OTHER: dict[str, Kind] = {}


def kind(table: dict[str, Kind], name: str) -> Callable[[Kind], Kind]:
    """Enter a kind under the name that is printed."""

    def enter(function: Kind) -> Kind:
        table[name] = function
        return function

    return enter


def taken(raws: Sequence[bytes], policies: PolicyInForce = SHIPPED) -> Call:
    """Return that reports are taken in, as the worker does: in its batches, through ``Intake.take``."""

    def run(store: Store) -> object:
        return intake.Intake(store, policies, worker="w", lease=30_000, stopping=Event()).take(raws)

    return Call(items=len(raws), run=run)


def take(store: Store, raws: Sequence[bytes], policies: PolicyInForce = SHIPPED) -> None:
    """Take reports in now, to make a state."""
    taken(raws, policies).run(store)


@kind(ACCEPT, "ordinary failures")
def _ordinary(store: Store) -> Call:
    take(store, ordinary(1200))
    return taken(ordinary(300, first=1200))


@kind(ACCEPT, "large labels, one reference, one recipient")
def _one_delivery(store: Store) -> Call:
    take(store, [report(reference="m", to=["a@example.com"], large=True) for _ in range(250)])
    return taken([report(reference="m", to=["a@example.com"], large=True) for _ in range(300)])


@kind(ACCEPT, "large labels, one reference, many recipients")
def _one_message(store: Store) -> Call:
    take(store, [report(reference="m", large=True) for _ in range(250)])
    return taken([report(reference="m", large=True) for _ in range(300)])


@kind(ACCEPT, "large labels, each a message of its own")
def _large(store: Store) -> Call:
    return taken([report(large=True) for _ in range(300)])


@kind(ACCEPT, "large labels, each a case of its own")
def _cases(store: Store) -> Call:
    return taken([report(large=True, code=None, sent={"error": {"type": label(n), "reasonCode": label(n), "details": {"snippets": [label(n)]}}}) for n in range(300)])


@kind(ACCEPT, "small reports, one reference and recipient, 5,000 before")
def _again(store: Store) -> Call:
    take(store, [report(reference="m", to=["a@example.com"]) for _ in range(5000)])
    return taken([report(reference="m", to=["a@example.com"]) for _ in range(300)])


@kind(ACCEPT, "small reports, one reference, many recipients, 5,000 before")
def _again_others(store: Store) -> Call:
    take(store, [report(reference="m") for _ in range(5000)])
    return taken([report(reference="m") for _ in range(300)])


@kind(ACCEPT, "100 recipients of 2.5 KB each")
def _several(store: Store) -> Call:
    return taken([report(to=letters(2480)) for _ in range(300)])


@kind(ACCEPT, "100 recipients of 2.5 KB each, one reference")
def _several_again(store: Store) -> Call:
    to = letters(2480)
    take(store, [report(reference="m", to=to) for _ in range(210)])
    return taken([report(reference="m", to=to) for _ in range(300)])


@kind(ACCEPT, "100 small recipients")
def _several_small(store: Store) -> Call:
    return taken([report(to=people()) for _ in range(300)])


@kind(ACCEPT, "100 small recipients who all have it already")
def _several_arrived(store: Store) -> Call:
    for n in range(0, 300, 3):
        take(store, [report(reference=f"m{m}", to=[one], delivered=True) for m in range(n, n + 3) for one in people()])
    return taken([report(reference=f"m{m}", to=people()) for m in range(300)])


@kind(ACCEPT, "100 unreadable recipients")
def _unreadable(store: Store) -> Call:
    return taken([report(to=["?"] * 99 + ["!"]) for _ in range(300)])


@kind(ACCEPT, "bare reports, a reference with 200 recipients, once")
def _bare(store: Store) -> Call:
    take(store, [report(reference="m", to=[one]) for one in people(200)])
    return taken([report(reference="m", to=["?", "!"], code=None) for _ in range(300)])


@kind(ACCEPT, "bare reports, a reference with 200 recipients, each alone")
def _bare_each(store: Store) -> Call:
    raws = []
    for m in range(20):
        take(store, [report(reference=f"m{m}", to=[one]) for one in people(200)])
        raws += [report(reference=f"m{m}", to=[], code=None) for _ in range(15)]
    return taken(raws)


@kind(ACCEPT, "bare reports, 200 recipients with large labels")
def _bare_large(store: Store) -> Call:
    take(store, [report(reference="m", to=[one], large=True) for one in people(200)])
    return taken([report(reference="m", to=[], code=None) for _ in range(300)])


@kind(ACCEPT, "bare reports, 200 lines of one delivery of 200 events")
def _bare_marks(store: Store) -> Call:
    take(store, [report(reference="m", to=letters(2000)) for _ in range(200)])
    return taken([report(reference="m", to=[], code=None) for _ in range(300)])


@kind(ACCEPT, "delivered, no recipient, one reference of 200 recipients")
def _arrived_whole(store: Store) -> Call:
    take(store, [report(reference="m", to=[one]) for one in people(200)])
    return taken([report(reference="m", to=[], delivered=True) for _ in range(300)])


@kind(ACCEPT, "delivered, 100 recipients named")
def _arrived_named(store: Store) -> Call:
    return taken([report(to=people(), delivered=True) for _ in range(300)])


@kind(ACCEPT, "delivered, each ends a retry of one message with large labels")
def _arrived_each(store: Store) -> Call:
    take(store, [report(reference="m", to=[one], large=True) for one in people(300)])
    return taken([report(reference="m", to=[one], delivered=True, large=True) for one in people(300)])


@kind(ACCEPT, "delivered, one recipient with 32 soft bounces and 32 reports of two codes")
def _arrived_standing(store: Store) -> Call:
    _standing(store)
    return taken([report(to=["a@example.com"], delivered=True) for _ in range(300)])


def _standing(store: Store) -> None:
    for code in ("BOUNCE_TRANSIENT_GENERAL", "SMS_NOT_DELIVERED", "SMS_REJECTED"):
        take(store, [report(to=["a@example.com"], code=code, date=f"2026-11-{20 - n // 24:02}T{n % 24 // 2:02}:00:00Z") for n in range(40)])


@kind(ACCEPT, "soft bounces of one recipient that has 32, out of order")
def _soft(store: Store) -> Call:
    _standing(store)
    return taken([report(to=["a@example.com"], code="BOUNCE_TRANSIENT_GENERAL", date=f"2026-11-{1 + n % 19:02}T10:{n % 60:02}:00Z") for n in range(300)])


@kind(ACCEPT, "reports of one recipient to be confirmed, which has 32")
def _confirm(store: Store) -> Call:
    _standing(store)
    return taken([report(to=["a@example.com"], code="SMS_NOT_DELIVERED", date=f"2026-11-20T10:{n % 60:02}:00Z") for n in range(300)])


@kind(ACCEPT, "suppressions, each alone")
def _suppressed(store: Store) -> Call:
    return taken([report(code="INVALID_EMAIL_ADDRESS", kind="CONTACT_ERROR", large=True) for _ in range(300)])


@kind(ACCEPT, "suppressions of one recipient, large event ids")
def _suppressed_again(store: Store) -> Call:
    take(store, [report(to=["a@example.com"], code="INVALID_EMAIL_ADDRESS", large=True) for _ in range(10)])
    return taken([report(to=["a@example.com"], code="INVALID_EMAIL_ADDRESS", large=True) for _ in range(300)])


@kind(ACCEPT, "suppressions, each a brake group of its own with a large code")
def _brakes(store: Store) -> Call:
    return taken([report(code=f"BOUNCE_PERMANENT_{n}{LABEL}"[:512], large=True) for n in range(300)])


@kind(ACCEPT, "suppressions of an open incident")
def _incident(store: Store) -> Call:
    take(store, [report(code="INVALID_EMAIL_ADDRESS") for _ in range(300)])
    return taken([report(code="INVALID_EMAIL_ADDRESS", large=True) for _ in range(300)])


@kind(ACCEPT, "dead letters of 64 KiB")
def _letters(store: Store) -> Call:
    return taken([f"{n} ".encode() + b"x" * 65536 for n in range(300)])


@kind(ACCEPT, "dead letters of 64 KiB that come again")
def _letters_again(store: Store) -> Call:
    raws = [f"{n} ".encode() + b"x" * 65536 for n in range(300)]
    take(store, raws)
    return taken(raws)


@kind(ACCEPT, "duplicates of 256 KB with 100 recipients")
def _duplicates(store: Store) -> Call:
    raws = [report(to=letters(2480)) for _ in range(100)]
    take(store, raws)
    return taken(raws * 3)


@kind(ACCEPT, "failures of resends that a breaker counts, 1,000 answers")
def _answers(store: Store) -> Call:
    policies = Policies(("of_last: 100", "of_last: 1000"), ("least: 20", "least: 1000"))
    raws = [report(reference=f"m{n}", to=[one], claim={"merchantId": 1}) for n, one in enumerate(people(1500))]
    take(store, raws, policies)
    store.set_now(NOW + HOUR)
    hand_over(store, policies.current, 1500)
    again = [report(reference=f"m{n}", to=[one], claim={"merchantId": 1}, date="2026-11-20T16:10:00Z") for n, one in enumerate(people(1500))]
    store.set_now(NOW + 2 * HOUR)
    take(store, again[:1200], policies)
    return taken(again[1200:], policies)


@kind(ACCEPT, "ordinary failures, 10 million deliveries known of both generations")
def _after_many(store: Store) -> Call:
    meta = store.keys.fixed("meta")
    store._client.hset(meta, mapping={"delivered": 10_000_000, "delivered_before": 10_000_000, "delivered_since": NOW})
    return taken(ordinary(300))


@kind(ACCEPT, "100 small recipients, 10 million deliveries known of both generations")
def _several_after_many(store: Store) -> Call:
    meta = store.keys.fixed("meta")
    store._client.hset(meta, mapping={"delivered": 10_000_000, "delivered_before": 10_000_000, "delivered_since": NOW})
    return taken([report(to=people()) for _ in range(300)])


# ---- claims

_callers = count(1)


def hand_over(store: Store, policy: Policy, many: int) -> None:
    """Claim so many and finish them, to make a state."""
    left = many
    while left > 0:
        leases = store.ledger.claim(policy=policy, limit=pump.BATCH, lease=30_000, soon=100_000).leases
        assert leases, left
        store.ledger.finish([Finish(delivery=one.delivery.id, token=one.token, result="handed_over", note="s") for one in leases], policy=policy)
        left -= len(leases)


def claimed(items: int, policies: PolicyInForce = SHIPPED, *, soon: int = 100_000, turns: int = 1) -> Call:
    """Return that so many are claimed, in as many claims as it takes; at most ten."""

    def run(store: Store) -> object:
        answers = []
        for n in range(1, 10):
            answers.append(store.ledger.claim(policy=policies.current, limit=pump.BATCH, lease=30_000, soon=soon, caller=Caller(name="p", claim=n, answered=n - 1)))
            left = store._client.zcount(store.keys.fixed("schedule"), "-inf", store.now()) + store._client.zcard(store.keys.fixed("ready"))
            if not left:
                break
        return answers

    return Call(items=items, run=run)


def due(store: Store, raws: Sequence[bytes], *, policies: PolicyInForce = SHIPPED, hours: int = 10) -> None:
    """Take reports in and let the time come at which all of them are due."""
    take(store, raws, policies)
    store.set_now(NOW + hours * HOUR)
    left = store._client.zcount(store.keys.fixed("schedule"), "-inf", store.now())
    assert left == store._client.zcard(store.keys.fixed("schedule")) >= 100, left


def fields(store: Store, target: str, entries: dict[str, object]) -> None:
    """Write what people's commands write."""
    store.control.mark(target, entries, action="x", what="x", reason="x", actor="x")


@kind(CLAIM, "ordinary retries")
def _claim(store: Store) -> Call:
    due(store, retried(500))
    return claimed(500)


@kind(CLAIM, "ordinary retries, merchants in turn")
def _claim_line(store: Store) -> Call:
    due(store, retried(999))
    return claimed(999, soon=1)


@kind(CLAIM, "large labels")
def _claim_large(store: Store) -> Call:
    due(store, [report(large=True) for _ in range(500)])
    return claimed(500)


@kind(CLAIM, "large labels, merchants in turn")
def _claim_large_line(store: Store) -> Call:
    due(store, [report(large=True, claim={"merchantId": label(n)}) for n in range(999)])
    return claimed(999, soon=1)


@kind(CLAIM, "100 recipients of 2.5 KB each")
def _claim_several(store: Store) -> Call:
    due(store, [report(to=letters(2480)) for _ in range(500)])
    return claimed(500)


@kind(CLAIM, "100 recipients of 2.5 KB each, merchants in turn")
def _claim_several_line(store: Store) -> Call:
    due(store, [report(to=letters(2480)) for _ in range(500)])
    return claimed(500, soon=1)


@kind(CLAIM, "100 small recipients")
def _claim_small(store: Store) -> Call:
    due(store, [report(to=people()) for _ in range(500)])
    return claimed(500)


@kind(CLAIM, "100 recipients, each with a retry of its own with large labels")
def _claim_singles(store: Store) -> Call:
    for m in range(10):
        take(store, [report(reference=f"m{m}", to=[one], large=True) for one in people()])
    raws = [report(reference=f"m{m}", to=people(), channel=channel) for m in range(10) for channel in ("EMAIL",)]
    due(store, raws)
    return claimed(1010)


@kind(CLAIM, "100 recipients, pauses and caps")
def _claim_paused_several(store: Store) -> Call:
    due(store, [report(to=people()) for _ in range(500)])
    rids = [store.suppressions.rid(one, "email") for one in people()]
    fields(store, "pauses", {f"recipient:{rid}": {"z": NOW} for rid in rids})
    times = [NOW // 1000 + n for n in range(5)]
    fields(store, "sent", {f"recipient:{rid}": {"at": times, "z": NOW + 100 * HOUR} for rid in rids})
    return claimed(500)


@kind(CLAIM, "100 recipients, 99 of them suppressed")
def _claim_suppressed_several(store: Store) -> Call:
    due(store, [report(to=letters(2480) [:1] + people(99)) for _ in range(500)])
    rids = [store.suppressions.rid(one, "email") for one in people()]
    fields(store, "suppressions", {rid: {"at": NOW, "code": "X", "origin": "manual", "evidence": []} for rid in rids})
    return claimed(500)


@kind(CLAIM, "all paused")
def _claim_paused(store: Store) -> Call:
    due(store, retried(500))
    fields(store, "pauses", {f"channel:{one}": {"z": NOW + 100 * HOUR} for one in ("sms", "email")})
    return claimed(500)


@kind(CLAIM, "1,000 merchants in turn, all paused")
def _claim_merchants_paused(store: Store) -> Call:
    due(store, [report(claim={"merchantId": n}) for n in range(1999)])
    fields(store, "pauses", {f"channel:{one}": {"z": NOW + 100 * HOUR} for one in ("sms", "email")})
    return claimed(1999, soon=1)


@kind(CLAIM, "1,000 merchants in turn, each with a mode of its own, off")
def _claim_merchants_off(store: Store) -> Call:
    due(store, [report(claim={"merchantId": n}) for n in range(1999)])
    fields(store, "modes", {f"{n}": {"mode": "off", "at": NOW} for n in range(1999)})
    return claimed(1999, soon=1)


@kind(CLAIM, "all suppressed")
def _claim_suppressed(store: Store) -> Call:
    due(store, [report(to=["a@example.com"]) for n in range(500)])
    fields(store, "suppressions", {store.suppressions.rid("a@example.com", "email"): {"at": NOW, "code": "X", "origin": "manual", "evidence": []}})
    return claimed(500)


@kind(CLAIM, "all suppressed, 500 recipients of one message with large labels")
def _claim_one_message(store: Store) -> Call:
    due(store, [report(reference="m", to=[one], large=True) for one in people(500)])
    fields(store, "suppressions", {store.suppressions.rid(one, "email"): {"at": NOW, "code": "X", "origin": "manual", "evidence": []} for one in people(500)})
    return claimed(500)


@kind(CLAIM, "all suppressed, 500 recipients of one message")
def _claim_one_message_small(store: Store) -> Call:
    due(store, [report(reference="m", to=[one]) for one in people(500)])
    fields(store, "suppressions", {store.suppressions.rid(one, "email"): {"at": NOW, "code": "X", "origin": "manual", "evidence": []} for one in people(500)})
    return claimed(500)


@kind(CLAIM, "all arrived: delivered without recipient, 500 recipients of one message")
def _claim_arrived(store: Store) -> Call:
    due(store, [report(reference="m", to=[one]) for one in people(500)])
    take(store, [report(reference="m", to=[], delivered=True)])
    return claimed(500)


@kind(CLAIM, "all cancelled")
def _claim_cancelled(store: Store) -> Call:
    due(store, [report(claim={"merchantId": 1}) for _ in range(500)])
    store.control.cancel("merchant", "1", reason="x", actor="x", now=store.now())
    return claimed(500)


@kind(CLAIM, "all too late, large labels, each a case of its own")
def _claim_too_late(store: Store) -> Call:
    take(store, [report(large=True, claim={"merchantId": label(n)}) for n in range(500)])
    store.set_now(NOW + 200 * HOUR)
    return claimed(500)


@kind(CLAIM, "all capped, one claim")
def _claim_capped(store: Store) -> Call:
    due(store, [report(claim={"id": 1}) for _ in range(500)])
    return claimed(500)


@kind(CLAIM, "a cap of 1,000 a recipient and claim, 900 of them used")
def _claim_many_times(store: Store) -> Call:
    policies = Policies(("resends_per_recipient: 6/1d", "resends_per_recipient: 1000/1d"), ("resends_per_claim: 12/7d", "resends_per_claim: 1000/7d"))
    due(store, [report(to=[one]) for one in people(500)], policies=policies)
    times = [NOW // 1000 + n for n in range(900)]
    fields(store, "sent", {f"recipient:{store.suppressions.rid(one, 'email')}": {"at": times, "z": NOW + 100 * HOUR} for one in people(500)})
    return claimed(500, policies)


@kind(CLAIM, "mode observe")
def _claim_observed(store: Store) -> Call:
    due(store, retried(500))
    store.control.set_mode("observe", reason="x", actor="x", now=NOW)
    return claimed(500)


@kind(CLAIM, "the answer of the claim before was lost")
def _claim_lost(store: Store) -> Call:
    due(store, retried(1000))
    claimed(500).run
    store.ledger.claim(policy=SHIPPED.current, limit=500, lease=30_000, soon=100_000, caller=Caller(name="q", claim=1, answered=0))

    def run(store: Store) -> object:
        return store.ledger.claim(policy=SHIPPED.current, limit=500, lease=30_000, soon=100_000, caller=Caller(name="q", claim=2, answered=0))

    return Call(items=500, run=run)


@kind(CLAIM, "500 providers with large names, all open")
def _claim_breakers(store: Store) -> Call:
    due(store, [report(sent={"provider": label(n)}) for n in range(500)])
    answers = "+1795000000" * 100
    for n in range(500):
        store._client.hset(store.keys.fixed("breakers"), label(n), f'{{"s":"open","u":{NOW + 5 * HOUR},"n":1,"c":{NOW},"z":{NOW + 100 * HOUR}}}\n{answers}')
    return claimed(500)


@kind(CLAIM, "one provider that is open, 1,000 answers, silence is good")
def _claim_silence(store: Store) -> Call:
    policies = Policies(("feedback: delivered", "feedback: none"), ("of_last: 100", "of_last: 1000"))
    due(store, [report(claim={"merchantId": 1}) for _ in range(1500)], policies=policies)
    hand_over(store, policies.current, 1000)
    return claimed(500, policies)


# ---- the rest


def _leases(store: Store, raws: Sequence[bytes]) -> list[Finish]:
    due(store, raws)
    leases = store.ledger.claim(policy=SHIPPED.current, limit=pump.BATCH, lease=30_000, soon=100_000).leases
    return [Finish(delivery=one.delivery.id, token=one.token, result="handed_over", note="s") for one in leases]


def _finished(results: list[Finish]) -> Call:
    return Call(items=len(results), run=lambda store: store.ledger.finish(results, policy=SHIPPED.current))


@kind(OTHER, "finish: ordinary")
def _finish(store: Store) -> Call:
    return _finished(_leases(store, retried(500)))


@kind(OTHER, "finish: 100 recipients of 2.5 KB each")
def _finish_several(store: Store) -> Call:
    return _finished(_leases(store, [report(to=letters(2480)) for _ in range(500)]))


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


@kind(OTHER, "notices_claim: 100 recipients of 2.5 KB each")
def _notices_large(store: Store) -> Call:
    take(store, [report(code="PLACEHOLDER_ERROR", kind="RENDER_ERROR", to=letters(2480)) for _ in range(500)])
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
            take(store, [report(reference=f"{day}{label(n)}", to=[one], code="BOUNCE_TRANSIENT_GENERAL", date=f"2026-11-{day}T10:00:00Z", claim={"merchantId": label(n)}) for one in people(5, first=5 * n)])


def finish_notices(store: Store) -> None:
    """Finish all notices, to make groups of them."""
    while notices := [one for one in store.notices.claim(limit=500, lease=30_000) if not one.told]:
        store.notices.finish(notices, people=SHIPPED.current.grouping)


@kind(OTHER, "notices_finish: groups of large names")
def _notices_finish(store: Store) -> Call:
    _escalations(store)
    notices = store.notices.claim(limit=500, lease=30_000)
    return Call(items=len(notices), run=lambda store: store.notices.finish(notices, people=SHIPPED.current.grouping))


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
    take(store, [f"{n} ".encode() + b"x" * 65536 for n in range(300)])
    store.set_now(NOW + 3000 * HOUR)
    return Call(items=300, run=lambda store: store.sweep(policy=SHIPPED.current, count=100))


def _released(store: Store) -> Call:
    def run(store: Store) -> object:
        return store.cases.resolve("k_1", how="release", reason="x", actor="x", policy=SHIPPED.current, first=NOW + HOUR, step=1)

    return Call(items=500, run=run)


@kind(OTHER, "resolve: ordinary")
def _resolve(store: Store) -> Call:
    take(store, [report(code="PLACEHOLDER_ERROR", claim={"merchantId": 1}) for _ in range(500)])
    return _released(store)


@kind(OTHER, "resolve: 500 recipients of one message with large labels")
def _resolve_one(store: Store) -> Call:
    take(store, [report(code="PLACEHOLDER_ERROR", reference="m", to=[one], large=True) for one in people(500)])
    return _released(store)


@kind(OTHER, "resolve: 100 recipients of 2.5 KB each")
def _resolve_several(store: Store) -> Call:
    take(store, [report(code="PLACEHOLDER_ERROR", to=letters(2480), claim={"merchantId": 1}) for _ in range(500)])
    return _released(store)


@kind(OTHER, "reschedule: 500 recipients of one message with large labels")
def _reschedule(store: Store) -> Call:
    take(store, [report(reference="m", to=[one], large=True) for one in people(500)])
    ids = [one.decode() for one in store._client.hkeys(store.keys.fixed("deliveries"))]
    return Call(items=500, run=lambda store: store.retries.run_now(ids, reason="x", actor="x"))


@kind(OTHER, "mark: 500 suppressions at once")
def _mark(store: Store) -> Call:
    entry = {"at": NOW, "code": "X", "origin": "manual", "evidence": [], "reason": "x" * 500, "address": "x" * 200}
    return Call(items=500, run=lambda store: fields(store, "suppressions", {f"{n}": entry for n in range(500)}))


@kind(OTHER, "incident: undo of 200 with large labels")
def _undo(store: Store) -> Call:
    take(store, [report(code="INVALID_EMAIL_ADDRESS", reference="m", to=[one], large=True) for one in people(300)])
    ids = [one.decode() for one in store._client.hkeys(store.keys.fixed("suppressions"))][:200]
    name = next(name.decode() for name, raw in store._client.hgetall(store.keys.fixed("cases")).items() if b'"brake"' in raw)
    case, _ = store.cases.show(name)

    def run(store: Store) -> object:
        return store.incidents._settle(store._client, store.keys, [case.id, "undo", *ids])

    return Call(items=200, run=run)


@kind(OTHER, "discard: 300 letters of 64 KiB")
def _discard(store: Store) -> Call:
    take(store, [f"{n} ".encode() + b"x" * 65536 for n in range(300)])
    ids = [one.decode() for one in store._client.hkeys(store.keys.fixed("dead_letters"))]
    words = [word for one in ids for word in (one, "")]

    def run(store: Store) -> object:
        return store.dead_letters._discard(store._client, store.keys, ['{"actor":"x"}', *words])

    return Call(items=300, run=run)


@kind(OTHER, "forget: one recipient in 500 retries to 100 of 2.5 KB each")
def _forget(store: Store) -> Call:
    to = letters(2480)
    take(store, [report(to=to) for _ in range(300)])

    def run(store: Store) -> object:
        rid = store.suppressions.rid(to[0], "email")
        return store.erasure.erase(rid, streams={}, reason="x", actor="x", history_kept=HOUR)

    return Call(items=300, run=run)


@kind(OTHER, "sweep: deliveries that have ended, large labels, a message each")
def _sweep_lines(store: Store) -> Call:
    take(store, [report(code="DEADLINE_EXCEEDED", large=True) for _ in range(300)])
    store.set_now(NOW + 3000 * HOUR)
    return Call(items=300, run=lambda store: store.sweep(policy=SHIPPED.current, count=100))
