"""Reports, each kind about the worst of its sort."""

import random

from softbounce.store import Store

from .kinds import ACCEPT, Call, Policies, client_of, hand_over, kind, take, taken
from .reports import HOUR, NAME, NOW, label, large_people, ordinary, people, report

DEAD = {"smtpCode": "5.1.1", "message": "no such user here"}


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
    return taken(
        [
            report(
                large=True,
                code=None,
                sent={
                    "error": {"type": label(n), "reasonCode": label(n), "details": {"snippets": [label(n)]}}
                },
            )
            for n in range(300)
        ]
    )


@kind(ACCEPT, "small reports, one reference and recipient, 5,000 before")
def _again(store: Store) -> Call:
    take(store, [report(reference="m", to=["a@example.com"]) for _ in range(5000)])
    return taken([report(reference="m", to=["a@example.com"]) for _ in range(300)])


@kind(ACCEPT, "small reports, one reference and recipient, a claim each")
def _other_messages(store: Store) -> Call:
    take(store, [report(reference="m", to=["a@example.com"], claim={"id": n}) for n in range(300)])
    return taken([report(reference="m", to=["a@example.com"], claim={"id": n}) for n in range(300)])


@kind(ACCEPT, "small reports, one reference, many recipients, 5,000 before")
def _again_others(store: Store) -> Call:
    take(store, [report(reference="m") for _ in range(5000)])
    return taken([report(reference="m") for _ in range(300)])


@kind(ACCEPT, "100 large recipients")
def _several(store: Store) -> Call:
    return taken([report(to=large_people()) for _ in range(100)])


@kind(ACCEPT, "100 large recipients, one reference")
def _several_again(store: Store) -> Call:
    to = large_people()
    take(store, [report(reference="m", to=to) for _ in range(210)])
    return taken([report(reference="m", to=to) for _ in range(100)])


@kind(ACCEPT, "100 small recipients")
def _several_small(store: Store) -> Call:
    return taken([report(to=people()) for _ in range(300)])


@kind(ACCEPT, "100 small recipients who all have it already")
def _several_arrived(store: Store) -> Call:
    for n in range(0, 100, 3):
        take(
            store,
            [
                report(reference=f"m{m}", to=[one], delivered=True)
                for m in range(n, n + 3)
                for one in people()
            ],
        )
    return taken([report(reference=f"m{m}", to=people()) for m in range(100)])


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
    take(store, [report(reference="m", to=large_people()) for _ in range(200)])
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
        take(
            store,
            [
                report(
                    to=["a@example.com"], code=code, date=f"2026-11-{20 - n // 24:02}T{n % 24 // 2:02}:00:00Z"
                )
                for n in range(40)
            ],
        )


@kind(ACCEPT, "soft bounces of one recipient that has 32, out of order")
def _soft(store: Store) -> Call:
    _standing(store)
    return taken(
        [
            report(
                to=["a@example.com"],
                code="BOUNCE_TRANSIENT_GENERAL",
                date=f"2026-11-{1 + n % 19:02}T10:{n % 60:02}:00Z",
            )
            for n in range(300)
        ]
    )


@kind(ACCEPT, "reports of one recipient to be confirmed, which has 32")
def _confirm(store: Store) -> Call:
    _standing(store)
    return taken(
        [
            report(to=["a@example.com"], code="SMS_NOT_DELIVERED", date=f"2026-11-20T10:{n % 60:02}:00Z")
            for n in range(300)
        ]
    )


@kind(ACCEPT, "suppressions, each alone")
def _suppressed(store: Store) -> Call:
    return taken([report(code="INVALID_EMAIL_ADDRESS", kind="CONTACT_ERROR", large=True) for _ in range(300)])


@kind(ACCEPT, "suppressions of one recipient, large event ids")
def _suppressed_again(store: Store) -> Call:
    take(store, [report(to=["a@example.com"], code="INVALID_EMAIL_ADDRESS", large=True) for _ in range(10)])
    return taken([report(to=["a@example.com"], code="INVALID_EMAIL_ADDRESS", large=True) for _ in range(300)])


@kind(ACCEPT, "suppressions of one recipient, each with a large code of its own")
def _causes(store: Store) -> Call:
    def some(first: int) -> list[bytes]:
        codes = [f"BOUNCE_PERMANENT_{n:04}{NAME[:-24]}" for n in range(first, first + 300)]
        return [
            report(to=["a@example.com"], code=code, kind="CONTACT_ERROR", details=DEAD, large=True)
            for code in codes
        ]

    take(store, some(0))
    return taken(some(300))


@kind(ACCEPT, "opt-outs of one recipient, each from a large merchant of its own")
def _consents(store: Store) -> Call:
    def some(first: int) -> list[bytes]:
        merchants = [f"{n:04}{NAME[:-4]}" for n in range(first, first + 300)]
        return [report(to=["a@example.com"], code="OPT_OUT", claim={"merchantId": one}) for one in merchants]

    take(store, some(0))
    return taken(some(300))


@kind(ACCEPT, "suppressions, each a brake group of its own with a large code")
def _brakes(store: Store) -> Call:
    return taken([report(code=f"BOUNCE_PERMANENT_{n:04}{NAME[:-3]}", large=True) for n in range(300)])


@kind(ACCEPT, "suppressions of an open incident")
def _incident(store: Store) -> Call:
    take(store, [report(code="INVALID_EMAIL_ADDRESS") for _ in range(300)])
    return taken([report(code="INVALID_EMAIL_ADDRESS", large=True) for _ in range(300)])


@kind(ACCEPT, "dead letters of 64 KiB")
def _letters(store: Store) -> Call:
    return taken([f"{n} ".encode() + b"x" * 65536 for n in range(100)], is_read=False)


@kind(ACCEPT, "dead letters of 64 KiB that come again")
def _letters_again(store: Store) -> Call:
    raws = [f"{n} ".encode() + b"x" * 65536 for n in range(100)]
    take(store, raws, is_read=False)
    return taken(raws, is_read=False)


@kind(ACCEPT, "duplicates of 100 large recipients")
def _duplicates(store: Store) -> Call:
    raws = [report(to=large_people()) for _ in range(100)]
    take(store, raws)
    return taken(raws)


@kind(ACCEPT, "failures of resends that a breaker counts, 1,000 answers")
def _answers(store: Store) -> Call:
    policies = Policies(("of_last: 100", "of_last: 1000"), ("least: 20", "least: 1000"))
    raws = [
        report(reference=f"m{n}", to=[one], claim={"merchantId": 1}) for n, one in enumerate(people(1500))
    ]
    take(store, raws, policies)
    store.set_now(NOW + HOUR)
    hand_over(store, policies.current, 1500)
    again = [
        report(reference=f"m{n}", to=[one], claim={"merchantId": 1}, date="2026-11-20T16:10:00Z")
        for n, one in enumerate(people(1500))
    ]
    store.set_now(NOW + 2 * HOUR)
    take(store, again[:1200], policies)
    return taken(again[1200:], policies)


def _know_ten_million(store: Store) -> None:
    client, bucket = client_of(store), random.Random(1).randbytes(128 * 6)
    for generation in ("delivered", "delivered_before"):
        for digits in (3, 4, 5):  # the set of six is open: too large to be made here
            filled = {f"{n:0{digits}o}": bucket for n in range(8**digits)}
            client.hset(store.keys.fixed(generation), mapping=filled)
    meta = {"delivered": 10_000_000, "delivered_before": 10_000_000, "delivered_since": NOW}
    client.hset(store.keys.fixed("meta"), mapping=meta)


@kind(ACCEPT, "ordinary failures, 10 million deliveries known of both generations")
def _after_many(store: Store) -> Call:
    _know_ten_million(store)
    return taken(ordinary(300))


@kind(ACCEPT, "100 small recipients, 10 million deliveries known of both generations")
def _several_after_many(store: Store) -> Call:
    _know_ten_million(store)
    return taken([report(to=people()) for _ in range(100)])
