"""All batch sizes, strikes, windows and fill levels. Times are in ms.

A script has its own copy of a number: change both, ``tests/unit/test_limits.py`` compares them. Only scripts
use STRUCK_BATCH, HISTORY_BYTES and QUARANTINE_AFTER.
"""

from softbounce.core.durations import DAY, HOUR, MINUTE

# Batch sizes
REPORT_BATCH = 500  # events that a producer reports in one round trip
INTAKE_BATCH = 300  # events in one ``accept``: it takes some 12 ms, in which the store answers nobody else
HANDOVER_BATCH = 500  # retries that one ``claim`` leases, and notices that one receiver gets at once
STRUCK_BATCH = 20  # retries with one strike that are claimed together; one with two is claimed alone
FINISH_BATCH = 1_000  # hand-overs in one group of ``finish``; Lua can unpack some 8,000 values
TASK_BATCH = 100  # calls of the pipeline's task sent together; after a lost answer they may arrive twice
LOOKUP_BATCH = 5_000  # recipients that one round trip looks up on the suppression list
LIST_BATCH = 500  # retries, histories, stream or list entries that one round trip reads or changes
RESOLVE_BATCH = 200  # deliveries of a case, or entries of an incident, in one call; one may have 100 people
REPLAY_BATCH = 100  # dead letters, of at most 64 KiB each, that are reported again at once
REPLY_BATCH = 1_000  # outcomes that one round trip reads for a waiting producer
SCAN_BATCH = 1_000  # fields or keys in one step of a full scan
SWEEP_BATCH, SWEEP_ROUNDS = 100, 100  # fields in one call of ``sweep``, calls in a turn; a call takes 0.2 ms
READ_BYTES = 2 * 1024 * 1024  # bytes of one read of the stream; ordinary events have half a KiB
LOGGED_SINGLY = 100  # so many events or hand-overs of a batch have a log line each; a larger batch has one

# When input or a retry is held because it ended workers
STRIKES = 3  # deliveries to a worker without an acknowledgement
STRIKES_WITHIN = 72 * HOUR  # how long a strike counts

# Fill levels
FULL = 0.9  # share of maxmemory above which producers are refused; intake goes on
DEAD_LETTERS_BYTES = 16 * 1024 * 1024  # bytes for all dead letters; beyond it only heads of new ones are kept
DEAD_LETTER_BYTES = 88 * 1024  # bytes that a dead letter of 64 KiB takes in the store
HISTORY_BYTES = 16 * 1024  # bytes of one message's history; beyond it the oldest lines are deleted
REPLIES = 10_000  # outcomes in the list of one waiting producer; more are dropped until it reads some

# Periods
QUARANTINE_AFTER = 6 * HOUR  # after so long without a claim hand-overs wait for a person
LONGEST_STEP = 5 * HOUR  # largest step of virtual time between two claims, less than ``QUARANTINE_AFTER``
LATE = 5 * MINUTE  # a report dated at most so long before the newest claim still answers it
PRESUMED_AFTER = DAY  # after it a hand-over counts as delivered, where nobody reports deliveries
ODDITY_KEPT = 7 * DAY  # so long after the last one doctor names what is odd about a source's reports
REUSED_AFTER = 14 * DAY  # a failure so long after a message's end is of another one (SES reports for 14 days)
BREAKER_KEPT = DAY  # how long the state of a closed breaker is kept
POLICY_KEPT = 400 * DAY  # how long a revision of the policy is kept after a worker last ran it
RECEIPT_KEPT = 14 * DAY  # how long a receiver remembers the id of a command that it has acted on
REPLY_KEPT = 10 * MINUTE  # how long outcomes are kept for a waiting producer
WORKER_KEPT = MINUTE  # how long a worker is listed after its last report; it reports every five seconds
CONSUMER_KEPT = HOUR  # how long a worker that reads nothing stays in the stream's group

# Sources of reports
LEAST_LAGS = 5  # dated reports that tell of a clock
ODDITIES = ("misdated", "no_zone", "repeated_id")
