"""``softbounce cases``: what a person must look at, and what becomes of it."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Annotated

import typer

from softbounce.cli.dead_letters import PREFIX
from softbounce.cli.shared import options
from softbounce.cli.shared.change import Intent, changing
from softbounce.cli.shared.output import Filtered, Json, Output, Row, show, tell, time_of, zoned
from softbounce.cli.shared.session import note_reveal, opened, policy_in_force, spelled
from softbounce.core.filters import parse_filter
from softbounce.core.policy.model import Policy
from softbounce.core.reasons import cause
from softbounce.core.recipients import Channel, scrub
from softbounce.core.records import Delivery
from softbounce.core.texts import columns, count, plain, span, word
from softbounce.core.timestamps import iso
from softbounce.errors import InvalidSettings, NotFound
from softbounce.explain import delivery as deliveries
from softbounce.store import Store
from softbounce.store.audit import By
from softbounce.store.cases import FILTER_KEYS, Case

app = typer.Typer(no_args_is_help=True, add_completion=False, help="What a person must look at.")

HEAD = ("CASE", "STATE", "WHAT", "MERCHANT", "COUNT", "OLDEST", "SUGGESTION")
SUGGESTIONS = {
    "held": "mend it, then: cases resolve {id} --release",
    "unknown_code": "add a rule, then: cases resolve {id} --release",
    "unclassified": "ask the pipeline for code and channel, then --release or --drop",
    "archive": "does somebody replay old reports? --drop, or --release --even-stale",
    "ambiguous_recipient": "find out whom it is about, then --release or --drop",
    "exhausted": "try another channel; cases resolve {id} --drop, or --suppress",
    "reference_reused": "give each message a reference of its own, then --fixed",
    "unanswered": "did they arrive? ask the provider, send by another channel, then --fixed",
    "soft_bounces": "ask for another address; cases resolve {id} --suppress, or --fixed",
    "also_retried": "let one system alone send it again, then --fixed",
    "contradiction": "ask the provider which report is true; cases resolve {id} --suppress, or --fixed",
    "opt_in_doubt": "ask the recipient; suppressions remove lifts it. Then cases resolve {id} --fixed",
    "crash_loop": "see the worker's log, then --release or --drop",
    "damaged_record": "report it as a mistake of ours; cases resolve {id} --release tries them again",
    "brake": "wrong? suppressions undo incident:{id}; right? cases resolve {id} --suppress",
    "incident": "look at retries list, then: mode on --reason ...",
}
_SHOWN = 300  # characters of an unreadable record are shown
CaseId = Annotated[str, typer.Argument(metavar="CASE", help="k_19, as cases list shows it")]


@app.command("list", cls=Filtered)
def list_(words: options.Words = None, *, output: options.Output = Output.TABLE) -> None:
    """List cases that are not resolved, the oldest first; state:resolved lists those that are.

    Keys: case (needs no key), state, kind, merchant, channel, code, age.
    """
    with opened() as store:
        now = store.now()
        known = spelled(words, bare="case")
        if not any(word.startswith(("state:", "-state:", "case:")) for word in known):
            known.append("-state:resolved")
        wanted = parse_filter(known, keys=FILTER_KEYS)
        show(HEAD, (_case_row(case, now) for case in store.cases.select(wanted, now=now)), output)


@app.command("show")
def show_(
    case: CaseId,
    *,
    limit: Annotated[int, typer.Option(min=0, help="Show at most so many of its messages")] = 20,
    reveal: options.Reveal = False,
    output: options.Output = Output.TABLE,
) -> None:
    """Show a case, its evidence, and the messages in it."""
    with opened() as store:
        found, members = store.cases.show(case, limit=limit)
        if reveal:
            note_reveal(store, f"case {case}")
        facts = _case_json(found) | {"messages": [_member(member, reveal=reveal) for member in members]}
        if found.kind == "damaged_record":
            facts["records"] = [
                _damage(*item, reveal=reveal) for item in store.cases.damaged(limit=limit).items()
            ]
        if output is not Output.TABLE:
            tell("", facts, output)
            return
        typer.echo(f"{found.id}   {found.state}   {plain(_what(found))}")
        names = ("merchant", "channel", "reasonCode", "rule", "recipient", "address", "by", "how", "usual")
        rows = [(name, plain(facts[name])) for name in names if facts.get(name)]
        rows.append((zoned("opened"), time_of(int(found.entry["opened"]), store.now())))
        rows.append(("suggestion", _suggestion(found) or "none: it is resolved"))
        lines = [(m["reference"], m["address"], m["state"], f"try {m['attempt']}") for m in facts["messages"]]
        lines += [(r["id"], count(r["length"], "bytes"), r["text"], "") for r in facts.get("records", ())]
        typer.echo("\n".join(f"  {line}" for line in columns(rows)))
        typer.echo(f"  {count(found.count, 'messages')}{', of them:' if lines else ''}")
        for line in columns([[plain(cell) for cell in row] for row in lines]) if lines else ():
            typer.echo(f"    {line}")


@app.command()
@changing("output")
def ack(case: CaseId, *, intent: Intent) -> None:
    """Acknowledge a case: others see that you look at it."""
    with opened() as store:
        store.cases.ack(case, by=intent.by)
        intent.tell(f"{case} acknowledged.", {"action": "ack", "case": case, "state": "acknowledged"})


@app.command()
@changing("yes", "dry_run", "output")
def resolve(
    case: CaseId,
    *,
    intent: Intent,
    release: Annotated[bool, typer.Option("--release", help="Send what it holds")] = False,
    suppress: Annotated[bool, typer.Option("--suppress", help="Refuse its recipients from now on")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Give up what it holds")] = False,
    fixed: Annotated[bool, typer.Option("--fixed", help="Close it; what it holds ends")] = False,
    every: options.Every = 0,
    even_stale: Annotated[
        bool, typer.Option("--even-stale", help="With --release: also what is past its deadline")
    ] = False,
) -> None:
    """Close a case in one of four ways. What is released leaves at the policy's hand-over rate.

    Of more held messages than the policy's brake allows, --release sends one first; again, it sends the rest.
    """
    choices = {"release": release, "suppress": suppress, "drop": drop, "fixed": fixed}
    chosen = [name for name, is_chosen in choices.items() if is_chosen]
    if len(chosen) != 1 or (even_stale and not release):
        message = "choose one of --release, --suppress, --drop, --fixed; --even-stale goes with --release"
        raise InvalidSettings(message)
    (how,) = chosen
    with opened() as store:
        policy = policy_in_force(store)
        found, _ = store.cases.show(case, limit=0)
        if found.state == "resolved":
            message = f"{case} is resolved already, by {plain(found.entry.get('by', 'somebody'))}"
            raise NotFound(message)
        if release and "brake" in found.entry:
            message = f"its recipients are refused; lift them: suppressions undo incident:{case} --reason ..."
            raise InvalidSettings(message)
        _, members = store.cases.show(case, limit=max(found.count, 1))
        intent.confirmed(
            members,
            describe=_described,
            nouns=("message", "messages"),
            may_be_none=True,
            always_typed=even_stale,
        )
        now = store.now()
        canary = release and found.kind == "held" and _needs_canary(found, store, policy, now)
        refused = 0
        if suppress:
            refused = _suppress(found, members, store, policy=policy, by=intent.by)
        rate = policy.limits.handover_rate
        result = store.cases.resolve(
            case,
            how=how,
            by=intent.by,
            policy=policy,
            first=now,
            step=every or rate.per // rate.count,
            even_stale=even_stale,
            canary=canary,
        )
        facts = {"action": f"resolve {how}", "case": case, "released": result.released}
        facts |= {"skipped": result.skipped, "ended": result.ended, "suppressed": refused}
        parts = [
            f"{result.released:,} released" if release else "",
            f"{result.skipped:,} past their deadline or last try, given up" if result.skipped else "",
            f"{result.ended:,} ended" if result.ended else "",
            f"{count(refused, 'recipients')} suppressed" if suppress else "",
        ]
        if canary and result.released:
            sentence = f"{case}: one message sent first. Unless it fails within 5 min, type this again."
            intent.tell(sentence, facts | {"action": "canary"})
            return
        intent.tell(f"{case} resolved: {', '.join(filter(None, parts)) or how}.", facts)


def _needs_canary(case: Case, store: Store, policy: Policy, now: int) -> bool:
    """Whether one message must show first that the fix holds; raise ``NotFound`` while it is on its way."""
    is_many = policy.brake is not None and case.count > policy.brake.more_than
    state = store.cases.canary(case, now=now)
    if state == "waits":
        message = f"{case.id}: the message sent first is on its way; type this again 5 min after it has left"
        raise NotFound(message)
    return state == "failed" or (state == "none" and is_many)


def _suppress(case: Case, members: Sequence[Delivery], store: Store, *, policy: Policy, by: By) -> int:
    """Suppress the recipients of a case, or confirm the entries of an incident; return how many."""
    entry = case.entry
    if "brake" in entry:
        return sum(store.incidents.settle(case, "confirm"))
    now = store.now()
    named, code, merchant = entry.get("recipient"), entry.get("code") or None, entry.get("merchant")
    about = (str(named), entry.get("mask", ""), entry.get("channel", ""))
    rows = {}
    for rid, address, channel in [about] if named else map(_whom, members):
        if rid.startswith("*") or not channel:
            continue
        rule = policy.rule_for(code=code, channel=Channel(channel), merchant=merchant)
        expires = rule.suppression.expires
        rows[rid] = {
            "recipient": f"r_{rid}",
            "address": address,
            "channel": channel,
            "code": "MANUAL",
            "reason": by.reason,
            "until": "never" if expires is None else iso(now + expires),
        }
    results = store.suppressions.load(rows.values(), by=by, now=now)
    return sum(result in (None, "weaker", "listed") for result in results)


def _whom(delivery: Delivery) -> tuple[str, str, str]:
    alone = delivery.recipients[0] if len(delivery.recipients) == 1 else ""
    return delivery.rid, alone if isinstance(alone, str) else "", delivery.channel


def _what(case: Case) -> str:
    entry = case.entry
    code, detail = entry.get("code") or "", entry.get("detail") or ""
    match case.kind:
        case "held":
            text = f"Held: {cause(code)}"
        case "unknown_code":
            text = f"Unknown code {code}"
        case "soft_bounces" | "opt_in_doubt":
            text = f"{word('case', case.kind)} {entry.get('mask', '')}"
        case "crash_loop" if "letter" in entry:
            text = "A report ended its worker three times"
        case "incident" if "brake" in entry:
            text = f"{entry['suppressed']:,} sudden suppressions: {entry['brake']}"
        case "incident":
            text = f"Incident: {code}"
        case kind:
            text = word("case", kind) + (f": {cause(code)}" if code else "")
    return f"{text}, {detail}" if detail else text


def _suggestion(case: Case) -> str:
    if case.state == "resolved":
        return ""
    if letter := case.entry.get("letter"):
        return f"dead-letters show {PREFIX}{letter}, report the mistake, then --fixed"
    return SUGGESTIONS.get("brake" if "brake" in case.entry else case.kind, "").format(id=case.id)


def _case_row(case: Case, now: int) -> Row:
    merchant = str(case.entry.get("merchant") or "-")
    age = span(now - int(case.entry["opened"]))
    cells = (case.id, case.state, _what(case), merchant, f"{case.count:,}", age, _suggestion(case))
    return _case_json(case), cells


def _case_json(case: Case) -> Json:
    entry = case.entry
    recipient = entry.get("recipient")
    return {
        "case": case.id,
        "kind": case.kind,
        "state": case.state,
        "what": _what(case),
        "count": case.count,
        "openedAt": iso(int(entry["opened"])),
        "merchant": entry.get("merchant") or None,
        "channel": entry.get("channel") or None,
        "reasonCode": entry.get("code") or None,
        "rule": entry.get("rule") or None,
        "recipient": f"r_{recipient}" if recipient else None,
        "address": entry.get("mask") or None,
        "sample": entry.get("sample") or None,
        "group": entry.get("brake"),
        "suppressed": entry.get("suppressed"),
        "usual": entry.get("usual"),
        "by": entry.get("by"),
        "how": entry.get("how"),
    }


def _member(delivery: Delivery, *, reveal: bool) -> Json:
    return {
        "reference": delivery.reference,
        "recipient": deliveries.recipient_of(delivery),
        "address": deliveries.addresses(delivery) if reveal else deliveries.masked(delivery),
        "state": delivery.outcome or delivery.state,
        "attempt": delivery.attempt,
        "firstFailedAt": iso(delivery.first_failed),
        "notAfter": iso(delivery.deadline),
    }


def _damage(name: str, raw: bytes, *, reveal: bool) -> Json:
    """Return an unreadable record: all its bytes where addresses may be shown, else its masked text."""
    text = raw.decode(errors="backslashreplace")
    shown = {"bytes": b64encode(raw).decode()} if reveal else {}
    return {"id": name, "length": len(raw), "text": text if reveal else scrub(text)[:_SHOWN], **shown}


def _described(delivery: Delivery) -> str:
    return f"{delivery.reference} {deliveries.masked(delivery)} {delivery.outcome or delivery.state}"
