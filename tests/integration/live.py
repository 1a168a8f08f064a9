"""What the tests of a running worker share: a worker process, reports, and waiting."""

import json
import re
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from kombu import Connection
from tests.servers import PATIENCE

START = 1_795_341_600_000  # 2026-11-22 10:00 UTC, a Sunday morning in Berlin
MINUTE = 60_000
HOUR = 60 * MINUTE


def failed(reference: str, code: str = "SMS_EXPIRED", **fields: Any) -> dict[str, Any]:
    """Return a report that ``reference`` failed at ``START``; ``fields`` are of the communication."""
    number = int.from_bytes(reference.encode()) % 10**8
    communication = {
        "reference": reference,
        "channel": "SMS",
        "recipients": [f"+4917{number:08}"],
        "error": {"type": "SEND_ERROR", "reasonCode": code, "details": {"message": "as the operator says"}},
    }
    claim = {"id": f"claim-{reference}", "merchantId": 1, "referenceNumber": "R-1", "customerNumber": "C-1"}
    return {
        "type": "MESSAGE_NOT_DELIVERED",
        "date": "2026-11-22T10:00:00Z",
        "eventId": f"event-{reference}-{code}",
        "source": "ESCALATION",
        "claim": {**claim, "communication": {**communication, **fields}},
    }


def failed_now(reference: str, code: str = "SMS_EXPIRED", **fields: Any) -> dict[str, Any]:
    """Return a report of this moment, for a store in real time: four days after its date a retry is given up."""
    return failed(reference, code, **fields) | {"date": datetime.now(UTC).isoformat()}


def until(claim: Callable[[], Any], *, seconds: float = PATIENCE) -> Any:
    """Poll until ``claim`` holds and return what it says; fail after so many seconds."""
    end = time.monotonic() + seconds
    while not (said := claim()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.01)
    return said


def empty(broker: str, *queues: str) -> None:
    """Empty queues of a broker; what a worker of an earlier test had in hand comes back first."""
    with Connection(broker) as connection:
        for name in queues:
            with closing(connection.SimpleQueue(name)) as queue:
                until(lambda queue=queue: queue.queue.queue_declare(passive=True).consumer_count == 0)
                queue.clear()


@dataclass
class WorkerProcess:
    """One worker of its own process; ``log`` holds what it has said."""

    process: "subprocess.Popen[bytes]"
    path: Path

    @property
    def log(self) -> str:
        """Return all it has said so far."""
        return self.path.read_text(errors="replace")

    def logged(self, name: str) -> list[dict[str, Any]]:
        """Return the log lines of one event name."""
        lines = re.findall(r"^\{.*\}$", self.log, re.MULTILINE)
        return [entry for entry in map(json.loads, lines) if entry["event"] == name]

    def stop(self) -> int:
        """End it by SIGTERM and return its exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.process.kill()
        self.process.wait()


class Desk:
    """A receiver on this machine: keeps what came, answers with ``statuses`` in turn and then with 204."""

    def __init__(self):
        desk = self
        self.got, self.statuses = [], []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                desk.got.append((dict(self.headers), body))
                self.send_response(desk.statuses.pop(0) if desk.statuses else 204)
                self.send_header("location", "/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks/token-of-the-path"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def ids(self):
        """The ids of the notices, in the order in which they came."""
        return [headers["webhook-id"] for headers, _ in self.got]
