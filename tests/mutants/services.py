"""Bugs around the scripts: the store's modules, the worker's loops, the producer's client, the receiver."""

from .mutant import Mutant, in_file

RECEIVER = ("tests/contract/test_receiver.py",)
CLIENT = ("tests/unit/test_client.py", "tests/contract/test_client.py")
LISTS = ("tests/contract/test_lists.py", "tests/contract/test_client.py", "tests/contract/test_hash_key.py")
NOTICES = ("tests/integration/test_notices.py",)
STREAMS = ("tests/contract/test_streams.py", "tests/contract/test_one_bad_item.py")
BAD_ITEM = ("tests/contract/test_one_bad_item.py", "tests/integration/test_hostile.py")
PUMP = ("tests/integration/test_pump.py", "tests/integration/test_worker.py")

MUTANTS: tuple[Mutant, ...] = (
    *in_file(
        "receiver.py",
        RECEIVER,
        (
            "lease=longest // _MILLISECOND",
            "lease=longest // (1000 * _MILLISECOND)",
            "A receiver holds an id for its whole lease.",
        ),
        (
            "now > not_after:\n        _give_back",
            "now > not_after + 60_000:\n        _give_back",
            "After the deadline nobody acts.",
        ),
        (
            "now > not_after:\n        _give_back(receipts, ident, holder)",
            "now > not_after:",
            "Who was too late leaves no lease behind.",
        ),
        (
            "except BaseException:\n        _give_back",
            "except Exception:\n        _give_back",
            "SystemExit in the act frees the id.",
        ),
        (
            "        patiently(receipts.keep, ident)\n",
            "        pass\n",
            "An id that was acted on is remembered.",
        ),
        ("if taken is Taken.THEIRS:", "if taken is None:", "Of two receivers at once one acts."),
        ("0 < len(ident) <= _MAX_ID", "len(ident) <= _MAX_ID", "A command without an id is refused."),
    ),
    *in_file(
        "store/receipts.py",
        RECEIVER,
        ("nx=True", "nx=False", "An id that another holds is not taken."),
    ),
    *in_file(
        "client.py",
        CLIENT,
        (
            "            if invalid is not None:\n                raise invalid\n",
            "",
            "An invalid event is told to its producer.",
        ),
        (
            "(event is None) == (reference is None) or",
            "",
            "Delivered takes an event or a reference, not both.",
        ),
        ("if len(named) != 1:", "if not named:", "A cancellation names exactly one thing."),
        ("        self.unreachable += len(block)\n", "", "Verdicts without the store are counted."),
        (
            'reason, because, allows = str(error), "not an address on this channel", False',
            'reason, because = str(error), "not an address"',
            "What is no address is refused without the store, too.",
        ),
        (
            "(allowed if verdict else blocked)",
            "(blocked if verdict else allowed)",
            "A campaign is split into whom to send to and whom not.",
        ),
        (
            'return if_unreachable == "allow"',
            'return if_unreachable == "deny"',
            "An unreachable store gives what the caller asked for.",
        ),
        (
            "self._ask_again_at = monotonic() + REST",
            "self._ask_again_at = monotonic()",
            "A store that does not answer is not asked for each recipient.",
        ),
        ('channel_named(channel or "").upper()', '"EMAIL"', "A delivery is said of its own channel."),
    ),
    *in_file(
        "store/suppressions.py",
        LISTS,
        ("rids + [_field(rid, merchant) for rid in rids]", "rids", "An opt-out binds its merchant."),
        (
            "(place % len(rids), _read(raw))",
            "(place, _read(raw))",
            "A merchant's own entry refuses its recipient.",
        ),
        ('int(entry["z"]) > now', 'int(entry["z"]) > 0', "An entry that has ended refuses nobody."),
        ("if not self._hash_key.is_kept(known):", "if False:", "Another hash key is no silent allow."),
        ('entry["z"] = now + expires', 'entry["z"] = expires', "A person's block ends after its time."),
        ("theirs != self.fingerprint:", "False:", "An import refuses hashes of another key."),
        (
            'if not _is_active(entry, now):\n                    results.append("past")\n                elif',
            "if",
            "An import takes no row that has ended.",
        ),
        (
            'row.get("meek") in ("", entries[field]["code"])',
            "True",
            "Consent is not displaced by a bounce of the same import.",
        ),
        (
            '"origin": cell(row, "origin") or "person"',
            '"origin": "person"',
            "An import keeps where an entry came from.",
        ),
        (
            'removed += sum(value != b"" for value in before)',
            "removed += len(before)",
            "Who is not on the list is not counted as removed.",
        ),
        ('moment(row.get("since"), "since") or now', "now", "An import keeps since when."),
        (
            'verdicts[place] = Verdict(allowed=False, recipient="", reason=str(error), because=because)',
            "pass",
            "What is no address may not be sent to.",
        ),
    ),
    *in_file(
        "store/ledger.py",
        ("tests/contract/test_claim.py", "tests/contract/test_accept.py", "tests/contract/test_seen.py"),
        (
            "max(retention.history, retention.dedupe)",
            "retention.dedupe",
            "State lasts as long as the policy says.",
        ),
        (
            '"count": limits.resends_per_claim.count, "per": limits.resends_per_claim.per',
            '"count": limits.resends_per_recipient.count, "per": limits.resends_per_claim.per',
            "A claim has a cap of its own.",
        ),
        (
            'b"".join([*(row.probe for row in rows), *encoder.probes])',
            'b"".join([*encoder.probes, *(row.probe for row in rows)])',
            "Each event is looked for by its own hash.",
        ),
        (
            "found = {place: cast",
            "found = {len(results) - 1 - place: cast",
            "Each hand-over gets its own answer.",
        ),
        ('"lease": lease,', '"lease": lease // 1000,', "A lease is in milliseconds."),
    ),
    *in_file(
        "store/encoding.py",
        ("tests/contract/test_accept.py", "tests/contract/test_seen.py", "tests/contract/test_review.py"),
        (
            '"1" if due.quiet else "0"',
            '"0" if due.quiet else "1"',
            "A retry says that it waits for the end of quiet hours.",
        ),
        (
            "facts.first = len(self.probes) + 1",
            "facts.first = len(self.probes)",
            "Each of several is looked for by its own hash.",
        ),
        (
            "not_after=event.not_after,",
            "not_after=None,",
            "Nothing is scheduled past the message's own deadline.",
        ),
        ("facts.code not in CONSENT", "True", "Opt-outs are never provisional."),
        (
            "facts.rids = self._rids(event)\n",
            "facts.rids = []\n",
            "A resend to several knows whom it goes to.",
        ),
    ),
    *in_file(
        "store/streams.py",
        STREAMS,
        ("            self.make_group()\n", "", "A lost stream is made again."),
        ("self.made_again += 1", "pass", "A lost stream is said."),
        ("idle=0, retrycount=0, justid=True", "idle=0, justid=True", "A deferred report has no strike."),
        ('{"entry": entry.id, **', "{**", "A reply says which entry it answers."),
        ('if not consumer["pending"] and', "if", "A worker that holds reports stays in the group."),
        ("unread=max(0, length - held)", "unread=length", "What is read and not acknowledged is not unread."),
        ('fields["reply"] = reply', "pass", "A producer that waits hears the outcome."),
        (
            "pipe.expire(key, _STRIKES_WITHIN)",
            "pass",
            "Strikes of what a broker delivers again are forgotten.",
        ),
        ("count -= len(found)", "count -= 0", "A producer waits for no more replies than it asked for."),
    ),
    *in_file(
        "worker/intake.py",
        BAD_ITEM,
        (
            "entry.letter is None and entry.deliveries > STRIKES",
            "entry.letter is None and entry.deliveries > 99",
            "What ends its workers three times is a dead letter.",
        ),
        (
            "decisions = [entry.letter or one for",
            "decisions = [one for",
            "What is too large for the stream is a dead letter.",
        ),
        (
            "slice(len(raws) // 2), slice(len(raws) // 2, None)",
            "slice(len(raws) // 2), slice(len(raws) // 2 + 1, None)",
            "Halves of a batch leave nobody out.",
        ),
        ("if answer.outcome != DEFERRED]", "]", "A deferred report is not acknowledged."),
        (
            "if work > BATCH and place > starts[-1]:",
            "if False:",
            "A batch holds no more than the work of an ordinary one.",
        ),
        ('"first": answer.first,', '"first": None,', "A duplicate's reply says what came of it first."),
        (
            "if any(answer.outcome == DEFERRED for answer in accepted):",
            "if False:",
            "A Celery message for a later release goes back to the broker.",
        ),
    ),
    *in_file(
        "worker/pump.py",
        PUMP,
        ("self._answered = self._asked\n", "pass\n", "What a worker has in hand stays its own."),
        ("if delay:\n", "if False:\n", "Quiet hours are looked at once more before a hand-over."),
        ("going[: handed.count]", "going", "What the sink did not take is not called handed over."),
        ("back = going[handed.count :]", "back = going[handed.count + 1 :]", "What did not leave goes back."),
        (
            "monotonic() < last_start and not self._stopping.is_set()",
            "monotonic() < last_start",
            "After the word to stop nothing begins.",
        ),
        (
            "if len(claimed.leases) < limit:\n                self.settle()",
            "if False:\n                self.settle()",
            "A batch that is not full is finished at once.",
        ),
        (
            "            except Exception:  # one record",
            "            except OSError:  # one record",
            "A record that cannot be read stops no other.",
        ),
    ),
    *in_file(
        "worker/notices.py",
        NOTICES,
        ("if notice.id not in self.told and", "if", "Who has a notice is not told again."),
        (
            "limit = BATCH if pipeline.is_free else FEW",
            "limit = BATCH if pipeline.is_free else 0",
            "People hear of what is due while the pipeline rests.",
        ),
        (
            "people if notice.told else [pipeline]:\n                receiver",
            "people:\n                receiver",
            "A notice for the pipeline goes to the pipeline.",
        ),
        ("len(self.waiting) < WAITING", "True", "A receiver holds no more than two batches."),
        ("if now < one[1]}", "}", "No notice begins late in its lease."),
        ("if all(notice.id", "if any(notice.id", "A notice is finished when all were told."),
        (
            "monotonic() < hand_over.last_start and not self._stopping.is_set()",
            "monotonic() < hand_over.last_start",
            "After the word to stop no notice begins.",
        ),
        (
            "if len(self._left_behind) >= LEFT_BEHIND:",
            "if False:",
            "Few threads of one receiver are left behind.",
        ),
    ),
    *in_file(
        "worker/reload.py",
        ("tests/unit/test_reload.py",),
        (
            "text != before and before.startswith(text)",
            "False",
            "The beginning of the policy in force is refused.",
        ),
        ("not (applied or is_still)", "False", "A change counts once two looks found the same."),
        (
            "            self.text = text\n",
            "",
            "A later beginning is told from the policy that came into force.",
        ),
        ("seen == self._read or", "False or", "A policy that stays is not loaded again."),
    ),
)
