"""What softbounce would have done with the messages that it observes, beside the system in place."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from msgspec import structs

from softbounce.core.decide import rule_of
from softbounce.core.policy.model import Policy
from softbounce.simulate import LABELS, ROWS, Span, is_exact
from softbounce.simulate.from_history import reports
from softbounce.simulate.recording import NEVER, Report, recorded
from softbounce.simulate.replay import Night, Replay, Tally, decided
from softbounce.store import Store
from softbounce.store.limits import LATE
from softbounce.store.modes import Mode
from softbounce.store.situations import Story

TO_REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One figure of softbounce and of the system in place, None where its reports do not show it."""

    name: str
    title: str
    ours: Span
    theirs: Span | None
    exact: bool  # both figures are

    @property
    def label(self) -> str:
        """The word for ``exact``."""
        return LABELS[self.exact]


def observed(stories: Iterable[Story], modes: Sequence[Mode]) -> Iterator[Story]:
    """Yield deliveries without a resend that are observed now, or of which a resend was observed."""
    mode = {entry.merchant: entry.mode for entry in modes}
    for story in stories:
        kinds = {line.kind for line in story.history}
        is_watched = mode.get(story.delivery.merchant, mode["*"]) == "observe"
        if "resent" not in kinds and (is_watched or "observed" in kinds):
            yield story


def beside(stories: Collection[Story], policy: Policy, *, stores: Iterator[Store]) -> list[Line]:
    """Return the figures of observed deliveries under ``policy``. ``stores`` yields an empty one per world.

    Nobody knows whether an arrival answers a resend of the system in place or, late, the first send. So there
    are four worlds: each of the two of ``Replay`` both ways.
    """
    night = Night(policy=policy)
    found = list(reports(stories))
    answers = [
        replace(one, event=structs.replace(one.event, resend_id="theirs")) if one.event.delivered else one
        for one in found
    ]
    worlds = [
        Replay(record, policy, next(stores), night=night, soon=soon).run(decided(record, policy))
        for record in (recorded(found, tells_all=False), recorded(answers, tells_all=False))
        for soon in (True, False)
    ]
    theirs = _theirs(stories, policy, night)
    titles = {**ROWS, TO_REFUSED: "sent to suppressed"}  # of ours there are none: no tally has such a row
    return [_line(name, title, worlds, theirs.get(name)) for name, title in titles.items()]


def _line(name: str, title: str, worlds: Sequence[Tally], theirs: Span | None) -> Line:
    counts = [len(tally.of(name)) for tally in worlds]
    exact = is_exact(name, [worlds]) and (theirs is None or theirs.low == theirs.high)
    return Line(name=name, title=title, ours=Span(min(counts), max(counts)), theirs=theirs, exact=exact)


def _theirs(stories: Collection[Story], policy: Policy, night: Night) -> Mapping[str, Span]:
    """Return what the reports show; the least leaves out what a late report of an earlier send may be."""
    blocked: dict[str, int] = {}  # recipient -> when it was first suppressed
    for story in stories:
        for line in story.history:
            if line.outcome == "suppressed":
                blocked[story.delivery.rid] = min(line.at, blocked.get(story.delivery.rid, NEVER))
    low, high = Counter[str](), Counter[str]()
    for story in stories:
        for row, is_sure in _shown(story, policy, night, blocked.get(story.delivery.rid, NEVER)):
            high[row] += 1
            low[row] += is_sure
    return {name: Span(low[name], high[name]) for name in ("resends", "nights", "delivered", TO_REFUSED)}


def _shown(story: Story, policy: Policy, night: Night, blocked: int) -> Iterator[tuple[str, bool]]:
    """Yield the rows that each report of a delivery counts in, and whether it does for sure."""
    before: Report | None = None
    for report in reports([story]):
        event, at = report.event, report.dated
        is_sure = False
        if before:
            apart = max(LATE, rule_of(event, policy).settle)
            is_sure = not event.delivered and at - before.dated >= apart
            yield "resends", is_sure
            if night.holds(event, at):
                yield "nights", is_sure
        if at > blocked:
            yield TO_REFUSED, is_sure and before is not None and before.dated >= blocked
        if event.delivered:
            yield "delivered", True
            return
        before = report
