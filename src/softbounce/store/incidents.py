"""Incidents of the suppression brake: which suppressions belong to one, and their undo or confirmation."""

import json
from collections.abc import Iterator
from itertools import islice
from typing import cast

import redis

from softbounce.errors import NotFound
from softbounce.store.cases import Case
from softbounce.store.connection import reaching
from softbounce.store.keys import Keys
from softbounce.store.limits import RESOLVE_BATCH, SCAN_BATCH
from softbounce.store.scripts import Script
from softbounce.store.suppression_entries import SuppressionEntry, causes_in, is_mirror


class Incidents:
    """Finds an incident's suppressions by a scan of the list, so that they are never all in memory."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client, self._keys = client, keys
        self._settle = Script("incident")

    def suppressions(self, case: Case) -> Iterator[SuppressionEntry]:
        """Yield the causes that an undo would lift, in no order.

        Those of a person, or with other evidence, are left out. Raises ``NotFound`` if the case is no
        incident of the brake.
        """
        if "brake" not in case.entry:
            msg = f"{case.id} is no incident of the brake"
            raise NotFound(msg, "cases", "kind:incident")
        group, since = case.entry["brake"], int(case.entry["since"])
        mark = f'"b":{json.dumps(group)}'.encode()
        with reaching():
            for field, raw in self._client.hscan_iter(self._keys.fixed("suppressions"), count=SCAN_BATCH):
                if mark not in raw or is_mirror(field):
                    continue
                for cause in causes_in(field, raw):
                    is_its_own = cause.entry.get("b") == group
                    if is_its_own and since <= cause.since <= case.entry.get("resolved", cause.since):
                        yield cause

    def settle(self, case: Case, how: str, *, batch: int = RESOLVE_BATCH) -> Iterator[int]:
        """Lift all of its causes (``undo``), or make the provisional ones last (``confirm``).

        Yields the number of causes of each call. It can be repeated, for example after a crash.
        """
        source = self.suppressions(case)
        while fields := [entry.field for entry in islice(source, batch)]:
            with reaching():
                done = cast("int", self._settle(self._client, self._keys, [case.id, how, *fields]))
            yield done
