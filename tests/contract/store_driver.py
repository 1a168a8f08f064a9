"""Short words for what the store's tests do: report a failure, let time pass, claim, finish."""

import json
from datetime import UTC, datetime

from softbounce.core.decide import decide
from softbounce.core.filters import parse_filter
from softbounce.core.policy.file import load
from softbounce.core.records import command_id
from softbounce.store.ledger import Caller, Finish

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
START = int(datetime(2026, 11, 23, 9, 0, tzinfo=UTC).timestamp() * 1000)  # a Monday, 10:00 in Berlin
LEASE = 30_000
NUMBER = "+4915112345678"
ANYTHING = parse_filter("", keys=())


class StoreDriver:
    """A store, a policy, and a clock that the test moves."""

    def __init__(self, store, policy, *, client):
        self.store = store
        self.policy = policy
        self.client = client
        self._count = 0
        self._claims = {}  # reference -> its claim

    @property
    def now(self):
        """The store's time in ms."""
        return self.store.now()

    def wait(self, ms):
        """Let time pass, in steps that no quarantine notices, without anybody claiming."""
        self.store.set_now(self.now + ms)
        self.client.hset("{sb:default}:meta", "swept", self.now)

    def with_policy(self, text):
        """Return a driver of the same store with another policy."""
        return StoreDriver(self.store, load(text, file="policy.yaml"), client=self.client)

    def failed(self, reference="m1", code="SMS_EXPIRED", **options):
        """One failure report as bytes."""
        return self._event("MESSAGE_NOT_DELIVERED", reference, code, options)

    def delivered(self, reference="m1", **options):
        """One delivery report as bytes."""
        return self._event("MESSAGE_DELIVERED", reference, None, options)

    def opted_in(self, **options):
        """One opt-in as bytes."""
        return self._event("RECIPIENT_OPTED_IN", "", None, options)

    def _event(self, kind, reference, code, options):
        self._count += 1
        at = options.pop("at", None) or self.now
        communication = {
            "channel": options.pop("channel", "SMS"),
            "reference": reference,
            "recipients": options.pop("to", [NUMBER]),
        }
        if code is not None:
            details = {"message": "x"} | options.pop("details", {})
            communication["error"] = {
                "type": options.pop("type", "SEND_ERROR"),
                "reasonCode": code,
                "details": details,
            }
        for name in ("notAfter", "resendId", "timezone"):
            if name in options:
                communication[name] = options.pop(name)
        claim = {
            "id": options.pop("claim", self._claims.get(reference, 54321)),
            "merchantId": options.pop("merchant", 1),
            "customerNumber": options.pop("customer", "C1"),
        }
        self._claims.setdefault(reference, claim["id"])
        event = {
            "type": kind,
            "date": datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds"),
            "eventId": options.pop("event", f"e{self._count}-{reference}-{code}"),
            "claim": claim | {"communication": communication},
        }
        assert not options, options
        return json.dumps(event).encode()

    def accept(self, *raws):
        """Accept a batch; returns the outcomes' words."""
        return [answer.outcome for answer in self.accept_all(*raws)]

    def accept_all(self, *raws):
        """Accept a batch; returns everything that the store says."""
        now = self.now
        return self.store.ledger.accept(
            [decide(raw, policy=self.policy, now=now) for raw in raws], policy=self.policy
        )

    def fail(self, reference="m1", code="SMS_EXPIRED", **options):
        """Report one failure; returns what the store says."""
        return self.accept_all(self.failed(reference, code, **options))[0]

    def deliver(self, reference="m1", **options):
        """Report one delivery; returns what the store says."""
        return self.accept_all(self.delivered(reference, **options))[0]

    def opt_in(self, **options):
        """Report one opt-in; returns what the store says."""
        return self.accept_all(self.opted_in(**options))[0]

    def claim(self, limit=100):
        """Claim; returns the leases."""
        return list(self.claimed(limit).leases)

    def claimed(self, limit=100, **options):
        """Claim; returns everything that the store says."""
        return self.store.ledger.claim(policy=self.policy, limit=limit, lease=LEASE, **options)

    def asked(self, number, *, answered, by="w1", **options):
        """Claim as a worker that counts its claims; returns the leases."""
        return list(self.claimed(caller=Caller(name=by, claim=number, answered=answered), **options).leases)

    def finish(self, *leases, result="handed_over", delay=0):
        """Finish hand-overs; returns the answers."""
        rows = [
            Finish(delivery=lease.delivery.id, token=lease.token, result=result, delay=delay, note="test")
            for lease in leases
        ]
        return self.store.ledger.finish(rows, policy=self.policy)

    def hand_over(self):
        """Claim what is due and finish it; returns the resent references with their try."""
        leases = self.claim()
        self.finish(*leases)
        return [(lease.delivery.reference, lease.delivery.attempt) for lease in leases]

    def until_due(self, reference="m1"):
        """Let time pass until a message's retry is due."""
        due = next(w.due for w in self.waiting() if w.delivery.reference == reference)
        self.wait(max(0, due + SECOND - self.now))

    def resend(self, reference="m1"):
        """Let time pass until a message's retry is due, and hand it over."""
        self.until_due(reference)
        return self.hand_over()

    def waiting(self):
        """Everything that waits."""
        return list(self.store.retries.select(ANYTHING, now=self.now))

    def story(self, reference="m1"):
        """Return the only delivery of a message with its history."""
        (story,) = self.store.retries.find(reference)
        return story

    def cases(self):
        """Every case."""
        return list(self.store.cases.select(ANYTHING, now=self.now))

    def notices(self):
        """Tell everything there is to tell; returns the types."""
        notices = self.store.notices.claim(limit=1000, lease=LEASE)
        self.store.notices.finish(notices)
        return sorted(notice.type for notice in notices)

    def resend_id(self, reference="m1", attempt=1):
        """Return the id of one resend command."""
        return command_id(self.story(reference).delivery.id, attempt)

    def is_suppressed(self, number=NUMBER, **options):
        """Whether the recipient may not be sent to."""
        return not self.store.suppressions.check(number, "sms", **options)
