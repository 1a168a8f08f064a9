"""A store of one test, and the commands on it."""

import json
from dataclasses import dataclass
from typing import Any

from live import failed
from typer.testing import CliRunner, Result

from softbounce.cli.main import app
from softbounce.core.decide import decide
from softbounce.core.policy.model import Policy
from softbounce.store import Finish, Store
from softbounce.store.ledger import Accepted

NUMBER = "+4915112345678"


@dataclass
class Desk:
    """A store of one test in virtual time, what a worker does to it, and the commands."""

    store: Store
    policy: Policy

    def run(self, *words: object, stdin: str | bytes | None = None) -> Result:
        """Run one command."""
        result = CliRunner().invoke(app, [str(word) for word in words], input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    def data(self, *words: object, stdin: str | bytes | None = None) -> list[dict[str, Any]]:
        """Run one command and return its NDJSON."""
        return [
            json.loads(line) for line in self.run(*words, "-o", "ndjson", stdin=stdin).stdout.splitlines()
        ]

    def report(self, *events: dict[str, Any] | bytes) -> list[Accepted]:
        """Let events be accepted, as a worker does."""
        raws = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
        decisions = [decide(raw, policy=self.policy, now=self.store.now()) for raw in raws]
        return self.store.ledger.accept(decisions, policy=self.policy)

    def pump(self) -> list[str]:
        """Hand over what is due, as a worker does; return the references."""
        claimed = self.store.ledger.claim(policy=self.policy, limit=100, lease=30_000)
        done = [
            Finish(delivery=lease.delivery.id, token=lease.token, result="handed_over", note="stream:x")
            for lease in claimed.leases
        ]
        self.store.ledger.finish(done, policy=self.policy)
        return [lease.delivery.reference for lease in claimed.leases]

    def waiting(self) -> list[str]:
        """Return the references that wait and will leave."""
        return [row["reference"] for row in self.data("retries", "list", "-state:cancelled,suppressed")]

    def audit(self) -> dict[str, Any]:
        """Return the newest audit entry."""
        return self.data("audit", "list", "--limit", 1)[0]


def mailbox_full(reference: str, **fields: Any) -> dict[str, Any]:
    """Return a report of a full mailbox; each reference has an address of its own."""
    event = failed(
        reference, "BOUNCE_TRANSIENT_MBX_FULL", channel="EMAIL", recipients=[f"{reference}@web.de"]
    )
    return event | {"claim": event["claim"] | fields}


def findings(desk: Desk) -> dict[str, list[str]]:
    """Return what the doctor says, by level."""
    found: dict[str, list[str]] = {}
    for row in desk.data("doctor"):
        found.setdefault(row["level"], []).append(row["text"])
    return found
