"""The pump hands over what is due: claim, check quiet hours once more, hand over, finish."""

import logging
import os
import random
import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic

from softbounce.core.decide import quiet_for
from softbounce.core.policy.model import Policy
from softbounce.core.records import Delivery, resend_command
from softbounce.errors import WrongKey
from softbounce.store import Caller, Claimed, Ended, Finish, Lease, Store
from softbounce.store.limits import HANDOVER_BATCH, LOGGED_SINGLY
from softbounce.telemetry import get_logger
from softbounce.worker.crash_points import reached
from softbounce.worker.policy_in_force import PolicyInForce
from softbounce.worker.retrying import retrier
from softbounce.worker.sinks.sink import LAST_START, Backoff, Sink
from softbounce.worker.sinks.stream import trim

log = get_logger()

ENDED = {  # outcome -> event name, where it differs from "retry.cancelled"
    "given_up": "retry.given_up",
    "held": "delivery.held",
    "delivered": "delivery.recovered",
    "observed": "retry.observed",
}
PACE = 2_000.0  # hand-overs/s, until a full batch is measured; what can leave within a minute is not queued
BATCH_TIME = 1.0  # s in which one batch may leave; then the store is asked again whether any may (mode off)
MEMORY = 10.0  # s of claims that a store may lose in a failover or a power cut without an alarm


class Pump:
    """Hands over what is due. One thread claims and delivers, a second one calls ``finish``."""

    def __init__(
        self,
        store: Store,
        policies: PolicyInForce,
        sink: Sink,
        *,
        worker: str,
        lease: int,
        rng: random.Random,
        stopping: threading.Event,
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        """``heard`` is called whenever the store or the sink has answered."""
        self.handed_over = 0  # since this worker started
        self.leased = 0  # claimed and not yet handed over
        self.mode = "on"
        self._store, self._policies, self._sink, self._worker = store, policies, sink, worker
        self._lease = lease  # ms; a call is repeated for no longer
        self._backoff = Backoff(rng)
        self._stopping = stopping
        self._heard = heard
        self._patiently = retrier(stopping, limit=lease / 1000, on_failure=lambda _: heard())
        self._name = secrets.token_hex(8)  # names this pump; a restarted worker has another name
        self._asked = self._answered = 0  # numbers of the newest claim, and of the newest with a reply
        self._pace = PACE  # hand-overs/s of the newest full batch
        self._batch = HANDOVER_BATCH  # messages that the sink is likely to take within a second
        self._epoch = store.epoch()
        self._finishing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="finish")
        self._under_way: Future[None] | None = None
        self._handed: tuple[list[Finish], Policy] | None = None  # a full batch, not finished yet
        self._seen: int | None = None  # the number of claims at least 10 s ago
        self._noted: tuple[float, int] | None = None  # when claims were last counted, and how many there were

    def turn(self) -> bool:
        """Claim a batch and hand it over; false if nothing was due or the sink rests.

        A full batch is finished while the next one is made ready, so that the store does not wait for us
        (11 % more hand-overs).
        """
        if not self._backoff.is_over:
            self.settle()
            return False
        policy, limit, began = self._policies.current, self._batch, monotonic()
        self._asked += 1
        try:
            claimed = self._claim(policy, limit)
        finally:
            self._begin_finish()
        self._answered = self._asked
        self._note(claimed)
        self._log(claimed)
        if claimed.leases:
            reached("pump.claimed")
            last_start = began + min(LAST_START * self._lease / 1000, BATCH_TIME)
            self.leased = len(claimed.leases)
            try:
                results = self._hand_over(claimed, policy, lambda: self._may_begin(last_start))
            finally:
                self.leased = 0
            self._wait()
            self._handed = results, policy
            if len(claimed.leases) < limit:
                self.settle()
            else:
                self._pace = limit / (monotonic() - began)
        else:
            self._wait()
        return not claimed.idle

    def settle(self) -> None:
        """Finish what was handed over."""
        self._begin_finish()
        self._wait()

    def _claim(self, policy: Policy, limit: int) -> Claimed:
        return self._store.ledger.claim(
            policy=policy,
            limit=limit,
            lease=self._lease,
            epoch=self._epoch,
            seen=self._seen,
            soon=int(60 * self._pace),
            caller=Caller(name=self._name, claim=self._asked, answered=self._answered),
        )

    def _begin_finish(self) -> None:
        if self._handed is not None:
            handed, self._handed = self._handed, None
            self._under_way = self._finishing.submit(self._finish, *handed)

    def _finish(self, results: list[Finish], policy: Policy) -> None:
        self._patiently(self._store.ledger.finish, results, policy=policy)
        reached("pump.finished")

    def _wait(self) -> None:
        if self._under_way is not None:
            under_way, self._under_way = self._under_way, None
            under_way.result()

    def trim(self, *, before: int) -> None:
        """Delete commands that every reader has acknowledged, or that are older than ``before`` (ms)."""
        trim(self._sink, before=before)

    def _hand_over(self, claimed: Claimed, policy: Policy, may_begin: Callable[[], bool]) -> list[Finish]:
        """Return how each lease ended. What did not begin goes back and is due at once."""
        results, going, messages = [], [], []
        unreadable: dict[bytes | str, bytes] = {}
        for lease in claimed.leases:
            try:
                delay = quiet_for(lease.delivery, policy=policy, now=claimed.now)
                command = resend_command(lease.delivery, file=policy.file)
            except Exception:  # one record that we cannot read must not stop the others
                log.exception("retry.unreadable", worker=self._worker, delivery=lease.delivery.id)
                unreadable[lease.delivery.id] = lease.raw
                continue
            if delay:
                self._say("retry.deferred", lease.delivery, delay_s=delay // 1000, deferred_by="quiet hours")
                results.append(_later(lease, delay=delay, note="quiet"))
            else:
                going.append(lease)
                messages.append((str(command["id"]), command))
        self._log_ended(self._store.ledger.set_aside(unreadable))
        if not going:
            return results
        self._wait()
        reached("handover.begun")
        handed = self._patiently(self._sink.deliver, messages, may_begin)
        reached("handover.out")
        self.handed_over += handed.count
        self._batch = min(HANDOVER_BATCH, 2 * self._batch) if handed.count == len(going) else handed.count + 1
        if handed.count:
            self._backoff.succeeded()
        if handed.count > LOGGED_SINGLY:
            log.info("retry.handed_over", worker=self._worker, count=handed.count, sink=self._sink.name)
        for lease in going[: handed.count]:
            if handed.count <= LOGGED_SINGLY:
                self._say("retry.handed_over", lease.delivery, sink=self._sink.name)
            results.append(
                Finish(
                    delivery=lease.delivery.id, token=lease.token, result="handed_over", note=self._sink.name
                )
            )
        back = going[handed.count :]
        if handed.failure:
            delay = self._backoff.failed()
            log.error("handover.failed", sink=self._sink.name, reason=handed.failure, delay_s=delay / 1000)
            results.append(_later(back[0], delay=delay, note="sink"))  # the others go before it the next time
            back = back[1:]
        return results + [_later(lease) for lease in back]

    def _may_begin(self, last_start: float) -> bool:
        self._heard()
        return monotonic() < last_start and not self._stopping.is_set()

    def _note(self, claimed: Claimed) -> None:
        """Remember how many claims there were; raise the alarm where the store knows of fewer."""
        now = monotonic()
        if claimed.alarm:
            name = "store.lost" if claimed.alarm.startswith("the store") else "quarantine.began"
            log.critical(name, worker=self._worker, reason=claimed.alarm, then="softbounce doctor")
            try:
                self._epoch, self._seen, self._noted = self._store.found_again(), None, None
            except WrongKey as error:  # nobody would find what we write by our key: a restart reads the other
                log.critical("worker.refused", worker=self._worker, reason=str(error))
                os._exit(1)
        if self._noted is None or now - self._noted[0] >= MEMORY:
            self._seen = self._noted[1] if self._noted else None
            self._noted = now, claimed.number

    def _log(self, claimed: Claimed) -> None:
        if claimed.mode != self.mode:
            log.warning("mode.changed", worker=self._worker, mode=claimed.mode, before=self.mode)
            self.mode = claimed.mode
        for provider, state in claimed.breakers:
            name = "breaker.closed" if state == "closed" else "breaker.opened"
            log.warning(name, worker=self._worker, provider=provider, then="softbounce breakers list")
        self._log_ended(claimed.ended)

    def _log_ended(self, retries: Sequence[Ended]) -> None:
        for ended in retries:
            name = ENDED.get(ended.outcome, "retry.cancelled")
            facts = {"delivery": ended.delivery, "outcome": ended.outcome, "reason": ended.reason}
            log.info(name, worker=self._worker, **facts)

    def _say(self, name: str, delivery: Delivery, **facts: object) -> None:
        if log.is_enabled_for(logging.INFO):
            log.info(
                name,
                worker=self._worker,
                reference=delivery.reference,
                attempt=delivery.attempt,
                channel=delivery.channel,
                code=delivery.code,
                merchant=delivery.merchant,
                rid=f"r_{delivery.rid}",
                policy_revision=delivery.revision,
                rule=delivery.rule,
                **facts,
            )


def _later(lease: Lease, *, delay: int = 0, note: str = "") -> Finish:
    return Finish(delivery=lease.delivery.id, token=lease.token, result="later", delay=delay, note=note)
