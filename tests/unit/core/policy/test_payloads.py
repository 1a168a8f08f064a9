"""The shipped policy treats every recorded provider failure as its label says; the samples stay elsewhere."""

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from softbounce.core.decide import Plan, decide
from softbounce.core.policy import file as policy_file
from softbounce.core.policy.model import Policy

NOW = 1_795_341_600_000
ROOT = Path(__file__).parents[4]
ADDRESS = {
    "SMS": "+4915112345678",
    "EMAIL": "someone@example.com",
    "LETTER": {"street": "Weg 1", "postCode": "10115", "city": "Berlin", "country": "DE"},
}
BY_SMS = ("aws", "firetext", "govuk", "infobip", "mmg", "sinch", "smpp", "twilio", "vonage")
STATUS = re.compile(r"(?<![\d.])([45]\.\d{1,3}\.\d{1,3})(?![\d.])")
REPLY = re.compile(r"(?<!\S)(4\d\d|5[0-7]\d)(?![\d.])")
ALSO = re.compile(r"\[also acceptable: ([^\]]*)\]")
NO_VERDICT = {"delivered", "dead_letter", ""}  # no failure to decide on, or not mapped
WITHOUT_VERDICT = {"5.0.0", "5.1.0", "5.2.0", "5.2.4", "550", "551"}  # they say nothing of the mailbox: held
DISABLED = {"525", "5.7.13"}  # the sender's account by RFC 5248, the recipient's in the recorded mails


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One failure that somebody has recorded, and what becomes of it."""

    name: str
    channel: str
    code: str
    smtp: str | None
    text: str = "as the provider says"
    expected: frozenset[str]


@pytest.fixture(scope="module")
def policy() -> Policy:
    """The policy that ships."""
    path = ROOT / "config" / "policy.yaml"
    return policy_file.load(path.read_text(encoding="utf-8"), file=str(path))


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def channel_of(provider: str, code: str) -> str:
    """Return the channel that a provider sends on."""
    if provider == "letters-dvla" or code == "INVALID_POSTAL_ADDRESS":
        return "LETTER"
    if "EMAIL" in code or code.startswith("BOUNCE_"):
        return "EMAIL"
    return "SMS" if provider.lower().startswith(BY_SMS) else "EMAIL"


def recorded(payloads: Path) -> list[Row]:
    """Return the failures of ``index.csv``, one for each recipient of each file."""
    rows = []
    for line in read(payloads / "index.csv"):
        codes = line["expected_reason_code"].split("; ")
        also = {word for words in ALSO.findall(line["why"]) for word in words.split(", ")}
        stated = STATUS.search(line["why"]) or REPLY.search(line["why"])
        for code, disposition in zip(codes, line["expected_disposition"].split("; "), strict=True):
            if code in {"", "-"}:
                continue
            softens = stated and code == "BOUNCE_PERMANENT_GENERAL" and len(codes) == 1
            smtp = stated[1] if stated and softens else None
            rows.append(
                Row(
                    name=line["file"],
                    channel=channel_of(line["provider"], code),
                    code=code,
                    smtp=smtp,
                    text=line["why"] if softens else "as the provider says",
                    expected=frozenset({disposition, *also}),
                )
            )
    return rows


def tabulated(payloads: Path) -> list[Row]:
    """Return the failures of the code tables; an SMTP reply is passed on with the code that it may soften."""
    rows = []
    for path in sorted((payloads / "tables").glob("*.csv")):
        for line in read(path):
            code, disposition = line["our_reason_code"], line["our_disposition"]
            if not code or code == "depends" or disposition in {"depends", *NO_VERDICT}:
                continue
            is_reply = STATUS.fullmatch(line["code"]) or line["provider"] == "SMTP"
            rows.append(
                Row(
                    name=f"{path.stem} {line['provider']} {line['code']}",
                    channel=channel_of(line["provider"], code),
                    code=code,
                    smtp=line["code"] if is_reply and code == "BOUNCE_PERMANENT_GENERAL" else None,
                    expected=frozenset(
                        {
                            "hold" if line["code"] in WITHOUT_VERDICT and is_reply else disposition,
                            *(["suppress"] if line["code"] in DISABLED else []),
                        }
                    ),
                )
            )
    return rows


def decided(row: Row, policy: Policy) -> Plan:
    """Return what the policy wants for a report of ours with the row's code."""
    details = {"message": row.text, "smtpCode": row.smtp}
    error = {"type": "SEND_ERROR", "reasonCode": row.code, "details": details}
    communication = {
        "channel": row.channel,
        "reference": row.name,
        "recipients": [ADDRESS[row.channel]],
        "error": error,
    }
    event = {
        "type": "MESSAGE_NOT_DELIVERED",
        "eventId": row.name,
        "claim": {"id": 1, "communication": communication},
    }
    plan = decide(json.dumps(event), policy=policy, now=NOW)
    assert isinstance(plan, Plan), plan
    return plan


def disagreements(rows: list[Row], policy: Policy) -> list[str]:
    """Return the rows that the policy treats otherwise than expected."""
    return [
        f"{row.name}: {row.code} {row.smtp or ''} is {plan.do} by {plan.rule.name}, not {set(row.expected)}"
        for row in rows
        if (plan := decided(row, policy)).do not in row.expected
    ]


def test_every_recorded_failure_gets_its_disposition(payloads: Path, policy: Policy):
    """The label of each payload, or another that its author calls acceptable."""
    rows = recorded(payloads)

    assert len(rows) > 100
    assert disagreements(rows, policy) == []


def test_every_code_of_the_tables_gets_its_disposition(payloads: Path, policy: Policy):
    """A table maps a provider's code to one of ours; the policy then does what the table says."""
    rows = tabulated(payloads)

    assert len(rows) > 500
    assert disagreements(rows, policy) == []


def test_what_nobody_can_tell_is_held(payloads: Path, policy: Policy):
    """UNKNOWN waits for a person, whoever reports it and by whichever channel."""
    rows = [row for row in (*recorded(payloads), *tabulated(payloads)) if row.code == "UNKNOWN"]

    assert {row.channel for row in rows} >= {"SMS", "EMAIL"}
    assert {decided(row, policy).do for row in rows} == {"hold"}


def test_nobody_is_suppressed_without_evidence_about_the_recipient(payloads: Path, policy: Policy):
    """Whatever a provider says of content, sender or account, nobody is refused for it."""
    rows = [row for row in recorded(payloads) if "suppress" not in row.expected]

    assert [row.name for row in rows if decided(row, policy).do == "suppress"] == []


def test_nothing_of_the_payloads_is_copied(payloads: Path):
    """They carry other people's licences: no file of the project is one of them."""
    ours = {
        path.read_bytes().strip()
        for folder in ("src", "checks", "tests", "config", "examples", "docs")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    }
    theirs = {path.read_bytes().strip() for path in payloads.rglob("*") if path.is_file()} - {b""}

    assert len(theirs) > 200
    assert ours & theirs == set()
