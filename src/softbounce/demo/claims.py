"""The four claims whose figure must be zero and those beside them, counted from what the world saw."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from softbounce.core.history import HistoryLine
from softbounce.demo.pipeline import CONFIRMED, PERMANENT, Json, Seen
from softbounce.demo.rivals import Score

History = Callable[[str], list[HistoryLine]]  # reference -> what happened to it, oldest first
SAMPLE = 200  # messages whose history is read


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One sentence with its figure, which holds if the figure is the wanted one."""

    text: str
    found: int
    wanted: int = 0
    beside: str = ""

    @property
    def holds(self) -> bool:
        """Whether the figure is the wanted one."""
        return self.found == self.wanted


def zero_claims(seen: Seen) -> list[Claim]:
    """Judge resends after a known delivery, retries with two ids, resends to suppressed ones, the undo."""
    late = suppressed = crossed = 0
    ids: defaultdict[tuple[str, str, int], set[str]] = defaultdict(set)
    times: Counter[str] = Counter()
    for moment, command in seen.commands:
        reference, channel = command["reference"], command["channel"].lower()
        recipients = [str(recipient) for recipient in command["recipients"]]
        times[command["id"]] += 1
        ids[reference, ",".join(recipients), command["attempt"]].add(command["id"])
        known = seen.delivered_at.get(reference)
        late += known is not None and known < moment  # it was accepted at an earlier step
        suppressed += any(seen.suppressed_at.get((channel, to), moment) < moment for to in recipients)
    for reference, sends in _by_message(seen).items():
        if (known := seen.delivered_at.get(reference)) is not None:  # which left after the one that arrived?
            arrived = seen.delivered_by.get(reference)
            first = next((n for n, (_, command) in enumerate(sends, 1) if command["id"] == arrived), 0)
            crossed += sum(at <= known and command["id"] != arrived for at, command in sends[first:])
    doubled = sum(len(found) > 1 for found in ids.values())
    repeats = sum(count - 1 for count in times.values())
    return [
        Claim(text="Resends after DELIVERED was known", found=late, beside=f"{crossed} crossed"),
        Claim(text="Same retry twice", found=doubled, beside=f"{repeats} repeated hand-overs of one id"),
        Claim(text="Resends to a suppressed recipient", found=suppressed),
        Claim(
            text="Healthy recipients still suppressed after the undo",
            found=-1 if seen.still_refused is None else seen.still_refused,  # -1: nothing was undone
            beside=f"{seen.lifted} lifted",
        ),
    ]


def other_claims(
    seen: Seen, score: Score, *, counters: Mapping[str, int], history: History, has_kills: bool
) -> list[Claim]:
    """Judge texts at night, permanent codes, outcomes, and the store's figures against the world's."""
    commands = [command for _, command in seen.commands if command["reference"] not in seen.undone]
    codes = [command["reason"]["reasonCode"] for command in commands]
    confirming = sum(code == CONFIRMED for code in codes)
    wrong = [
        event
        for event, count in seen.reported.items()
        if len(seen.answers.get(event, ())) != count or len(set(seen.answers[event])) != 1
    ]
    return [
        Claim(text="Texts between 20:00 and 08:00", found=score.at_night),
        Claim(
            text="Retries of permanent codes",
            found=sum(code.startswith(PERMANENT) for code in codes),
            beside=f"{confirming} sends to confirm {CONFIRMED}, as the policy says",
        ),
        Claim(text="Events without exactly one outcome", found=len(wrong), beside=", ".join(wrong[:3])),
        _counters_agree(seen, counters, has_kills=has_kills),
        _history_agrees(seen, history),
    ]


def _counters_agree(seen: Seen, counters: Mapping[str, int], *, has_kills: bool) -> Claim:
    ours = Counter(answers[0] for answers in seen.answers.values())
    ours["handed_over"] = len({command["id"] for _, command in seen.commands})
    ours["escalated"] = len(seen.escalated)
    if not has_kills:  # the batch of a killed worker is read again, and its repeats count too
        ours["duplicate"] = seen.duplicates
    theirs = {name: counters.get(name, 0) for name in ours}
    differing = [
        f"{name} {ours[name]} here, {theirs[name]} there" for name in ours if ours[name] != theirs[name]
    ]
    text = "Figures that differ from the store's own counters"
    return Claim(text=text, found=len(differing), beside=", ".join(differing))


def _history_agrees(seen: Seen, history: History) -> Claim:
    """Read some histories: each command has a resend, and none is later than the delivery."""
    messages = _by_message(seen)
    sample = list(messages)[:: max(1, len(messages) // SAMPLE)]
    wrong = []
    for reference in sample:
        lines = history(reference)
        resent = [line for line in lines if line.kind == "resent"]
        end = next((line.at for line in lines if line.kind == "delivered"), None)
        is_late = end is not None and any(line.at > end for line in resent)
        if is_late or {line.attempt for line in resent} != {c["attempt"] for _, c in messages[reference]}:
            wrong.append(reference)
    text = f"Of {len(sample)} histories, those that tell another story"
    return Claim(text=text, found=len(wrong), beside=", ".join(wrong[:3]))


def _by_message(seen: Seen) -> dict[str, list[tuple[int, Json]]]:
    found: defaultdict[str, list[tuple[int, Json]]] = defaultdict(list)
    for moment, command in seen.commands:
        found[command["reference"]].append((moment, command))
    return found
