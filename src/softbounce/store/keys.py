"""The keys in Redis: one hash tag, and a few fixed keys."""

from dataclasses import dataclass

FIXED = {
    "schedule": "zset",  # delivery -> due, or end of lease (ms)
    "ready": "zset",  # merchant, deadline, delivery (by name): due ones that wait for the hand-over rate
    "turns": "zset",  # merchant with ready items -> its turn
    "deliveries": "hash",  # delivery -> record; ended ones carry their own end and are swept
    "damaged": "hash",  # delivery, or "notice:" and notice -> unreadable bytes; deleted with its case
    "delivered": "hash",  # bucket -> deliveries without a failure; deleted whole after the dedupe period
    "delivered_before": "hash",  # the same of the period before
    "history": "hash",  # reference -> lines; deleted with the newest delivery of the reference
    "standing": "hash",  # recipient -> {m: soft bounces, c: reports by rule, x: escalated at}; swept
    "suppressions": "hash",  # recipient[@merchant] -> entry, see shared/causes; swept
    "pauses": "hash",  # kind:value -> {z: until, ...}; swept
    "cancels": "hash",  # kind:value -> {a: made at, ...}; swept
    "brakes": "hash",  # group of suppressions -> usual and current number, see accept/brake; swept
    "breakers": "hash",  # provider -> head, its newest answers, see shared/breakers; swept
    "sources": "hash",  # source of reports -> its clock, what was odd, see accept/sources; swept
    "feedback": "hash",  # merchant, channel -> whether arrivals are reported, see shared/feedback; swept
    "sent": "hash",  # kind:value -> {at: times of resends (s)}; swept
    "cases": "hash",  # case -> entry; closed ones are swept
    "open_cases": "hash",  # group -> case
    "members": "zset",  # group, delivery (by name); deleted with its delivery or its case
    "notices": "zset",  # notice -> due, or end of lease (ms)
    "notice_bodies": "hash",  # notice -> body
    "groups": "hash",  # group -> {n, since, samples, out: being sent}; deleted a repeat after it was sent
    "group_turns": "zset",  # group -> when its notice is due, or end of lease (ms)
    "dead_letters": "hash",  # id -> entry; swept
    "counters": "hash",  # outcome -> count
    "claims": "hash",  # pump -> {n: its newest claim, d: delivery, token of each lease (flat)}; swept
    "modes": "hash",  # merchant or "*" -> {mode, at, ...}
    "workers": "hash",  # worker -> its last report; swept
    "policies": "hash",  # revision -> {file, name, text}; swept. applied -> the revision for all workers
    "audit": "stream",  # entries, trimmed by age by `sweep`
    "meta": "hash",  # key*, epoch, now, claims, swept, idle, rate_*, case, dead_letter_bytes, delivered*, ...
}
"""Permanent keys with their types. All other keys under the tag have a TTL (receipts, strikes, replies)."""

SWEPT = (
    "deliveries", "standing", "suppressions", "pauses", "cancels", "brakes", "sent", "breakers", "cases",
    "dead_letters", "claims", "workers", "policies", "sources",
    "feedback",
)  # fmt: skip
"""Hashes whose values may have ``z``, the time (ms) at which ``sweep`` deletes them."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one namespace."""

    namespace: str = "default"

    def fixed(self, name: str) -> str:
        """Return the key of one of ``FIXED``."""
        return f"{{sb:{self.namespace}}}:{name}"

    def receipt(self, ident: str) -> str:
        """Return the key that says that a receiver has acted on a command; it has a TTL."""
        return f"{{sb:{self.namespace}}}:r:{ident}"

    def strike(self, digest: str) -> str:
        """Return the key that counts the deliveries of a message by a broker; it has a TTL."""
        return f"{{sb:{self.namespace}}}:k:{digest}"

    def stream(self, name: str) -> str:
        """Return a public stream: ``softbounce:events``, or ``softbounce:<namespace>:events``."""
        return f"softbounce:{name}" if self.namespace == "default" else f"softbounce:{self.namespace}:{name}"

    def reply(self, token: str) -> str:
        """Return the list with the outcomes for one ``events report --wait``; it has a TTL."""
        return f"{{sb:{self.namespace}}}:a:{token}"
