"""What a policy may not mean, though every key and value in it is legal by itself.

The worst errors of a policy block healthy recipients. So only a recipient's own fault may suppress, the fault
of a known code is never raised to ``recipient``, and an SMTP reply never hardens a verdict.
"""

from collections.abc import Iterator

from softbounce.core.durations import parse_duration, shown
from softbounce.core.policy.merge import SEVERITY, Level, Rulebook, Stack, allowed_fault, matches
from softbounce.core.policy.model import Disposition
from softbounce.core.policy.schema import File
from softbounce.core.policy.validation import did_you_mean
from softbounce.core.policy.values import BUILT_IN
from softbounce.core.policy.yaml_tree import Mistake, Tree
from softbounce.core.reasons import FAMILIES, KNOWN, Fault, built_in_fault

MOST_NAMED = 3  # codes in one message
NEAR = 0.88  # one or two wrong letters in a code; BOUNCE_PERMANENT_NO_EMAIL and _GENERAL are at 0.77


def errors(file: File, tree: Tree, rules: Rulebook) -> Iterator[Mistake]:
    """Yield everything that the policy may not mean."""
    yield from _retention(file, tree, rules)
    yield from _notify(file, tree)
    named = [*rules.codes.levels, *(code for book in rules.merchant_codes.values() for code in book.levels)]
    covered: dict[Mistake, list[str]] = {}
    for code in sorted({*KNOWN, *named}):
        merchants = [name for name, book in rules.merchant_codes.items() if book.find(code)]
        for merchant in (None, *merchants):
            for mistake in _rule(tree, code, rules.code_levels(code, merchant)):
                codes = covered.setdefault(mistake, [])
                if mistake.message.endswith(" ") and code not in codes:  # a wildcard's: it ends in the codes
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
            return  # it is written, and wrong by itself
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
    """Yield what is wrong with the rule for one code, as one merchant, or nobody in particular, gets it."""
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
    if exact.values.get("confirm") and exact.values["confirm"].value and do is not Disposition.SUPPRESS:
        place = tree.key_place((*exact.path, "confirm"))
        yield Mistake(place=place, message=f"{exact.name}: 'confirm' needs do: suppress (it is {do})")
    for _, branch in stack.branches():
        yield from _branch(tree, code, branch, do, fault)


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


def _suppresses(tree: Tree, code: str, level: Level, do: Disposition, fault: Fault) -> Iterator[Mistake]:
    """Yield a mistake if a fault that is not the recipient's suppresses, at once or after the tries."""
    if fault is Fault.RECIPIENT:
        return
    is_wildcard = str(level.path[-1]).endswith("*") and level.path[-1] != code
    whose = f"(it is {fault}) for " if is_wildcard else f"(it is {fault})"
    if (
        do is Disposition.SUPPRESS and {"do", "fault"} & level.values.keys()
    ):  # else a more general level is wrong
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
