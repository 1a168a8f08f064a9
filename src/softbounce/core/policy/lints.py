"""What a policy says without a mistake, and probably does not mean: a warning each, with its reason."""

from collections.abc import Iterator

from softbounce.core.durations import HOUR, MINUTE, words
from softbounce.core.policy.merge import Level, Rulebook, matches
from softbounce.core.policy.model import QuietHours, Rate, Rule
from softbounce.core.policy.schema import File
from softbounce.core.policy.yaml_tree import Mistake, Place, Tree
from softbounce.core.reasons import Fault
from softbounce.core.recipients import Channel
from softbounce.core.subject import channel_of_code

LATE = 90 * MINUTE  # receipts of texts arrive until then: of 9,600 texts, 28 tries at 60 min came twice
LEAST_SENDABLE = 6 * HOUR  # a day
DAY_MINUTES = 24 * 60


def lints(file: File, tree: Tree, rules: Rulebook) -> Iterator[Mistake]:
    """Yield each of them, at the place that an operator would change."""
    for level in rules.every():
        quiet = level.values.get("quiet_hours")
        if quiet and quiet.value:
            yield from _quiet(tree.key_place((*level.path, "quiet_hours")), quiet.value)
        yield from _branches(tree, level)
    used = set(file.escalation.notify or ())
    for name in file.escalation.targets or {}:
        if name not in used:
            place = tree.key_place(("escalation", "targets", name))
            yield Mistake(place=place, message=f"target '{name}' is in no notify: nobody hears by it")
    seen: set[Mistake] = set()
    for mistake in _schedules(tree, rules):
        if mistake not in seen:
            seen.add(mistake)
            yield mistake


def _quiet(place: Place, quiet: QuietHours) -> Iterator[Mistake]:
    sendable = (quiet.start - quiet.end) % DAY_MINUTES * MINUTE
    if sendable < LEAST_SENDABLE:
        message = f"only {words(sendable)} a day are left to send in: tries crowd, and reach their deadline"
        yield Mistake(place=place, message=message)
    if not quiet.spread:
        message = "spread: 0s lets every try of a night leave in one second; 45m spreads them"
        yield Mistake(place=place, message=message)


def _branches(tree: Tree, level: Level) -> Iterator[Mistake]:
    """Yield the replies of a ``when`` that an earlier branch has taken already."""
    before: list[str] = []
    for patterns, branch in level.values["when"].value if "when" in level.values else ():
        taken = [one for one in patterns if any(matches(earlier, one) for earlier in before)]
        if taken:
            message = f"never reached: an earlier branch takes {', '.join(taken)}"
            yield Mistake(place=tree.key_place((*branch.path, "smtp")), message=message)
        before += patterns


def _schedules(tree: Tree, rules: Rulebook) -> Iterator[Mistake]:
    books = [(None, rules.codes), *rules.merchant_codes.items()]
    for merchant, book in books:
        for code, level in book.levels.items():
            for channel in _channels(code):
                rule = rules.resolve(code=code, channel=channel, merchant=merchant, smtp=None)
                if rule.retries and rule.delays and not rule.off:
                    yield from _schedule(_place(tree, level), rule, channel, rules)


def _channels(code: str) -> tuple[Channel, ...]:
    named = channel_of_code(code)
    return (named,) if named else tuple(Channel)


def _place(tree: Tree, level: Level) -> Place:
    has_retry = any(key.startswith("retry") for key in level.values)
    return tree.key_place((*level.path, "retry") if has_retry else level.path)


def _schedule(place: Place, rule: Rule, channel: Channel, rules: Rulebook) -> Iterator[Mistake]:
    first = rule.delays[0]
    is_recipients = rule.fault is Fault.RECIPIENT
    if is_recipients and first < rule.settle:
        message = f"{rule.name}: the first try says {words(first)}, settle {words(rule.settle)}: settle wins"
        yield Mistake(place=place, message=message)
    elif is_recipients and channel is Channel.SMS and first < LATE:
        message = (
            f"{rule.name}: a text that is tried again after {words(first)} may be a second one: "
            f"receipts arrive until {words(LATE)} after it"
        )
        yield Mistake(place=place, message=message)
    times = [sum(rule.delays[: n + 1]) for n in range(len(rule.delays))]
    late = [n for n, time in enumerate(times, 1) if time > rule.give_up_after]
    if late:
        which = f"try {late[0]}" if len(late) == 1 else f"tries {late[0]} to {late[-1]}"
        message = f"{rule.name}: {which} would come after give_up_after ({words(rule.give_up_after)})"
        yield Mistake(place=place, message=message)
    limits = rules.limits
    for name, cap in (("recipient", limits.resends_per_recipient), ("claim", limits.resends_per_claim)):
        if _exceeds(times, cap):
            said = f"limits.resends_per_{name} ({cap.count}/{words(cap.per)})"
            message = f"{rule.name}: {said} holds back the tries of a single message"
            yield Mistake(place=place, message=message)


def _exceeds(times: list[int], cap: Rate) -> bool:
    """Whether more tries fall into the cap's time than it lets pass."""
    return any(last - first < cap.per for first, last in zip(times, times[cap.count :], strict=False))
