"""Policy revisions with their texts, and the one that all workers must follow."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import redis

from softbounce.core.bounds import NAME, TEXT, bounded
from softbounce.core.policy.model import Policy
from softbounce.core.policy.yaml_tree import LARGEST
from softbounce.core.replan import Move
from softbounce.store.audit import By, compact
from softbounce.store.connection import hash_field, reaching
from softbounce.store.keys import Keys
from softbounce.store.limits import LIST_BATCH, POLICY_KEPT
from softbounce.store.scripts import Script

_APPLIED = "applied"  # field for the applied revision; it has no ``z``, so it is never swept


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One revision; ``previous``, ``by``, ``at`` (ms) and ``reason`` are set if a person has applied it."""

    revision: str
    text: str
    file: str
    previous: str = ""
    by: str = ""
    at: int = 0
    reason: str = ""


class Policies:
    """Revisions are kept for 400 days after a worker last ran them."""

    def __init__(self, client: redis.Redis, keys: Keys, *, replicas: int = 0) -> None:
        self._client, self._keys, self._replicas = client, keys, replicas
        self._put, self._apply, self._replan = Script("put"), Script("apply"), Script("replan")

    def keep(self, policy: Policy, *, text: str, now: int) -> None:
        """Store a revision with its text; records hold only its name and a line."""
        file, name = bounded(policy.file, "file", most=TEXT), bounded(policy.name, "name")
        text = bounded(text, "text", most=LARGEST)
        entry = compact({"file": file, "name": name, "text": text, "z": now + POLICY_KEPT})
        with reaching():
            self._put(self._client, self._keys, [policy.revision, entry], target="policies")

    def find(self, revision: str) -> Revision | None:
        """Return a stored revision with its text, else None."""
        found = self._read(revision)
        if found is None or "text" not in (entry := json.loads(found)):  # an older release kept no text
            return None
        return Revision(revision=revision, text=entry["text"], file=entry["file"])

    def applied(self) -> Revision | None:
        """Return the revision that all workers must follow; None: each follows its own file."""
        found = self._read(_APPLIED)
        return None if found is None else Revision(**json.loads(found))

    def apply(self, wanted: Revision | None, *, seen: str, action: str, by: By) -> bool:
        """Make all workers follow ``wanted`` within some ten seconds; None: each follows its own file.

        Returns false, without a change, if the applied revision is not ``seen`` (empty: none).
        """
        if wanted:
            _require_short(wanted)
        what = wanted.revision if wanted else "file"
        entry = by.entry(action, what)
        names = Revision.__slots__
        raw = compact({name: getattr(wanted, name) for name in names}) if wanted else ""
        with reaching():
            answer = self._apply(
                self._client,
                self._keys,
                [compact(entry), bounded(seen, "seen"), raw],
                replicas=self._replicas,
            )
        return bool(answer == b"done")

    def replan(self, moves: Sequence[Move], *, revision: str, by: By) -> int:
        """Move waiting retries, 500 in a call; returns how many were moved, because they had not changed."""
        moved = 0
        for start in range(0, len(moves), LIST_BATCH):
            chunk = moves[start : start + LIST_BATCH]
            what = f"{len(chunk)} retries to {revision}"
            entry = by.entry("policy reschedule", what)
            arguments = [
                part for move in chunk for part in (move.delivery, compact(move.wanted), move.payload)
            ]
            with reaching():
                answers = self._replan(self._client, self._keys, [compact(entry), revision, *arguments])
            moved += sum(answer == b"done" for answer in answers)
        return moved

    def _read(self, field: str) -> bytes | None:
        return hash_field(self._client, self._keys.fixed("policies"), bounded(field, "revision"))


def _require_short(wanted: Revision) -> None:
    sizes = {"text": LARGEST, "file": TEXT, "reason": TEXT}
    for name in ("revision", "text", "file", "previous", "by", "reason"):
        bounded(getattr(wanted, name), name, most=sizes.get(name, NAME))
