"""Notices for the pipeline and for people; each has one id, however often it is sent."""

import re
import shlex
import uuid
from collections.abc import Sequence
from typing import Any

import redis
from msgspec import Struct
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from softbounce.core.policy.model import Grouping
from softbounce.core.reasons import cause
from softbounce.core.records import UNREADABLE, claim_json, decode
from softbounce.core.texts import label
from softbounce.core.timestamps import iso
from softbounce.store.connection import reaching
from softbounce.store.keys import Keys
from softbounce.store.scripts import Script

_NOTICES = uuid.UUID("a7f4f2b0-54a1-5d5f-8f5e-0f3f7a7c9e11")
_HEAD = "{}\n"
_ODD = re.compile(r"[^\w.-]")  # characters that a filter replaces by ?, which matches any
FOR_PEOPLE = {  # type of notice -> filter of `cases list`
    "escalated": "kind:soft_bounces",
    "incident": "kind:incident",
    "case_resolved": "state:resolved",
}
_SHOWN = ("case", "recipient", "reference", "how")  # facts of a sample in order; cjson keeps no order


class Notice(Struct, frozen=True, kw_only=True):
    """One notice: ``body`` goes to receivers, ``key`` to ``finish``."""

    key: str
    id: str
    type: str  # suppressed held given_up recovered escalated incident case_resolved
    body: dict[str, Any]
    common: dict[str, str] = {}  # merchant, channel and code, by which people's notices are grouped
    sample: dict[str, str] = {}  # the facts that a group's notice shows of this one
    told: int = 0  # when the notice of a group was first claimed (ms); 0 for one to the pipeline


class Notices:
    """Claim and finish; a notice that is not finished is claimed again, with the same id."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client, self._keys = client, keys
        self._claim, self._finish = Script("notices_claim"), Script("notices_finish")
        self._set_aside = Script("set_aside")

    def claim(self, *, limit: int, lease: int) -> list[Notice]:
        """Lease at most ``limit`` notices to the pipeline, and as many groups for people, for ``lease`` ms.

        An unreadable notice is set aside: a case keeps its bytes.
        """
        with reaching():
            rows, groups = self._claim(self._client, self._keys, [limit, lease])
        read, unread = [], []
        for key, raw in rows:
            try:
                read.append(_notice(key.decode(), raw.decode()))
            except UNREADABLE:
                unread += [key, raw]
        if unread:
            with reaching():
                self._set_aside(self._client, self._keys, ["notices", *unread])
        return read + [_group(name.decode(), raw.decode()) for name, raw in groups]

    def finish(self, notices: Sequence[Notice], *, people: Grouping | None = None) -> None:
        """Delete notices that every receiver has; those of ``FOR_PEOPLE`` join their groups before.

        A group is sent ``people.wait`` after its first notice, and later ones ``people.repeat`` after that.
        There is no reminder of a case that stays open, because people stop reading repeated notices.
        """
        if not notices:
            return
        single = [notice for notice in notices if not notice.told]
        options = {
            "done": [notice.key for notice in single],
            "joined": [
                [notice.key, _group_name(notice, people), notice.sample]
                for notice in single
                if people and notice.type in FOR_PEOPLE
            ],
            "told": [[notice.key, notice.told] for notice in notices if notice.told],
            "wait": people.wait if people else 0,
            "repeat": people.repeat if people else 0,
        }
        with reaching():
            self._finish(self._client, self._keys, [to_json(options)])


def _group_name(notice: Notice, people: Grouping) -> str:
    """Return the common values of a group as JSON; a change of policy does not affect existing groups."""
    return to_json({"type": notice.type, **{key: notice.common[key] for key in people.by}}).decode()


def _group(name: str, raw: str) -> Notice:
    group, found = from_json(name), from_json(raw)
    kind = group.pop("type")
    samples = [{key: one[key] for key in _SHOWN if key in one} for one in found["samples"]]
    known = {key: value for key, value in group.items() if value}
    words = [FOR_PEOPLE[kind]] + [f"{key}:{_ODD.sub('?', value)}" for key, value in known.items()]
    command = f"softbounce cases list {shlex.join(words)}"
    text = label(
        f"{kind}_group",
        n=found["n"],
        where=", ".join(f"{key} {value}" for key, value in known.items()) or None,
        samples=", ".join(" ".join(sample.values()) for sample in samples) or None,
        command=command,
    )
    body = _body(f"{name}:{found['at']}", kind, found["at"]) | {
        "group": group,
        "count": found["n"],
        "since": iso(found["since"]),
        "samples": samples,
        "command": command,
        "text": text,
    }
    return Notice(key=name, id=body["id"], type=kind, body=body, told=found["at"])


def _body(key: str, kind: str, at: int) -> dict[str, Any]:
    ident = str(uuid.uuid5(_NOTICES, key))
    return {"type": f"softbounce.{kind}", "version": 1, "id": ident, "at": iso(at)}


def _notice(key: str, raw: str) -> Notice:
    facts_line, _, record = raw.partition("\n")
    facts = from_json(facts_line)
    delivery = decode("", _HEAD + record)
    kind = facts.pop("type")
    body = _body(key, kind, facts.pop("at"))
    if delivery.reference:
        body |= {
            "reference": delivery.reference,
            "channel": delivery.channel.upper(),
            "recipients": list(delivery.recipients),
            "claim": claim_json(delivery.claim),
            "reason": {
                "type": delivery.error_type,
                "reasonCode": delivery.code,
                "text": cause(delivery.code),
            },
            "policy": {"revision": delivery.revision, "rule": delivery.rule},
        }
    seen = {name: getattr(delivery, name) for name in ("merchant", "channel", "reference")} | facts
    common = {name: str(seen.get(name, "")) for name in ("merchant", "channel", "code")}
    sample = {name: seen[name] for name in _SHOWN if seen.get(name)}
    for name in ("merchant", "channel", "code", "recipient"):
        facts.pop(name, None)  # the body has them elsewhere, or not
    for name in ("until", "deadline"):
        if name in facts:
            facts[name] = iso(int(facts[name])) if facts[name] else None  # 0: never
    body |= {name: value for name, value in facts.items() if value != ""}
    return Notice(key=key, id=body["id"], type=kind, body=body, common=common, sample=sample)
