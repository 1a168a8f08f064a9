"""The three zero claims and what is asserted beside them, counted from what the world saw."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from softbounce.demo.pipeline import PERMANENT, Seen
from softbounce.demo.rivals import Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One sentence with its figure; it holds if the figure is the wanted one."""

    text: str
    found: int
    wanted: int = 0
    beside: str = ""

    @property
    def holds(self) -> bool:
        """Whether the world saw what we say."""
        return self.found == self.wanted


def zero_claims(seen: Seen) -> list[Claim]:
    """Judge resends after a delivery was known, retries with two ids, resends to suppressed recipients."""
    late = doubled = suppressed = crossed = 0
    ids: defaultdict[tuple[str, str, int], set[str]] = defaultdict(set)
    times: defaultdict[str, int] = defaultdict(int)
    for moment, command in seen.commands:
        reference, channel = command["reference"], command["channel"].lower()
        (address,) = command["recipients"]
        times[command["id"]] += 1
        ids[reference, address, command["attempt"]].add(command["id"])
        known = seen.delivered_at.get(reference)
        if known is not None:
            late += known < moment  # accepted at an earlier step of the clock
            crossed += known == moment  # claimed, then delivered, within one step
        until = seen.suppressed_at.get((channel, address))
        suppressed += until is not None and until < moment
    doubled = sum(len(found) > 1 for found in ids.values())
    repeats = sum(count - 1 for count in times.values())
    return [
        Claim(text="Resends after DELIVERED was known", found=late, beside=f"{crossed} crossed"),
        Claim(text="Same retry twice", found=doubled, beside=f"{repeats} repeated hand-overs of one id"),
        Claim(text="Resends to a suppressed recipient", found=suppressed),
    ]


def other_claims(seen: Seen, score: Score, counters: Mapping[str, int]) -> list[Claim]:
    """Judge the night, permanent codes, outcomes, and the store's own counters against the world's."""
    permanent = sum(command["reason"]["reasonCode"].startswith(PERMANENT) for _, command in seen.commands)
    claims = [
        Claim(text="Texts between 20:00 and 08:00", found=score.at_night),
        Claim(text="Retries of permanent codes", found=permanent),
        Claim(text="Events without exactly one outcome", found=seen.events - seen.outcomes.total()),
    ]
    if counters:  # a killed worker's batch is counted again, as duplicates; so not under --chaos
        ours = dict(seen.outcomes) | {"handed_over": len(seen.commands), "escalated": seen.escalated}
        differing = {
            name: (count, counters.get(name, 0))
            for name, count in ours.items()
            if count != counters.get(name, 0)
        }
        beside = ", ".join(
            f"{name} {world} here, {store} there" for name, (world, store) in differing.items()
        )
        claims.append(
            Claim(
                text="Figures that differ from the store's own counters", found=len(differing), beside=beside
            )
        )
    return claims
