"""Counts of one run against the oracle, and their means and intervals over seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan, nan, sqrt
from statistics import fmean, median, stdev

from softbounce.core.durations import HOUR

from .strategies import Run, Trace, is_within_rules

# Two-sided 95 % quantiles of Student's t for 1, 2, 3, ... degrees of freedom; beyond them 2.
STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one way of retrying did in one world; a share or a mean of nothing is nan."""

    share: float  # of the oracle's recoveries, in per cent
    recovered: float
    beyond: float  # messages that the oracle might have recovered by the same resend, and has not: none
    tries: float  # resends of a recovered message, up to the one that arrived first
    each: float  # resends of all messages for each recovery
    dead: float  # sends to recipients whom nothing can reach, first sends included
    doubles: float  # texts that came once more to a phone that had the same one
    night: float  # resent texts that left between 20 and 8 on the recipient's clock
    blocked_before: float
    blocked_after: float
    refused: float  # first sends to healthy recipients that did not leave, because they were blocked
    hours: float  # median from the failure to the arrival, of the recovered
    incidents: float  # of the brake on suppressions


def recovery(trace: Trace) -> int | None:
    """Return when a resend brought a message that had failed, before its deadline (ms); None: none did."""
    if trace.failed is None or trace.first_arrived:
        return None
    arrivals = [
        arrived for _, arrived in trace.resends if arrived is not None and arrived <= trace.message.deadline
    ]
    return min(arrivals, default=None)


def recoveries(run: Run) -> set[str]:
    """Return the references of what was recovered."""
    return {trace.message.reference for trace in run.traces if recovery(trace) is not None}


def figures(run: Run, *, oracle: Run) -> Figures:
    """Count a run."""
    possible, found = recoveries(oracle), recoveries(run)
    recovered = [trace for trace in run.traces if trace.message.reference in found]
    resends = sum(len(trace.resends) for trace in run.traces)
    texts = [trace for trace in run.traces if trace.message.person.channel == "sms"]
    arrivals = [
        trace.first_arrived + sum(arrived is not None for _, arrived in trace.resends) for trace in texts
    ]
    return Figures(
        share=100 * len(found & possible) / len(possible) if possible else nan,
        recovered=len(found),
        beyond=sum(_is_beyond(trace) for trace in recovered if trace.message.reference not in possible),
        tries=fmean(map(_tries, recovered)) if recovered else nan,
        each=resends / len(found) if found else nan,
        dead=sum((not t.is_refused) + len(t.resends) for t in run.traces if t.message.person.is_lost),
        doubles=sum(max(0, arrived - 1) for arrived in arrivals),
        night=sum(trace.message.person.is_night(at) for trace in texts for at, _ in trace.resends),
        blocked_before=run.blocked_before,
        blocked_after=run.blocked_after,
        refused=sum(trace.is_refused and not trace.message.person.is_lost for trace in run.traces),
        hours=median(map(_hours, recovered)) if recovered else nan,
        incidents=run.incidents,
    )


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean over seeds and half the width of its 95 % interval; nan where there is none."""
    known = [value for value in values if not isnan(value)]
    if len(known) < 2:
        return (known[0] if known else nan), nan
    quantile = STUDENT[len(known) - 2] if len(known) - 2 < len(STUDENT) else 2.0
    return fmean(known), quantile * stdev(known) / sqrt(len(known))


def _is_beyond(trace: Trace) -> bool:
    return any(
        arrived is not None and arrived <= trace.message.deadline and is_within_rules(trace, at)
        for at, arrived in trace.resends
    )


def _tries(trace: Trace) -> int:
    arrived = recovery(trace)
    return 1 + next(n for n, (_, arrival) in enumerate(trace.resends) if arrival == arrived)


def _hours(trace: Trace) -> float:
    return ((recovery(trace) or 0) - (trace.failed or 0)) / HOUR


Column = tuple[str, Callable[[Figures], float], int]
COLUMNS: tuple[Column, ...] = (  # (heading, value, decimals)
    ("share of the oracle's recoveries, %", lambda f: f.share, 0),
    ("recovered messages", lambda f: f.recovered, 0),
    ("tries of the recovered", lambda f: f.tries, 1),
    ("sends a recovery", lambda f: f.each, 1),
    ("sends to dead recipients", lambda f: f.dead, 0),
    ("double texts", lambda f: f.doubles, 0),
    ("night texts", lambda f: f.night, 0),
    ("healthy blocked, before a person acts", lambda f: f.blocked_before, 0),
    ("after", lambda f: f.blocked_after, 0),
    ("first sends refused to the healthy", lambda f: f.refused, 0),
    ("incidents of the brake", lambda f: f.incidents, 1),
    ("hours waited", lambda f: f.hours, 1),
)
