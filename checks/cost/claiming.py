"""Retries that are due, each kind about the worst of its sort."""

from softbounce.store import Caller, Store
from softbounce.store.audit import By

from .kinds import CLAIM, SHIPPED, Call, Policies, claimed, client_of, due, fields, hand_over, kind, take
from .reports import HOUR, NOW, label, large_people, people, report, retried

MANY = 150  # retries of a hundred recipients each: more than one claim may take


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


@kind(CLAIM, "100 large recipients")
def _claim_several(store: Store) -> Call:
    due(store, [report(to=large_people()) for _ in range(MANY)])
    return claimed(MANY)


@kind(CLAIM, "100 large recipients, merchants in turn")
def _claim_several_line(store: Store) -> Call:
    due(store, [report(to=large_people()) for _ in range(MANY)])
    return claimed(MANY, soon=1)


@kind(CLAIM, "100 small recipients")
def _claim_small(store: Store) -> Call:
    due(store, [report(to=people()) for _ in range(MANY)])
    return claimed(MANY)


@kind(CLAIM, "100 recipients, each with a retry of its own with large labels")
def _claim_singles(store: Store) -> Call:
    for m in range(10):
        take(store, [report(reference=f"m{m}", to=[one], large=True) for one in people()])
    due(store, [report(reference=f"m{m}", to=people()) for m in range(10)])
    return claimed(1010)


@kind(CLAIM, "100 recipients, pauses and caps")
def _claim_paused_several(store: Store) -> Call:
    due(store, [report(to=people()) for _ in range(MANY)])
    rids = [store.suppressions.rid(one, "email") for one in people()]
    fields(store, "pauses", {f"recipient:{rid}": {"z": NOW} for rid in rids})
    times = [NOW // 1000 + n for n in range(5)]
    fields(store, "sent", {f"recipient:{rid}": {"at": times, "z": NOW + 100 * HOUR} for rid in rids})
    return claimed(MANY)


@kind(CLAIM, "100 recipients, 99 of them suppressed")
def _claim_suppressed_several(store: Store) -> Call:
    due(store, [report(to=large_people()[:1] + people(99)) for _ in range(MANY)])
    rids = [store.suppressions.rid(one, "email") for one in people()]
    fields(
        store,
        "suppressions",
        {rid: {"at": NOW, "code": "X", "origin": "manual", "evidence": []} for rid in rids},
    )
    return claimed(MANY)


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
    fields(
        store,
        "suppressions",
        {
            store.suppressions.rid("a@example.com", "email"): {
                "at": NOW,
                "code": "X",
                "origin": "manual",
                "evidence": [],
            }
        },
    )
    return claimed(500)


@kind(CLAIM, "all suppressed, 500 recipients of one message with large labels")
def _claim_one_message(store: Store) -> Call:
    due(store, [report(reference="m", to=[one], large=True) for one in people(500)])
    fields(
        store,
        "suppressions",
        {
            store.suppressions.rid(one, "email"): {"at": NOW, "code": "X", "origin": "manual", "evidence": []}
            for one in people(500)
        },
    )
    return claimed(500)


@kind(CLAIM, "all suppressed, 500 recipients of one message")
def _claim_one_message_small(store: Store) -> Call:
    due(store, [report(reference="m", to=[one]) for one in people(500)])
    fields(
        store,
        "suppressions",
        {
            store.suppressions.rid(one, "email"): {"at": NOW, "code": "X", "origin": "manual", "evidence": []}
            for one in people(500)
        },
    )
    return claimed(500)


@kind(CLAIM, "all arrived: delivered without recipient, 500 recipients of one message")
def _claim_arrived(store: Store) -> Call:
    due(store, [report(reference="m", to=[one]) for one in people(500)])
    take(store, [report(reference="m", to=[], delivered=True)])
    return claimed(500)


@kind(CLAIM, "all cancelled")
def _claim_cancelled(store: Store) -> Call:
    due(store, [report(claim={"merchantId": 1}) for _ in range(500)])
    store.cancels.add("merchant", "1", by=By("x", "x"), now=store.now())
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
    policies = Policies(
        ("resends_per_recipient: 6/1d", "resends_per_recipient: 1000/1d"),
        ("resends_per_claim: 12/7d", "resends_per_claim: 1000/7d"),
    )
    due(store, [report(to=[one]) for one in people(500)], policies=policies)
    times = [NOW // 1000 + n for n in range(900)]
    fields(
        store,
        "sent",
        {
            f"recipient:{store.suppressions.rid(one, 'email')}": {"at": times, "z": NOW + 100 * HOUR}
            for one in people(500)
        },
    )
    return claimed(500, policies)


@kind(CLAIM, "mode observe")
def _claim_observed(store: Store) -> Call:
    due(store, retried(500))
    store.modes.set("observe", by=By("x", "x"), now=NOW)
    return claimed(500)


@kind(CLAIM, "the answer of the claim before was lost")
def _claim_lost(store: Store) -> Call:
    due(store, retried(1000))
    store.ledger.claim(
        policy=SHIPPED.current,
        limit=500,
        lease=30_000,
        soon=100_000,
        caller=Caller(name="q", claim=1, answered=0),
    )

    def run(store: Store) -> object:
        return store.ledger.claim(
            policy=SHIPPED.current,
            limit=500,
            lease=30_000,
            soon=100_000,
            caller=Caller(name="q", claim=2, answered=0),
        )

    return Call(items=500, run=run)


@kind(CLAIM, "500 providers with large names, all open")
def _claim_breakers(store: Store) -> Call:
    due(store, [report(sent={"provider": label(n)}) for n in range(500)])
    answers = "+1795000000" * 100
    for n in range(500):
        client_of(store).hset(
            store.keys.fixed("breakers"),
            label(n),
            f'{{"s":"open","u":{NOW + 5 * HOUR},"n":1,"c":{NOW},"z":{NOW + 100 * HOUR}}}\n{answers}',
        )
    return claimed(500)


@kind(CLAIM, "one provider that is open, 1,000 answers, silence is good")
def _claim_silence(store: Store) -> Call:
    policies = Policies(("feedback: delivered", "feedback: none"), ("of_last: 100", "of_last: 1000"))
    due(store, [report(claim={"merchantId": 1}) for _ in range(1500)], policies=policies)
    hand_over(store, policies.current, 1000)
    return claimed(500, policies)
