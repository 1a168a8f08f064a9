"""What happened, line by line, as those outside saw it: the producers, the pipeline, the person, the fault."""

import gzip
import json
import threading
import time
from pathlib import Path
from typing import Any

Line = dict[str, Any]


class History:
    """An append-only list of lines. Every thread may write.

    Each line has ``k`` (its kind) and ``t`` (wall clock, seconds):
      fate     ref, to, plan: what must become of one message, decided before anything is sent; ends "any": a bad input's
      ask      n, ref: a producer sends event n              told  n: the store has taken it
      got      id, ref, attempt, due: one command reached the pipeline, each time it did
      notice   id, type, ref, rid, case: one notice reached the pipeline, each time it did
      said     what, to or ref: a person's word was committed
      fault    what: a fault began                           mended  what: and ended
      window   since, until: what was acknowledged then may be lost (the published power-cut window)
      silence  since, until, why: nothing may be handed over in between
      bad      name, entry: a producer added an entry that is a bad input      answered  entry, outcome: what it was told of it
      planted  name, wanted, scheduled: a record that is none was written into the store; whether it stands in the schedule in the end
      bound    seconds: from the report of an ordinary message to its first resend, at most
      broken   said: a reference of the store that leads nowhere, in the end
      end      ref, state, outcome, attempt, group, failed, resent: what the store holds in the end
      suppressed to | dead raw | case what, to | left names and counts | note
    """

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._lock = threading.Lock()

    def add(self, kind: str, **facts: Any) -> Line:
        """Append one line and return it."""
        line = {"k": kind, "t": round(time.time(), 3), **facts}
        with self._lock:
            self.lines.append(line)
        return line


def save(path: Path, report: dict[str, Any]) -> None:
    """Write a report with its histories; a name that ends in .gz is compressed."""
    data = json.dumps(report, separators=(",", ":"), ensure_ascii=False).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def load(path: Path) -> dict[str, Any]:
    """Read what ``save`` wrote."""
    data = path.read_bytes()
    return json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
