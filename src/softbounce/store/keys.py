"""Where everything lies in Redis: one hash tag and a few fixed keys."""

from dataclasses import dataclass

FIXED = {
    "schedule": "zset",  # delivery -> due, or end of lease (ms)
    "ready": "zset",  # merchant, deadline, delivery (by name): what is due and stands in line
    "turns": "zset",  # merchant with ready items -> its turn
    "deliveries": "hash",  # delivery -> record; ended ones carry their own end and are swept
    "damaged": "hash",  # delivery, or "notice:" and notice -> bytes that nobody can read; goes with its case
    "delivered": "hash",  # bucket -> what arrived and never failed; goes as a whole after the dedupe period
    "delivered_before": "hash",  # the same of the period before
    "history": "hash",  # reference -> lines; goes with the newest delivery of the reference
    "standing": "hash",  # recipient -> {m: soft bounces, c: reports by rule, x: escalated at}; swept
    "suppressions": "hash",  # recipient[@merchant] -> entry; swept
    "pauses": "hash",  # kind:value -> {z: until, ...}; swept
    "cancels": "hash",  # kind:value -> {a: made at, ...}; swept
    "brakes": "hash",  # group of suppressions -> how many are usual and came now, see accept/brake; swept
    "breakers": "hash",  # provider -> head, its newest answers, see shared/breakers; swept
    "sent": "hash",  # kind:value -> {at: times of resends (s)}; swept
    "cases": "hash",  # case -> entry; closed ones are swept
    "open_cases": "hash",  # group -> case
    "members": "zset",  # group, delivery (by name); goes with its delivery or its case
    "notices": "zset",  # notice -> due, or end of lease (ms)
    "notice_bodies": "hash",  # notice -> body
    "groups": "hash",  # group -> {n, since, samples, out: being told}; goes a repeat after it was told
    "group_turns": "zset",  # group -> when people are told next, or end of lease (ms)
    "dead_letters": "hash",  # id -> entry; swept
    "counters": "hash",  # outcome -> count
    "claims": "hash",  # pump -> {n: its newest claim, d: delivery, token of each lease (flat)}; swept
    "modes": "hash",  # merchant or "*" -> {mode, at, ...}
    "workers": "hash",  # worker -> what it last said; swept
    "policies": "hash",  # revision -> {file, name, text}; swept. applied -> what all workers follow
    "audit": "stream",  # entries, trimmed by age by `sweep`
    "meta": "hash",  # key*, epoch, now, claims, swept, idle, rate_*, case, dead_letter_bytes, delivered*, ...
}
"""Permanent keys with their types. Whatever else is under the tag has a TTL (receipts, strikes, replies).

What is swept has ``z``: forget at (ms).
"""

SWEPT = (
    "deliveries",
    "standing",
    "suppressions",
    "pauses",
    "cancels",
    "brakes",
    "sent",
    "breakers",
    "cases",
    "dead_letters",
    "claims",
    "workers",
    "policies",
)
"""Hashes whose values carry ``"z": forget at (ms)`` and are swept by a slow scan."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one namespace."""

    namespace: str = "default"

    def fixed(self, name: str) -> str:
        """Return the key of one of ``FIXED``."""
        return f"{{sb:{self.namespace}}}:{name}"

    def receipt(self, ident: str) -> str:
        """Return the key by which a receiver knows that it has acted on a command; it has a TTL."""
        return f"{{sb:{self.namespace}}}:r:{ident}"

    def strike(self, digest: str) -> str:
        """Return the key that counts how often a broker delivered the same bytes again; it has a TTL."""
        return f"{{sb:{self.namespace}}}:k:{digest}"

    def stream(self, name: str) -> str:
        """Return a public stream: ``softbounce:events``; off default, ``softbounce:<namespace>:events``."""
        return f"softbounce:{name}" if self.namespace == "default" else f"softbounce:{self.namespace}:{name}"

    def reply(self, token: str) -> str:
        """Return the list on which the outcomes of one ``events report --wait`` arrive; it has a TTL."""
        return f"{{sb:{self.namespace}}}:a:{token}"
