"""What the pipeline or a person is to be told; each notice has one id, however often it is sent."""

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
_ODD = re.compile(r"[^\w.-]")  # in a filter: blanks, commas; a ? there fits any character
FOR_PEOPLE = {  # -> the words by which `cases list` finds them
    "escalated": "kind:soft_bounces",
    "incident": "kind:incident",
    "case_resolved": "state:resolved",
}
_SHOWN = ("case", "recipient", "reference", "how")  # of a sample, in this order, which cjson does not keep


class Notice(Struct, frozen=True, kw_only=True):
    """One notice: ``body`` is what receivers get; ``key`` is what ``finish`` wants."""

    key: str
    id: str
    type: str  # suppressed held given_up recovered escalated incident case_resolved
    body: dict[str, Any]
    common: dict[str, str] = {}  # merchant, channel, code: what groups are made by
    sample: dict[str, str] = {}  # how a group's notice shows this one
    told: int = 0  # a group's: when it was first claimed; 0: the notice is the pipeline's


class Notices:
    """Claim and finish; what is not finished comes again under the same id."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._claim = Script("notices_claim")
        self._finish = Script("notices_finish")
        self._set_aside = Script("set_aside")

    def claim(self, *, limit: int, lease: int) -> list[Notice]:
        """Lease for ``lease`` ms at most ``limit`` notices to the pipeline, and as many groups for people.

        One that cannot be read is set aside: a case keeps its bytes.
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
        """Forget notices that every receiver has got; those of ``FOR_PEOPLE`` join their groups first.

        A group is told ``people.wait`` after its first notice, and what comes later a ``people.repeat``
        after that. A case that stays open is not told of again: whoever heard of it twice stops to listen.
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
    """Return what the members of a group have in common, as JSON: a change of policy leaves old groups be."""
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
        facts.pop(name, None)  # the body has them elsewhere, or not at all
    for name in ("until", "deadline"):
        if name in facts:
            facts[name] = iso(int(facts[name])) if facts[name] else None  # 0: never
    body |= {name: value for name, value in facts.items() if value != ""}
    return Notice(key=key, id=body["id"], type=kind, body=body, common=common, sample=sample)
