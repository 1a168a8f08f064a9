"""The suppression list: lookups, additions, removals and imports."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal, cast

import redis
from msgspec import Struct
from msgspec.json import Decoder

from softbounce.core.bounds import NAME, bounded
from softbounce.core.filters import Filter
from softbounce.core.reasons import CODE, CONSENT, MALFORMED, built_in_fault
from softbounce.core.recipients import (
    Channel,
    address_of,
    channel_named,
    fingerprint,
    hashed,
    keyed,
    listed,
    mask,
    recipient,
    scrub,
    stored,
)
from softbounce.core.table_files import cell
from softbounce.core.timestamps import LAST, date_or_never
from softbounce.errors import InvalidEvent, InvalidRecipient
from softbounce.store.audit import By, compact
from softbounce.store.connection import as_text, ask, reaching, store_time
from softbounce.store.hash_key import HashKey, hash_in
from softbounce.store.keys import Keys
from softbounce.store.limits import LIST_BATCH, LOOKUP_BATCH, SCAN_BATCH
from softbounce.store.scripts import Script
from softbounce.store.suppression_entries import (
    SuppressionEntry,
    causes_in,
    causes_of,
    causes_of_row,
    evidence,
    is_mirror,
)

_read = Decoder().decode  # four times as fast as json; a campaign may have many suppressed recipients
Loaded = InvalidEvent | Literal["listed", "weaker", "past"] | None
"""What became of an imported row, see ``Suppressions.load``."""
_LOADED: dict[str, Loaded] = {"new": None, "weaker": "weaker", "listed": "listed"}
FILTER_KEYS = ("recipient", "channel", "code", "origin", "merchant", "expires", "age", "incident")


class Verdict(Struct, frozen=True, kw_only=True, gc=False):
    """Whether a recipient may be sent to (also as truth value), and why. ``until``: ms; None: no end."""

    allowed: bool
    recipient: str  # r_ and the hash; empty if the value is no address
    reason: str = ""  # the code, "paused", or what is wrong with the value
    until: int | None = None
    because: str = ""  # the rule, or the person and the reason
    evidence: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.allowed


class Suppressions:
    """A lookup of 5,000 recipients is one round trip; a change and its audit entry are one Lua call.

    An entry keeps each of its causes with its own end, the strongest first: consent (complaint, opt-out), a
    person's word, a bounce, the echo of a provider's list. Its end is the latest of theirs.
    """

    def __init__(
        self, client: redis.Redis, keys: Keys, *, key: HashKey, keep_addresses: bool, replicas: int = 0
    ) -> None:
        self._client, self._keys, self._replicas = client, keys, replicas
        self._change_causes = Script("suppressions")
        self._hash_key, self._key = key, key.value
        self._keep_addresses = keep_addresses

    @property
    def fingerprint(self) -> str:
        """The fingerprint of this list's hash key."""
        return fingerprint(self._key)

    def rid(self, value: object, channel: Channel | str) -> str:
        """Return the hash of a recipient, also given as ``r_...``. Raises ``InvalidRecipient``."""
        if (rid := hash_in(value)) is not None:
            return rid
        return hashed(listed(value, channel_named(channel)), self._key)

    def check(self, value: object, channel: Channel | str, *, merchant: object = None) -> Verdict:
        """Return whether one recipient may be sent to.

        Without a merchant the recipient's consent withdrawn from any merchant refuses as well.
        """
        return self.check_block([value], channel_named(channel), merchant=merchant)[0]

    def check_many(
        self, values: Iterable[object], channel: Channel | str, *, merchant: object = None
    ) -> Iterator[Verdict]:
        """Yield a verdict for each of any number of values, in order; an invalid address is refused."""
        source = iter(values)
        while block := list(islice(source, LOOKUP_BATCH)):
            yield from self.check_block(block, channel_named(channel), merchant=merchant)

    def check_block(
        self, block: Sequence[object], channel: Channel, *, merchant: object = None
    ) -> list[Verdict]:
        """Return a verdict for each of at most 5,000 values, in order, by one round trip."""
        rids: list[str] = []
        wrong: dict[int, InvalidRecipient] = {}  # index in the block -> error
        key, prefix = self._key, f"{channel}:"
        for value in block:
            try:
                if isinstance(value, str) and value.startswith("r_") and (rid := hash_in(value)):
                    rids.append(rid)
                else:
                    rids.append(keyed(prefix + address_of(value, channel), key))
            except InvalidRecipient as invalid:
                wrong[len(rids)] = invalid
                rids.append("")
        verdicts = [Verdict(allowed=True, recipient=f"r_{rid}") for rid in rids]
        refusals = self._refusals(rids, merchant) if len(wrong) < len(rids) else {}
        for place, entry in refusals.items():
            verdicts[place] = _refused(rids[place], entry)
        for place, error in wrong.items():
            because = "not an address on this channel"
            verdicts[place] = Verdict(allowed=False, recipient="", reason=str(error), because=because)
        return verdicts

    def _refusals(self, rids: list[str], merchant: object) -> dict[int, dict[str, Any]]:
        """Return by index the entry that forbids sending now; a suppression comes before a pause."""
        scope = f"@{_name_of(merchant)}"  # without a merchant: the consents of all of them
        fields = rids + [f"{rid}{scope}" for rid in rids]
        suppressions, pauses = self._keys.fixed("suppressions"), self._keys.fixed("pauses")
        listed, paused, known = ask(
            self._client,
            suppressions,
            ("HMGET", suppressions, *fields),
            ("HMGET", pauses, *[f"recipient:{rid}" for rid in rids]),
            self._hash_key.question,
        )
        if not self._hash_key.is_kept(known):  # under a wrong key everybody would be allowed
            self._hash_key.keep()
        found = _refusing(listed, paused)
        if any("z" in entry or "causes" in entry for _, entry in found):  # few: the time is asked for
            with reaching():
                now, _ = store_time(self._client, self._keys.fixed("meta"))
            found = [(place, entry) for place, entry in found if _is_active(entry, now)]
            found = [(place, _as_of(entry, now)) for place, entry in found]
        by_place: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
        for place, entry in found:
            by_place[place].append(entry)
        return {place: _deciding(entries) for place, entries in by_place.items()}

    def add(
        self,
        value: object,
        channel: Channel | str,
        *,
        by: By,
        now: int,
        expires: int | None = None,
        merchant: object = None,
        code: str = "MANUAL",
    ) -> list[SuppressionEntry]:
        """Add a recipient for a person, for ``expires`` ms or for ever, in place of an earlier such word.

        Returns all causes that stand for the recipient and merchant now, the strongest first.
        """
        target = recipient(value, channel_named(channel))
        rid = hashed(target, self._key)
        cause: dict[str, Any] = {
            "at": now,
            "code": bounded(code, "code"),
            "origin": "person",
            "by": by.actor,
            "reason": by.reason,
            "channel": str(channel),
            "mask": mask(target.address),
        }
        if expires is not None:
            cause["z"] = now + expires
        if self._keep_addresses:
            cause["address"] = target.address
        field, change = _field(rid, merchant), {"join": [cause], "replaces": True}
        ((_, raw),) = self._change([(field, change)], action="suppress", what=f"r_{rid}", by=by)
        return causes_in(field.encode(), raw)

    def remove(self, causes: Iterable[SuppressionEntry], *, by: By) -> int:
        """Lift causes, and leave the others of their entries; returns how many there were."""
        removed = 0
        source = iter(causes)
        while block := list(islice(source, LIST_BATCH)):
            changes = [(one.field, {"lift": [one.code, one.origin]}) for one in block]
            fields = {one.field for one in block}
            what = f"r_{block[0].field}" if len(fields) == 1 else f"{len(fields)} recipients"
            removed += sum(
                int(count) for count, _ in self._change(changes, action="unsuppress", what=what, by=by)
            )
        return removed

    def standing(self, fields: Collection[str], *, now: int) -> int:
        """Return how many of these fields have a cause that stands."""
        key, left, source = self._keys.fixed("suppressions"), 0, iter(fields)
        while block := list(islice(source, LOOKUP_BATCH)):
            with reaching():
                raws = cast("list[bytes | None]", self._client.hmget(key, block))
            left += sum(raw is not None and _is_active(_read(raw), now) for raw in raws)
        return left

    def find(self, value: object, channel: Channel | str) -> list[SuppressionEntry]:
        """Return the causes of one recipient's entries, for all merchants."""
        return list(self._scan(f"{self.rid(value, channel)}*"))

    def select(self, wanted: Filter, *, now: int) -> Iterator[SuppressionEntry]:
        """Yield the causes that match and stand, those of one entry together and the strongest first."""
        for found in self._scan():
            if _is_active(found.entry, now) and wanted.matches(found.facts(now)):
                yield found

    def moved(self) -> Iterator[tuple[SuppressionEntry, str | None]]:
        """Yield the strongest cause of each entry under an older key of its address, with its field of today.

        None for an entry whose address was not kept or cannot be read: it stays where it is.
        """
        last = ""
        for found in self._scan():
            if found.field == last:
                continue
            last = found.field
            if found.address is None:
                yield found, None
                continue
            try:
                who = stored(found.address, channel_named(str(found.entry.get("channel"))))
            except InvalidRecipient:
                yield found, None
                continue
            if (rid := hashed(who, self._key)) != found.rid:
                yield found, _field(rid, found.merchant)

    def move(self, entry: SuppressionEntry, field: str, *, by: By) -> None:
        """Give an entry its field of today; its causes join those that stand there."""
        address = stored(str(entry.address), channel_named(entry.entry["channel"])).address
        change = {"move": field, "address": address, "mask": mask(address)}
        self._change([(entry.field, change)], action="rekey", what=f"r_{entry.rid}", by=by)

    def load(
        self, rows: Iterable[Mapping[str, Any]], *, by: By, now: int, dry_run: bool = False
    ) -> Iterator[Loaded]:
        """Import rows of ``read_rows``, 500 a call; yields what became of each, ``InvalidEvent`` if unread.

        None: it is taken. ``weaker``: a stronger or longer cause stands, and the row's is kept beneath it.
        ``listed``: it says nothing new. ``past``: its end has come, and it is left out. The order of rows
        does not matter for who is refused, why and until when. ``dry_run`` changes nothing and yields the
        same, but keeps all rows in memory.
        """
        source = iter(rows)
        earlier: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)  # of a dry run, by field
        while block := list(islice(source, LIST_BATCH)):
            results: list[Loaded] = []
            changes: list[tuple[str, dict[str, Any]]] = []
            places: list[int] = []  # of each change, in the results
            for row in block:
                try:
                    found = [self._imported(one, by=by, now=now) for one in causes_of_row(row)]
                except (InvalidRecipient, InvalidEvent) as error:
                    results.append(
                        error if isinstance(error, InvalidEvent) else InvalidEvent(str(error), "address")
                    )
                    continue
                causes = [cause for _, cause in found if _is_active(cause, now)]
                if not causes:
                    results.append("past")
                    continue
                places.append(len(results))
                results.append(None)
                field, _ = found[0]
                changes.append((field, {"join": causes, "earlier": earlier.pop(field, [])}))
            if changes:
                what = f"{len({field for field, _ in changes})} recipients"
                answers = self._change(changes, action="import", what=what, by=by, dry_run=dry_run)
                for place, (became, _) in zip(places, answers, strict=True):
                    results[place] = _LOADED[became]
            if dry_run:
                for field, change in changes:
                    earlier[field] += [*change["earlier"], *change["join"]]
            yield from results

    def _scan(self, match: str | None = None) -> Iterator[SuppressionEntry]:
        """Yield every cause of the list, those of one entry together."""
        with reaching():
            found = self._client.hscan_iter(self._keys.fixed("suppressions"), match=match, count=SCAN_BATCH)
            for field, raw in found:
                if not is_mirror(field):
                    yield from causes_in(field, raw)

    def _change(
        self,
        changes: Sequence[tuple[str, Mapping[str, Any]]],
        *,
        action: str,
        what: str,
        by: By,
        dry_run: bool = False,
    ) -> list[tuple[str, bytes]]:
        """Change causes and write one audit entry, in one call; ``suppressions.lua`` names the changes."""
        words = [compact(by.entry(action, what)), "dry" if dry_run else ""]
        words += [word for field, change in changes for word in (field, compact(change))]
        replicas = 0 if dry_run else self._replicas
        with reaching():
            found = self._change_causes(self._client, self._keys, words, replicas=replicas)
        return [(as_text(what) if isinstance(what, bytes) else str(what), raw) for what, raw in found]

    def _imported(self, row: Mapping[str, Any], *, by: By, now: int) -> tuple[str, dict[str, Any]]:
        channel = str(row.get("channel") or "").strip().lower()
        if channel not in tuple(Channel):
            message = "must be sms, email or letter"
            raise InvalidEvent(message, "channel")
        address = row.get("address") or ""
        if not isinstance(address, Mapping):  # a postal address may be an object
            address = cell(row, "address")
        code, theirs = cell(row, "code") or "IMPORTED", cell(row, "key")
        if not theirs and not CODE.fullmatch(code):
            message = f"{scrub(code[:NAME])} is no reason code"
            raise InvalidEvent(message, "code")
        since = date_or_never(row.get("since"), "since")
        entry: dict[str, Any] = {
            "at": since or now,
            "code": code,
            "origin": cell(row, "origin") or ("event" if built_in_fault(code) else "person"),
            "by": by.actor,
            "reason": cell(row, "reason") or ("" if theirs else by.reason),
            "channel": channel,
        }
        entry |= {"evidence": reports} if (reports := evidence(row)) else {}
        entry |= {"dated": since} if since and code in CONSENT else {}  # as an opt-in compares it
        rid = hash_in(cell(row, "recipient"))
        if address and "•" not in address and "…" not in address:
            is_ours = theirs or code in MALFORMED or (channel == Channel.LETTER and "|" in address)
            target = (stored if is_ours else recipient)(address, Channel(channel))
            rid = hashed(target, self._key)
            entry["mask"] = mask(target.address)
            if self._keep_addresses:
                entry["address"] = target.address
        elif rid is None:
            message = "needs an address, or a recipient r_... of the same key"
            raise InvalidEvent(message, "address")
        else:
            if theirs and theirs != self.fingerprint:
                message = "was hashed under another key than this store's, and would protect nobody"
                raise InvalidEvent(message, "recipient")
            entry["mask"] = address
        if (until := date_or_never(row.get("until"), "until")) is not None:
            entry["z"] = until
        return _field(rid, cell(row, "merchant") or None), entry


def _refusing(
    listed: Sequence[bytes | None], paused: Sequence[bytes | None]
) -> list[tuple[int, dict[str, Any]]]:
    """Return entries that may forbid sending, with the index of their recipient."""
    found = [(place, {**_read(raw), "code": "paused"}) for place, raw in enumerate(paused) if raw is not None]
    found += [(place % len(paused), _read(raw)) for place, raw in enumerate(listed) if raw is not None]
    return found


def _deciding(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the strongest entry that refuses a recipient, with the latest end; a pause only alone."""
    blocks = [entry for entry in entries if entry["code"] != "paused"] or entries
    ends = [entry.get("z") for entry in blocks]
    latest = None if None in ends else max(cast("list[int]", ends))
    strongest = max(blocks, key=_strength)
    return {**strongest, "z": latest}


def _strength(entry: Mapping[str, Any]) -> tuple[bool, bool, int, int]:
    rank = {"provider": 0, "event": 1}.get(str(entry.get("origin")), 2)  # as in causes.lua
    return "incident" not in entry, entry["code"] in CONSENT, rank, entry.get("z") or LAST


def verdict_on(rid: str, listed: Sequence[bytes | None], paused: bytes | None, *, now: int) -> Verdict:
    """Return whether one recipient may be sent to, from its raw entries."""
    if rid.startswith("*"):
        return Verdict(allowed=False, recipient="", because="nobody in particular")
    found = [_as_of(entry, now) for _, entry in _refusing(listed, [paused]) if _is_active(entry, now)]
    return _refused(rid, _deciding(found)) if found else Verdict(allowed=True, recipient=f"r_{rid}")


def _name_of(merchant: object) -> str:
    return "" if merchant is None else bounded(merchant, "merchant")


def _field(rid: str, merchant: object) -> str:
    name = _name_of(merchant)
    return f"{rid}@{name}" if name else rid


def _is_active(entry: Mapping[str, Any], now: int) -> bool:
    return entry.get("z") is None or int(entry["z"]) > now


def _as_of(entry: Mapping[str, Any], now: int) -> dict[str, Any]:
    """Return an entry as its strongest cause that stands now, with the entry's own end."""
    if "causes" not in entry:
        return dict(entry)
    strongest = next((cause for cause in causes_of(entry) if _is_active(cause, now)), entry)
    return {**strongest, "z": entry.get("z")}


def _refused(rid: str, entry: Mapping[str, Any]) -> Verdict:
    because = entry.get("rule") or f"{entry.get('by', 'policy')}: {entry.get('reason', '')}"
    return Verdict(
        allowed=False,
        recipient=f"r_{rid}",
        reason=str(entry.get("code", "")),
        until=entry.get("z"),
        because=str(because),
        evidence=tuple(entry.get("evidence") or ()),
    )
