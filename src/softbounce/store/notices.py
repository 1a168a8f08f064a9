"""What the pipeline or a person is to be told; each notice has one id, however often it is sent."""

import uuid
from collections.abc import Sequence
from typing import Any

import redis
from msgspec import Struct
from msgspec.json import decode as from_json

from softbounce.core.reasons import cause
from softbounce.core.records import claim_json, decode, iso
from softbounce.store.connection import reaching
from softbounce.store.keys import Keys
from softbounce.store.scripts import Script

_NOTICES = uuid.UUID("a7f4f2b0-54a1-5d5f-8f5e-0f3f7a7c9e11")
_HEAD = "{}\n"


class Notice(Struct, frozen=True, kw_only=True):
    """One notice: ``body`` is what receivers get; ``key`` is what ``finish`` wants."""

    key: str
    id: str
    type: str  # suppressed held given_up recovered escalated incident case_resolved
    body: dict[str, Any]


class Notices:
    """Claim and finish; what is not finished comes again under the same id."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._claim = Script("notices_claim")
        self._finish = Script("notices_finish")

    def claim(self, *, limit: int, lease: int) -> list[Notice]:
        """Lease at most ``limit`` notices for ``lease`` ms."""
        with reaching():
            rows = self._claim(self._client, self._keys, [limit, lease])
        return [_notice(key.decode(), raw.decode()) for key, raw in rows]

    def finish(self, notices: Sequence[Notice]) -> None:
        """Forget notices that every receiver has got."""
        if notices:
            with reaching():
                self._finish(self._client, self._keys, [notice.key for notice in notices])


def _notice(key: str, raw: str) -> Notice:
    facts_line, _, record = raw.partition("\n")
    facts = from_json(facts_line)
    delivery = decode("", _HEAD + record)
    ident = str(uuid.uuid5(_NOTICES, key))
    body: dict[str, Any] = {
        "type": f"softbounce.{facts.pop('type')}",
        "version": 1,
        "id": ident,
        "at": iso(facts.pop("at")),
    }
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
    facts.pop("code", None)
    for name in ("until", "deadline"):
        if name in facts:
            facts[name] = iso(int(facts[name])) if facts[name] else None  # 0: never
    body |= {name: value for name, value in facts.items() if value != ""}
    return Notice(key=key, id=ident, type=body["type"].removeprefix("softbounce."), body=body)
