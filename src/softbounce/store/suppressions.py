"""The suppression list: lookups, additions, removals and imports."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal

import redis
from msgspec import Struct
from msgspec.json import Decoder

from softbounce.core.bounds import NAME, bounded
from softbounce.core.filters import Filter
from softbounce.core.reasons import CODE, CONSENT, MALFORMED
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
from softbounce.store.audit import Audit, By
from softbounce.store.connection import ask, hash_field, reaching, store_time
from softbounce.store.hash_key import HashKey, hash_in
from softbounce.store.keys import Keys
from softbounce.store.limits import LIST_BATCH, LOOKUP_BATCH, SCAN_BATCH
from softbounce.store.suppression_entries import SuppressionEntry, entry_of, evidence

_read = Decoder().decode  # four times as fast as json; a campaign may have many suppressed recipients
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
    """A lookup of 5,000 recipients is one round trip; a change and its audit entry are one Lua call."""

    def __init__(
        self, client: redis.Redis, keys: Keys, *, key: HashKey, keep_addresses: bool, audit: Audit
    ) -> None:
        self._client, self._keys, self._audit = client, keys, audit
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
        """Return whether one recipient may be sent to."""
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
        fields = rids if merchant is None else rids + [_field(rid, merchant) for rid in rids]
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
        if any("z" in entry for _, entry in found):  # few entries end, so the time is asked for only then
            with reaching():
                now, _ = store_time(self._client, self._keys.fixed("meta"))
            found = [(place, entry) for place, entry in found if _is_active(entry, now)]
        return dict(found)

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
    ) -> str:
        """Add a recipient for a person, for ``expires`` ms or for ever; returns its hash."""
        target = recipient(value, channel_named(channel))
        rid = hashed(target, self._key)
        entry: dict[str, Any] = {
            "at": now,
            "code": bounded(code, "code"),
            "origin": "person",
            "by": by.actor,
            "reason": by.reason,
            "channel": str(channel),
            "mask": mask(target.address),
            "evidence": [],
        }
        if expires is not None:
            entry["z"] = now + expires
        if self._keep_addresses:
            entry["address"] = target.address
        self._audit.change(
            "suppressions", {_field(rid, merchant): entry}, action="suppress", what=f"r_{rid}", by=by
        )
        return rid

    def remove(self, fields: Iterable[str], *, by: By) -> int:
        """Remove entries by their fields; returns how many there were."""
        removed = 0
        source = iter(fields)
        while block := list(islice(source, LIST_BATCH)):
            block = [bounded(field, "recipient", most=2 * NAME) for field in block]
            what = f"r_{block[0]}" if len(block) == 1 else f"{len(block)} recipients"
            before = self._audit.change(
                "suppressions", dict.fromkeys(block), action="unsuppress", what=what, by=by
            )
            removed += sum(value != b"" for value in before)
        return removed

    def find(self, value: object, channel: Channel | str) -> list[SuppressionEntry]:
        """Return the entries of one recipient, for all merchants."""
        rid = self.rid(value, channel)
        with reaching():
            found = self._client.hscan_iter(
                self._keys.fixed("suppressions"), match=f"{rid}*", count=SCAN_BATCH
            )
            return [entry_of(field, raw) for field, raw in found]

    def select(self, wanted: Filter, *, now: int) -> Iterator[SuppressionEntry]:
        """Yield the entries that match, in no order."""
        with reaching():
            for field, raw in self._client.hscan_iter(self._keys.fixed("suppressions"), count=SCAN_BATCH):
                found = entry_of(field, raw)
                if _is_active(found.entry, now) and wanted.matches(found.facts(now)):
                    yield found

    def moved(self) -> Iterator[tuple[SuppressionEntry, str | None]]:
        """Yield each entry that stands under an older key of its address, with its field of today.

        None for an entry whose address was not kept or cannot be read: it stays where it is.
        """
        with reaching():
            for field, raw in self._client.hscan_iter(self._keys.fixed("suppressions"), count=SCAN_BATCH):
                found = entry_of(field, raw)
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
        """Give an entry its field of today; of two entries the one that lasts longer stays, consent first."""
        with reaching():
            raw = hash_field(self._client, self._keys.fixed("suppressions"), field)
        other = entry_of(field.encode(), raw) if raw else None
        stays = other and _strength(other) >= _strength(entry)
        address = stored(str(entry.address), channel_named(entry.entry["channel"])).address
        kept = {**entry.entry, "address": address, "mask": mask(address)}
        changes = {entry.field: None} | ({} if stays else {field: kept})
        self._audit.change("suppressions", changes, action="rekey", what=f"r_{entry.rid}", by=by)

    def load(
        self, rows: Iterable[Mapping[str, Any]], *, by: By, now: int
    ) -> Iterator[InvalidEvent | Literal["listed", "past"] | None]:
        """Import rows of ``read_rows``, 500 a call; yields None for an imported row, else what is wrong.

        A row whose end has come yields ``past``. A row with ``keep_existing`` leaves an active entry that has
        this code (empty: any code) as it is, and yields ``listed``.
        """
        source = iter(rows)
        while block := list(islice(source, LIST_BATCH)):
            entries: dict[str, dict[str, Any]] = {}
            kept: dict[str, str] = {}
            places: dict[str, int] = {}  # field -> index in the block
            results: list[InvalidEvent | Literal["listed", "past"] | None] = []
            for row in block:
                try:
                    field, entry = self._imported(row, by=by, now=now)
                except (InvalidRecipient, InvalidEvent) as error:
                    results.append(
                        error if isinstance(error, InvalidEvent) else InvalidEvent(str(error), "address")
                    )
                    continue
                if not _is_active(entry, now):
                    results.append("past")
                elif field in entries and row.get("keep_existing") in ("", entries[field]["code"]):
                    results.append("listed")
                else:
                    entries[field], places[field] = entry, len(results)
                    kept.pop(field, None)
                    if "keep_existing" in row:
                        kept[field] = row["keep_existing"]
                    results.append(None)
            if entries:
                what = f"{len(entries)} recipients"
                before = self._audit.change(
                    "suppressions", entries, action="import", what=what, by=by, keep_existing=kept
                )
                for place, value in zip(places.values(), before, strict=True):
                    results[place] = "listed" if value == b"listed" else None
            yield from results

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
        entry: dict[str, Any] = {
            "at": date_or_never(row.get("since"), "since") or now,
            "code": code,
            "origin": cell(row, "origin") or "person",
            "by": by.actor,
            "reason": cell(row, "reason") or ("" if theirs else by.reason),
            "channel": channel,
            "evidence": evidence(row),
        }
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
    """Return entries that may forbid sending, with the index of their recipient; the last one decides."""
    found = [(place, {**_read(raw), "code": "paused"}) for place, raw in enumerate(paused) if raw is not None]
    blocks = [(place % len(paused), _read(raw)) for place, raw in enumerate(listed) if raw is not None]
    blocks.sort(
        key=lambda block: "incident" not in block[1]
    )  # provisional ones first, since the last one decides
    found += blocks
    return found


def verdict_on(rid: str, listed: Sequence[bytes | None], paused: bytes | None, *, now: int) -> Verdict:
    """Return whether one recipient may be sent to, from its raw entries."""
    if rid.startswith("*"):
        return Verdict(allowed=False, recipient="", because="nobody in particular")
    found = [entry for _, entry in _refusing(listed, [paused]) if _is_active(entry, now)]
    return _refused(rid, found[-1]) if found else Verdict(allowed=True, recipient=f"r_{rid}")


def _field(rid: str, merchant: object) -> str:
    return rid if merchant is None else f"{rid}@{bounded(merchant, 'merchant')}"


def _strength(entry: SuppressionEntry) -> tuple[bool, int]:
    return entry.entry["code"] in CONSENT, entry.until or LAST


def _is_active(entry: Mapping[str, Any], now: int) -> bool:
    return entry.get("z") is None or int(entry["z"]) > now


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
