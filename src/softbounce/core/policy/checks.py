"""Forbidden and suspicious combinations of values that are each valid alone.

The worst errors of a policy block healthy recipients. So only a recipient's own fault may suppress, the fault
of a known code is never raised to ``recipient``, and an SMTP reply never makes a verdict more severe.
"""

from collections.abc import Iterator

from softbounce.core.durations import MINUTE, SECOND, parse_duration, shown, words
from softbounce.core.policy.merge import BACKOFF, SEVERITY, Level, Rulebook, Stack, allowed_fault, matches
from softbounce.core.policy.model import (
    LEAST_SENDABLE,
    Disposition,
    Limits,
    QuietHours,
    Rate,
    Rule,
    is_retried,
)
from softbounce.core.policy.schema import File
from softbounce.core.policy.sections import Breaker
from softbounce.core.policy.validation import did_you_mean
from softbounce.core.policy.values import BUILT_IN
from softbounce.core.policy.yaml_tree import Mistake, Place, Tree
from softbounce.core.reasons import FAMILIES, KNOWN, Fault, built_in_fault
from softbounce.core.recipients import Channel
from softbounce.core.subject import channel_of_code

MOST_NAMED = 3  # one message names at most so many codes
NEAR = (
    0.88  # similarity of a code with one or two wrong letters; BOUNCE_PERMANENT_NO_EMAIL and _GENERAL: 0.77
)
LATE = 90 * MINUTE  # receipts of texts arrive until then: of 9,600 texts, 28 tries at 60 min came twice
SLOWEST = 6 * SECOND  # a hand-over rate of less than ten a minute is a slip of the unit: 50/1h for 50/s
DAY_MINUTES, NOON, NIGHT_ENDS = 24 * 60, 12 * 60, 5 * 60


def errors(file: File, tree: Tree, rules: Rulebook) -> Iterator[Mistake]:
    """Yield every forbidden combination, at the place to change."""
    yield from _retention(file, tree, rules)
    yield from _notify(file, tree)
    named = [*rules.codes.levels, *(code for book in rules.merchant_codes.values() for code in book.levels)]
    covered: dict[Mistake, list[str]] = {}
    for code in sorted({*KNOWN, *named}):
        merchants = [name for name, book in rules.merchant_codes.items() if book.find(code)]
        for merchant in (None, *merchants):
            for mistake in _rule(tree, code, rules.code_levels(code, merchant)):
                codes = covered.setdefault(mistake, [])
                if mistake.message.endswith(" ") and code not in codes:  # of a wildcard
                    codes.append(code)
    for mistake, codes in covered.items():
        more = f" and {len(codes) - MOST_NAMED} more" if len(codes) > MOST_NAMED else ""
        yield Mistake(place=mistake.place, message=f"{mistake.message}{', '.join(codes[:MOST_NAMED])}{more}")


def warnings(tree: Tree, rules: Rulebook) -> Iterator[Mistake]:
    """Yield what is legal and probably a typing error: a code that is nearly a known one."""
    for book in (rules.codes, *rules.merchant_codes.values()):
        for code, level in book.levels.items():
            hint = did_you_mean(code, [*KNOWN, *FAMILIES], cutoff=NEAR)
            is_known = any(matches(code, known) for known in KNOWN)
            if hint and not is_known:
                yield Mistake(place=tree.key_place(level.path), message=f"'{code}' is no known code{hint}")


def _retention(file: File, tree: Tree, rules: Rulebook) -> Iterator[Mistake]:
    dedupe, path = file.retention.dedupe, ("retention", "dedupe")
    if dedupe is None:
        if tree.line(path):
            return  # it has a mistake of its own already
        dedupe = parse_duration(BUILT_IN["retention"]["dedupe"])
    key = "retry.give_up_after"
    levels = [level for level in rules.every() if key in level.values]
    longest = max(levels, key=lambda level: level.values[key].value)
    window = longest.values[key]
    if window.value >= dedupe:
        place = tree.value_place(path if tree.line(path) else (*longest.path, *key.split(".")))
        message = (
            f"dedupe must be longer than the longest retry window ({window.text}, {longest.name}, "
            f":{window.line}), or a late repeat starts the message again"
        )
        yield Mistake(place=place, message=message)


def _notify(file: File, tree: Tree) -> Iterator[Mistake]:
    targets = ["log", *(file.escalation.targets or {})]
    for index, name in enumerate(file.escalation.notify or ()):
        if name not in targets:
            place = tree.value_place(("escalation", "notify", index))
            message = f"no target {shown(name)} under escalation.targets{did_you_mean(name, targets)}"
            yield Mistake(place=place, message=message)


def _rule(tree: Tree, code: str, levels: list[Level]) -> Iterator[Mistake]:
    """Yield what is wrong with the rule for one code, as it applies to one merchant or without one."""
    if not levels:
        return
    stack, exact = Stack(levels), levels[-1]
    do = stack.value("do", Disposition.HOLD)
    fault = stack.value("fault", built_in_fault(code) or Fault.MESSAGE)
    ceiling = Fault.MESSAGE if code == "*" else allowed_fault(code, fault)
    if ceiling is not fault and fault is Fault.RECIPIENT:
        level = stack.said("fault")[-1][0]
        yield Mistake(place=tree.value_place((*level.path, "fault")), message=_raised(level, code, ceiling))
        return
    yield from _suppresses(tree, code, exact, do, fault)
    yield from _confirms(tree, exact, do)
    for branch in stack.branches():
        yield from _branch(tree, code, branch.level, do, fault)


def _confirms(tree: Tree, level: Level, do: Disposition) -> Iterator[Mistake]:
    confirm = level.values.get("confirm")
    if confirm and confirm.value and do is not Disposition.SUPPRESS:
        place = tree.key_place((*level.path, "confirm"))
        yield Mistake(place=place, message=f"{level.name}: 'confirm' needs do: suppress (it is {do})")


def _branch(tree: Tree, code: str, branch: Level, do: Disposition, fault: Fault) -> Iterator[Mistake]:
    verdict = branch.values["do"].value
    said = branch.values.get("fault")
    if SEVERITY[verdict] > SEVERITY[do]:
        message = f"{branch.name}: a reply may soften a verdict, never harden it ({do} to {verdict})"
        yield Mistake(place=tree.key_place((*branch.path, "do")), message=message)
    elif said and said.value is Fault.RECIPIENT and fault is not Fault.RECIPIENT:
        message = f"{branch.name}: a reply never moves the blame to the recipient (it is {fault})"
        yield Mistake(place=tree.value_place((*branch.path, "fault")), message=message)
    else:
        yield from _suppresses(tree, code, branch, verdict, said.value if said else fault)
        yield from _confirms(tree, branch, verdict)


def _suppresses(tree: Tree, code: str, level: Level, do: Disposition, fault: Fault) -> Iterator[Mistake]:
    """Yield a mistake if a fault that is not the recipient's suppresses, at once or after the tries."""
    if fault is Fault.RECIPIENT:
        return
    is_wildcard = str(level.path[-1]).endswith("*") and level.path[-1] != code
    whose = f"(it is {fault}) for " if is_wildcard else f"(it is {fault})"
    if (
        do is Disposition.SUPPRESS and {"do", "fault"} & level.values.keys()
    ):  # else the mistake is in a more general level
        place = tree.key_place((*level.path, "do" if "do" in level.values else "fault"))
        yield Mistake(place=place, message=f"{level.name}: 'suppress' needs fault: recipient {whose}")
    then = level.values.get("retry.then")
    if then and then.value == "suppress":
        place = tree.key_place((*level.path, "retry", "then"))
        message = f"{level.name}: 'then: suppress' needs fault: recipient {whose}"
        yield Mistake(place=place, message=message)


def _raised(level: Level, code: str, natural: Fault) -> str:
    if code == "*":
        return f"{level.name}: a code that nobody knows never blames the recipient"
    if level.path[-1] == code:
        return f"{level.name}: 'fault: recipient' is refused (this code's fault is {natural})"
    return f"{level.name}: 'fault: recipient' covers faults of others; give rules of their own to "


def lints(file: File, tree: Tree, rules: Rulebook) -> Iterator[Mistake]:
    """Yield what is legal and probably not intended, at the place that an operator would change."""
    for level in rules.every():
        quiet = level.values.get("quiet_hours")
        if quiet and quiet.value:
            yield from _quiet(tree.key_place((*level.path, "quiet_hours")), quiet.value)
        yield from _branches(tree, level)
    rate = rules.limits.handover_rate
    if rate.per > rate.count * SLOWEST:
        message = (
            f"all merchants together resend {rate.count} in {words(rate.per)}; was {rate.count}/s meant?"
        )
        yield Mistake(place=tree.value_place(("limits", "handover_rate")), message=message)
    for name, provider in file.providers.items():
        if (
            isinstance(provider.breaker, Breaker)
            and provider.breaker.open_for.cap < provider.breaker.open_for.base
        ):
            place = tree.key_place(("providers", name, "breaker", "open_for"))
            yield Mistake(
                place=place, message="the cap is below the base: the breaker always opens for the cap"
            )
    used = set(file.escalation.notify or ())
    for name in file.escalation.targets or {}:
        if name not in used:
            place = tree.key_place(("escalation", "targets", name))
            yield Mistake(place=place, message=f"target '{name}' is in no notify: nobody hears by it")
    yield from dict.fromkeys(_schedules(tree, rules))  # a rule has the same mistake on each channel


def _quiet(place: Place, quiet: QuietHours) -> Iterator[Mistake]:
    sendable = (quiet.start - quiet.end) % DAY_MINUTES * MINUTE
    if sendable < LEAST_SENDABLE:
        message = f"only {words(sendable)} a day are left to send in: tries crowd, and reach their deadline"
        yield Mistake(place=place, message=message)
    length = (quiet.end - quiet.start) % DAY_MINUTES
    is_day = (NOON - quiet.start) % DAY_MINUTES < length
    if length * MINUTE >= LEAST_SENDABLE and is_day and quiet.start >= NIGHT_ENDS and quiet.end > quiet.start:
        message = "it is quiet by day, and tries leave at night: 'from' and 'to' may be swapped"
        yield Mistake(place=place, message=message)
    if not quiet.spread:
        message = "spread: 0s lets every try of a night leave in one second; 45m spreads them"
        yield Mistake(place=place, message=message)


def _branches(tree: Tree, level: Level) -> Iterator[Mistake]:
    """Yield the replies that an earlier branch has taken, and those that are transient and suppress."""
    before: list[str] = []
    texts: list[str] = []
    for branch in level.branches:
        taken = [one for one in branch.smtp or ("*",) if any(matches(earlier, one) for earlier in before)]
        key = "smtp" if branch.smtp else "text"
        if not taken:
            taken = [one for one in branch.texts if any(earlier in one for earlier in texts)]
            key = "text"
        if taken:
            message = f"never reached: an earlier branch takes {', '.join(taken)}"
            yield Mistake(place=tree.key_place((*branch.level.path, key)), message=message)
        is_transient = branch.smtp and all(reply[0] == "4" for reply in branch.smtp)
        if is_transient and branch.level.values["do"].value is Disposition.SUPPRESS:
            yield _transient(tree, branch.level)
        before += branch.smtp if not branch.texts else ()
        texts += branch.texts if not branch.smtp else ()


def _schedules(tree: Tree, rules: Rulebook) -> Iterator[Mistake]:
    books = [(None, rules.codes), *rules.merchant_codes.items()]
    for merchant, book in books:
        for code, level in book.levels.items():
            named = channel_of_code(code)
            for channel in (named,) if named else Channel:
                rule = rules.resolve(code=code, channel=channel, merchant=merchant, smtp=None)
                stack = rules.stack(code=code, channel=channel, merchant=merchant)
                is_transient = "TRANSIENT" in code or code == "SMS_EXPIRED"
                if is_transient and rule.do is Disposition.SUPPRESS and not rule.confirm:
                    yield _transient(tree, stack.said("do")[-1][0])
                if rule.retries and rule.delays and not rule.off:
                    yield from _schedule(_place(tree, level), rule, channel, rules)
                for one in (stack, *(Stack((*stack.levels, branch.level)) for branch in stack.branches())):
                    if is_retried(one.value("do"), one.value("confirm")) and not rule.off:
                        yield from _contradictions(tree, one, rules.limits)


def _transient(tree: Tree, level: Level) -> Mistake:
    message = f"{level.name}: a transient failure blocks the recipient at once; retry it, or use confirm"
    return Mistake(place=tree.key_place((*level.path, "do")), message=message)


def _contradictions(tree: Tree, stack: Stack, limits: Limits) -> Iterator[Mistake]:
    """Yield what one level says of the schedule and another one, or a limit, undoes."""
    level, key = stack.said("retry.max_attempts")[-1]
    tries = level.values[key]
    if tries.value > limits.max_attempts and tries.line:
        message = (
            f"{level.name}: of {tries.text} tries limits.max_attempts lets {limits.max_attempts} through"
        )
        yield Mistake(place=tree.key_place((*level.path, *key.split("."))), message=message)
    base, _, cap = BACKOFF
    if stack.is_listed or stack.value(cap) >= stack.value(base):
        return
    level, key = next((one, key) for one, key in reversed(stack.said(base, cap)) if one.values[key].line)
    message = (
        f"{level.name}: the cap of the backoff ({stack.text(cap)}) is below its base ({stack.text(base)}): "
        f"each try comes after {words(stack.value(cap))}"
    )
    yield Mistake(place=tree.key_place((*level.path, *key.split("."))), message=message)


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
