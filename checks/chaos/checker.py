"""Judges a history: what was lost, what came that nobody expected, what happened twice. Pure; knows no softbounce."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from statistics import quantiles
from typing import Any

Line = dict[str, Any]

NOTICE = {
    "suppressed": "suppressed",
    "held": "held",
    "given_up": "given_up",
}  # how a message ends -> what is told
BOUND = 0.8 * 2.0 + 2.0  # s after a person's word: 0.8 of a lease, and the machine's own slowness


@dataclass
class Verdict:
    """What a history shows. Each fault holds a sentence; none is allowed."""

    messages: int = 0
    events: int = 0
    handed_over: int = 0
    faults: int = 0
    lost: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    forbidden: list[str] = field(default_factory=list)  # sent after it was suppressed or cancelled
    innocent: list[str] = field(default_factory=list)  # held or buried as if they had crashed a worker
    left: list[str] = field(default_factory=list)  # still under way, or never forgotten
    silent: list[str] = field(default_factory=list)  # handed over, and without an end for ever
    late: list[str] = field(default_factory=list)  # handed over after the bound of the run
    broken: list[str] = field(default_factory=list)  # references of the store that lead nowhere
    excused: int = 0  # messages within the published window of a power cut: they may be lost, never doubled
    raw_doubles: int = 0
    recoveries: list[float] = field(default_factory=list)  # s from the end of a fault to the next command
    latest: float = 0.0  # s past its due time, of the latest command

    @property
    def problems(self) -> list[str]:
        """Everything that is not allowed."""
        named = ("lost", "unexpected", "doubled", "forbidden", "innocent", "left", "silent", "late", "broken")
        return [f"{name}: {said}" for name in named for said in getattr(self, name)]

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, unexpected or doubled."""
        return not self.problems

    def recovery(self) -> tuple[float, float] | None:
        """Return the p50 and p99 of the recoveries, in seconds."""
        if len(self.recoveries) < 2:
            return (self.recoveries[0], self.recoveries[0]) if self.recoveries else None
        cuts = quantiles(self.recoveries, n=100, method="inclusive")
        return cuts[49], cuts[98]


class _Message:
    """What was to become of one message, and what did."""

    def __init__(self, fate: Line) -> None:
        self.ref, self.to, self.sends, self.ends = fate["ref"], fate["to"], fate["sends"], fate["ends"]
        self.asked: set[int] = set()
        self.told: dict[int, float] = {}
        self.ids: dict[int, Counter[str]] = defaultdict(Counter)
        self.order: list[int] = []
        self.times: list[float] = []
        self.notices: dict[str, Counter[str]] = defaultdict(Counter)
        self.end: Line | None = None
        self.ends_seen = 0


def judge(lines: Iterable[Line]) -> Verdict:
    """Return the verdict on one history."""
    lines = list(lines)
    verdict = Verdict()
    messages = {line["ref"]: _Message(line) for line in lines if line["k"] == "fate"}
    verdict.messages = len(messages)
    windows = [(line["since"], line["until"]) for line in lines if line["k"] == "window"]
    _read(lines, messages, verdict)
    escalations = _escalations(lines)
    words = {line["ref"]: line["t"] for line in lines if line["k"] == "said"}
    dead = Counter(line["raw"] for line in lines if line["k"] == "dead")
    blocked = {line["to"] for line in lines if line["k"] == "suppressed"}
    for message in (one for one in messages.values() if one.ends != "any"):
        moments = [*message.told.values(), *message.times]
        is_excused = any(since <= moment <= until for since, until in windows for moment in moments)
        if is_excused:
            verdict.excused += 1
        elif message.asked and not message.told and message.end is None and not message.ids:
            continue  # nobody was told that it is stored, and it is not
        else:
            _complete(message, verdict, dead=dead, blocked=blocked)
        _once(message, verdict, is_excused=is_excused)
        if message.ref in words:
            late = [
                moment - words[message.ref] for moment in message.times if moment > words[message.ref] + BOUND
            ]
            verdict.forbidden += [
                f"{message.ref} was handed over {s:.1f} s after a person's word" for s in late
            ]
    allowed = {m.to for m in messages.values() if m.ends in ("suppressed", "person")}
    verdict.unexpected += [f"{to} is suppressed" for to in sorted(blocked - allowed)]
    doomed = [m.ref for m in messages.values() if m.ends in ("dead", "buried")]
    good = [raw for raw in dead if not any(_names(raw, ref) for ref in doomed)]
    if any(line["k"] == "bad" for line in lines):  # of which anything may be a dead letter
        sound = [m.ref for m in messages.values() if m.ends != "any"]
        good = [raw for raw in good if any(_names(raw, ref) for ref in sound)]
    verdict.innocent += [f"a dead letter of a good report: {raw[:80]}" for raw in sorted(good)]
    _escalated_once(messages, escalations, verdict, excused=bool(windows))
    _silences(lines, verdict)
    _bad(lines, messages, verdict)
    _left(lines, verdict)
    _recoveries(lines, verdict)
    return verdict


def _read(lines: list[Line], messages: dict[str, _Message], verdict: Verdict) -> None:  # noqa: C901, PLR0912 - a case a kind
    events: dict[int, str] = {}
    for line in lines:
        match line["k"]:
            case "ask":
                events[line["n"]] = line["ref"]
                if line["ref"] in messages:
                    messages[line["ref"]].asked.add(line["n"])
            case "told":
                if (ref := events[line["n"]]) in messages:
                    messages[ref].told[line["n"]] = line["t"]
            case "got":
                verdict.handed_over += 1
                if line["ref"] not in messages:
                    verdict.unexpected.append(f"a command for {line['ref']}, which nobody reported")
                    continue
                message = messages[line["ref"]]
                if line["id"] not in message.ids[line["attempt"]]:
                    message.order.append(line["attempt"])
                message.ids[line["attempt"]][line["id"]] += 1
                message.times.append(line["t"])
                if line["due"]:
                    due = datetime.fromisoformat(line["due"]).timestamp()
                    verdict.latest = max(verdict.latest, line["t"] - due)
            case "notice" if line["ref"] in messages:
                messages[line["ref"]].notices[line["type"]][line["id"]] += 1
            case "end" if line["ref"] in messages:
                messages[line["ref"]].end = line
                messages[line["ref"]].ends_seen += 1
                verdict.silent += (
                    [f"{line['ref']}: try {line['attempt']} has no end"] if line["state"] == "out" else []
                )
            case "end" if line["ref"]:
                verdict.unexpected.append(f"a delivery of {line['ref']}, which nobody reported")
            case "fault":
                verdict.faults += 1
    verdict.events = len(events)


def _complete(  # noqa: C901 - a case an end
    message: _Message, verdict: Verdict, *, dead: Counter[str], blocked: set[str]
) -> None:
    """Say what is missing of one message."""
    ref, end = message.ref, message.end
    if message.ends in ("dead", "buried"):
        if not any(_names(raw, ref) for raw in dead):
            verdict.lost.append(f"{ref}: its report is no dead letter")
        return
    if message.ends == "ran":
        verdict.lost += [] if message.ids else [f"{ref} never ran"]
        return
    if end is None:
        verdict.lost.append(f"{ref}: told to be stored, and the store knows nothing of it")
        return
    if message.ends == "poison" and end["group"] == "crash_loop":
        return
    if end["group"] == "crash_loop":
        verdict.innocent.append(f"{ref} is held as a crash loop")
        return
    if message.ends in ("person", "cancelled"):
        wanted = "suppressed" if message.ends == "person" else "cancelled"
        if not message.ids and end["outcome"] != wanted:
            verdict.lost.append(f"{ref}: a person's word, and it is {_said(end)}")
        return  # how far it came before that is the person's affair; `forbidden` judges what came after
    missing = [n for n in range(1, message.sends + 1) if n not in message.ids]
    verdict.lost += [f"{ref}: resend {n} of {message.sends} never came ({_said(end)})" for n in missing]
    found = end["state"] if end["state"] == "held" else end["outcome"]
    if not missing and found != message.ends:
        verdict.lost.append(f"{ref}: should have ended as {message.ends}, but is {_said(end)}")
    if message.ends == "suppressed" and message.to not in blocked:
        verdict.lost.append(f"{ref}: its recipient is not suppressed")
    told = NOTICE.get(message.ends)
    if told and not missing and not message.notices[told]:
        verdict.lost.append(f"{ref}: the pipeline never heard that it is {told}")


def _once(message: _Message, verdict: Verdict, *, is_excused: bool) -> None:
    """Say what happened twice to one message, or should not have happened.

    A store that went back has forgotten what it told: then a message without an answer is given up once more.
    """
    ref = message.ref
    for attempt, ids in message.ids.items():
        verdict.raw_doubles += ids.total() - len(ids)
        if len(ids) > 1:
            verdict.doubled.append(f"{ref}: resend {attempt} came under {len(ids)} ids")
        most = message.sends if message.ends not in ("person", "cancelled") else 100
        if attempt > most:
            verdict.unexpected.append(f"{ref}: resend {attempt}, where {message.sends} were to come")
    if message.order != sorted(message.order):
        verdict.unexpected.append(f"{ref}: its resends came in the order {message.order}")
    for told, ids in message.notices.items():
        if told != "escalated" and len(ids) > 1 and not is_excused:
            verdict.doubled.append(f"{ref}: told {len(ids)} times under different ids that it is {told}")
    if message.ends_seen > 1:
        verdict.doubled.append(f"{ref}: {message.ends_seen} deliveries of one message to one recipient")
    failed = [ident for ident in (message.end or {}).get("failed", ()) if ident]
    if len(set(failed)) != len(failed):
        twice = [ident for ident, count in Counter(failed).items() if count > 1]
        verdict.doubled.append(f"{ref}: one report has several outcomes: {', '.join(twice)}")


def _escalations(lines: list[Line]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for line in lines:
        if line["k"] == "notice" and line["type"] == "escalated":
            for to in line["to"] or [""]:
                found[to][line["id"]] += 1
    return found


def _escalated_once(
    messages: dict[str, _Message], found: dict[str, Counter[str]], verdict: Verdict, *, excused: bool
) -> None:
    failing = Counter(m.to for m in messages.values() if m.ref.startswith("s") and m.told)
    for to, count in failing.items():
        if count >= 3 and not found.get(to) and not excused:
            verdict.lost.append(f"{to}: three soft bounces, and nobody was told")
    for to, ids in found.items():
        if len(ids) > 1:
            verdict.doubled.append(f"{to} was escalated {len(ids)} times")
        if failing[to] < 3:
            verdict.unexpected.append(f"{to} was escalated after {failing[to]} soft bounces")


def _silences(lines: list[Line], verdict: Verdict) -> None:
    for line in (line for line in lines if line["k"] == "silence"):
        late = [one for one in lines if one["k"] == "got" and line["since"] <= one["t"] <= line["until"]]
        verdict.forbidden += [f"{one['ref']} was handed over: {line['why']}" for one in late]


def _bad(lines: list[Line], messages: dict[str, _Message], verdict: Verdict) -> None:
    """Say what became of none of the bad inputs, and what they cost the others."""
    answered = {line["entry"] for line in lines if line["k"] == "answered"}
    unheard = Counter(line["name"] for line in lines if line["k"] == "bad" and line["entry"] not in answered)
    verdict.lost += [f"{name}: {count} entries have no outcome" for name, count in unheard.items()]
    for line in (line for line in lines if line["k"] == "planted" and line["scheduled"] != line["wanted"]):
        verdict.left.append(f"a record that is none ({line['name']}): scheduled still is {line['scheduled']}")
    for bound in (line["seconds"] for line in lines if line["k"] == "bound"):
        for message in messages.values():
            if message.ends != "any" and message.told and message.times:
                took = min(message.times) - min(message.told.values())
                verdict.late += [f"{message.ref} left after {took:.1f} s"] if took > bound else []
    verdict.broken += [line["said"] for line in lines if line["k"] == "broken"]


def _left(lines: list[Line], verdict: Verdict) -> None:
    ends = [line for line in lines if line["k"] == "left"]
    if not ends:
        verdict.left.append("the run has no export of the state")
    for line in ends:
        for name in ("schedule", "ready", "notices", "unread", "pending"):
            if line[name]:
                verdict.left.append(f"{line[name]} in {name}")
        verdict.left += [f"key {key} has no end" for key in line["keys"]]


def _recoveries(lines: list[Line], verdict: Verdict) -> None:
    got = sorted(line["t"] for line in lines if line["k"] == "got")
    place = 0
    for line in sorted((line for line in lines if line["k"] == "mended"), key=lambda line: line["t"]):
        while place < len(got) and got[place] < line["t"]:
            place += 1
        if place < len(got):
            verdict.recoveries.append(got[place] - line["t"])


def _names(raw: str, ref: str) -> bool:
    """Whether the bytes of a report are about a message."""
    return f'"{ref}"' in raw or raw.endswith(f'"{ref}')


def _said(end: Line) -> str:
    group = f", {end['group']}" if end["group"] else ""
    return f"{end['state']}{group}, {end['outcome'] or 'no outcome'}, try {end['attempt']}"
