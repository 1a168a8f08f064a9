"""Every batch size, strike, window and fill level, once. Times are in ms.

A script obeys its own copy of a number: change both. ``tests/unit/test_limits.py`` compares
them. Scripts alone use STRUCK_BATCH, HISTORY_BYTES and QUARANTINE_AFTER.
"""

from softbounce.core.durations import DAY, HOUR, MINUTE

# How many a call takes
REPORT_BATCH = 500
"""Events that a producer reports in one round trip."""
INTAKE_BATCH = 300
"""Events that one ``accept`` takes: some 12 ms, in which nobody else gets an answer."""
HANDOVER_BATCH = 500
"""Retries that one ``claim`` leases, and notices that one receiver is told at once."""
STRUCK_BATCH = 20
"""Retries with one strike that are claimed together; one with two is claimed alone."""
FINISH_BATCH = 1_000
"""Hand-overs in one command of ``finish``, whose arguments end at 8,000."""
TASK_BATCH = 100
"""Calls of the pipeline's task sent to Redis at once; what is lost with an answer may arrive twice."""
LOOKUP_BATCH = 5_000
"""Recipients that one round trip asks the suppression list for."""
LIST_BATCH = 500
"""Retries, histories, stream or list entries that one round trip reads or changes."""
RESOLVE_BATCH = 200
"""Deliveries of a case, or recipients of an incident, that one call settles; some have a hundred people."""
REPLAY_BATCH = 100
"""Dead letters, of at most 64 KiB each, that are reported again at once."""
REPLY_BATCH = 1_000
"""Outcomes that one round trip takes for a producer that waits."""
SCAN_BATCH = 1_000
"""Fields or keys that one step of a scan of everything looks at."""
SWEEP_BATCH, SWEEP_ROUNDS = 100, 100
"""Fields of one hash that a sweep looks at, and how often in one turn: 0.2 ms each, 1.5 at most."""
READ_BYTES = 2 * 1024 * 1024
"""Bytes of one read of the stream, and some ten entries more; ordinary events have half a KiB."""
LOGGED_SINGLY = 100
"""Events or hand-overs of a batch with a line each in the log; a larger batch has one line."""

# When input or a retry is held because its workers died of it
STRIKES = 3
"""Deliveries to a worker that ended without an acknowledgement."""
STRIKES_WITHIN = 72 * HOUR
"""How long a strike counts."""

# How full
FULL = 0.9
"""The part of maxmemory above which producers are refused; intake goes on."""
DEAD_LETTERS_BYTES = 16 * 1024 * 1024
"""Bytes of the store for all dead letters; past it a new one keeps the head of its bytes."""
DEAD_LETTER_BYTES = 88 * 1024
"""Bytes of the store that a dead letter of 64 KiB takes."""
HISTORY_BYTES = 16 * 1024
"""Bytes of the history of one message; past it the oldest lines go."""
REPLIES = 10_000
"""Outcomes that one list holds for a producer that waits; more are dropped until somebody takes some."""

# How long
QUARANTINE_AFTER = 6 * HOUR
"""Nobody claimed for so long: an old backup, or a weekend off. Hand-overs wait for a person."""
LONGEST_STEP = 5 * HOUR
"""The most that virtual time moves between two claims: less than what ends in quarantine."""
LATE = 5 * MINUTE
"""A report dated this much before the newest claim still answers it; nearer failures may be of one send."""
UNANSWERED_AFTER = DAY
"""A hand-over without an answer counts as delivered after this, where nobody reports deliveries."""
BREAKER_KEPT = DAY
"""How long a breaker's state is kept once it says nothing any more."""
POLICY_KEPT = 400 * DAY
"""How long a revision of the policy is kept after a worker last ran it."""
RECEIPT_KEPT = 14 * DAY
"""How long a receiver's id is remembered after the act."""
REPLY_KEPT = 10 * MINUTE
"""How long outcomes wait for the producer that asked for them."""
WORKER_KEPT = MINUTE
"""How long a worker is listed after it last said that it lives, which it does every five seconds."""
CONSUMER_KEPT = HOUR
"""How long a worker that reads nothing keeps its name in the stream's group."""
