"""The pages for people: every link leads somewhere, every page is in the index, every figure is the code's."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from functools import reduce
from importlib import import_module
from inspect import signature
from math import prod
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from softbounce import handle_once

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "softbounce"
INDEX = ROOT / "docs" / "README.md"
NOT_OURS = {"build", "data", "dist", "node_modules"}  # folders of what is made or installed
FENCED = re.compile(r"^(`{3,})[^\n]*\n.*?^\1`*[ ]*$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`[^`\n]+`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?)[ #]*$", re.MULTILINE)


def pages() -> Iterator[Path]:
    """Yield every Markdown file of the repository."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in NOT_OURS]
        yield from (Path(folder, name) for name in files if name.endswith(".md"))


def links(page: Path) -> list[str]:
    """Return where the links of a page lead, those to other hosts left out. Code has no links."""
    text = SPAN.sub("", FENCED.sub("", page.read_text(encoding="utf-8")))
    return [link for link in LINK.findall(text) if not re.match(r"\w+:", link)]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and GitLab name them."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    seen: Counter[str] = Counter()
    found = set()
    for heading in HEADING.findall(text):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


def is_broken(page: Path, link: str) -> bool:
    """Tell whether a link leads out of the repository, to no file, or to no heading of a page."""
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.is_relative_to(ROOT) or not target.exists():
        return True
    return bool(anchor) and (target.suffix != ".md" or anchor not in anchors(target))


def test_every_link_leads_somewhere():
    """A page that moved, an example or a heading that was renamed, leaves no dead link behind."""
    found = [(page, link) for page in pages() for link in links(page)]

    assert len(found) > 20
    assert [f"{page.relative_to(ROOT)}: {link}" for page, link in found if is_broken(page, link)] == []


def test_every_page_is_in_the_index_once():
    """A page that the index does not name is found by nobody."""
    listed = Counter((INDEX.parent / link.partition("#")[0]).resolve() for link in links(INDEX))
    wanted = {page for page in pages() if page.is_relative_to(INDEX.parent)} - {INDEX}

    assert {str(page.relative_to(ROOT)): listed[page] for page in wanted if listed[page] != 1} == {}


def test_every_line_of_the_index_says_what_the_page_holds():
    """A title alone makes a reader open the page to learn that it is the wrong one."""
    lines = [line for line in INDEX.read_text(encoding="utf-8").splitlines() if line.startswith("- ")]

    assert [line for line in lines if not re.fullmatch(r"- \[[^]]+\]\([^)]+\): .{20,}\.", line)] == []


# --- figures: (page, what stands there, the code's own values for it)


def _module(path: Path) -> str:
    return ".".join(("softbounce", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")


def policy_line(beginning: str) -> int:
    """Return the number of the first line of the shipped policy that begins so."""
    lines = (ROOT / "config/policy.yaml").read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, start=1) if line.startswith(beginning))


def constant(name: str, module: str = "") -> Any:
    """Return a constant of our Python code, wherever it stands; ``module`` where several have the name."""
    found = [
        path
        for path in SOURCE.rglob("*.py")
        if module in {"", path.stem}
        and re.search(rf"^{name}(: .+)? = [^\"{{\[]", path.read_text("utf-8"), re.MULTILINE)
    ]
    assert len(found) == 1, f"{name} stands in {[*map(str, found)]}: name its module here"
    return getattr(import_module(_module(found[0])), name)


def lua(name: str) -> int | float:
    """Return a number of our scripts: ``local A, B = 3, 72 * 3600``."""
    values = [
        value.strip()
        for path in SOURCE.rglob("*.lua")
        for names, line in re.findall(
            r"^local ([A-Z_, ]+) = ([0-9][^-\n]*)", path.read_text("utf-8"), re.MULTILINE
        )
        for own, value in zip(names.split(","), line.split(","), strict=True)
        if own.strip() == name
    ]
    assert len(values) == 1, f"{name} stands {len(values)} times in the scripts"
    return prod(float(part) if "." in part else int(part) for part in values[0].split("*"))


def policy(*path: str) -> Any:
    """Return a value of the policy that ships, as it is written there."""
    return reduce(getitem, path, YAML(typ="safe").load((ROOT / "config" / "policy.yaml").read_text("utf-8")))


def word(number: float) -> str:
    """Return a small number as pages write it."""
    return ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")[int(number)]


def said(text: str) -> str:
    """Return a duration of the policy file in words: ``30d`` is ``30 days``."""
    number, unit = int(text[:-1]), {"d": "day", "h": "hour", "m": "minute"}[text[-1]]
    return f"{number} {unit}{'s' * (number > 1)}"


KIB, MIB = 1024, 1024 * 1024
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
QUARANTINE = lua("GAP") // HOUR
LEASE = constant("LEASE", "settings") // SECOND
BRAKE = policy("defaults", "suppression", "brake")
OUTAGE = policy("codes", "PROVIDER_ERROR", "retry")
LETTER, HEAD, LETTERS = (
    constant("_KEPT_BYTES") // KIB,
    constant("HEAD_BYTES") // KIB,
    constant("DEAD_LETTERS_BYTES") // MIB,
)
LONGEST_ACT = signature(handle_once).parameters["longest"].default // timedelta(minutes=1)

FIGURES: tuple[tuple[str, str, tuple[object, ...]], ...] = (
    ("README.md", "may still leave, at most {:g} seconds later", (constant("LAST_START") * LEASE,)),
    ("README.md", "config/policy.yaml:{} codes.SMS_EXPIRED", (policy_line("  SMS_EXPIRED:"),)),
    ("README.md", "(replaces delays 90m 4h 12h 24h 36h 48h, :{})", (policy_line("  SMS_EXPIRED:"),)),
    ("docs/design.md", "bytes, in batches of {}", (constant("INTAKE_BATCH"),)),
    ("docs/design.md", "{} strikes within {} hours", (word(lua("STRIKES")), lua("STRIKES_WITHIN") // 3600)),
    ("docs/design.md", "is claimed in groups of {}", (lua("FEW"),)),
    ("docs/design.md", "takes {} bytes in a bucket; a bucket holds about {}", (lua("ENTRY"), lua("FILL"))),
    ("docs/design.md", "a history has at most {} KiB", (lua("HISTORY_BYTES") // KIB,)),
    ("docs/design.md", "within {} minutes of the newest claim", (word(lua("LATE") // MINUTE),)),
    ("docs/design.md", "after {} hours without a look", (word(QUARANTINE),)),
    (
        "docs/decisions/0003-several-recipients-without-a-culprit.md",
        "up to {} recipients",
        (constant("_MAX_RECIPIENTS"),),
    ),
    (
        "docs/decisions/0004-backoff-starts-at-an-hour.md",
        "start at one hour and double up to {}. Full mailboxes wait {} first",
        (
            said(policy("defaults", "retry", "backoff", "cap")),
            said(policy("codes", "BOUNCE_TRANSIENT_MBX_FULL", "retry", "backoff", "base")),
        ),
    ),
    (
        "docs/decisions/0004-backoff-starts-at-an-hour.md",
        "starts with minutes ({})",
        (said(OUTAGE["delays"][0]),),
    ),
    (
        "docs/decisions/0004-backoff-starts-at-an-hour.md",
        "at least {} (`settle`)",
        (said(policy("channels", "sms", "retry", "settle")),),
    ),
    (
        "docs/decisions/0005-which-send-a-report-answers.md",
        "dated more than {} minutes before the claim",
        (word(lua("LATE") // MINUTE),),
    ),
    ("docs/decisions/0007-quarantine-after-six-hours.md", "more than {} hours ago", (word(QUARANTINE),)),
    (
        "docs/decisions/0008-sudden-suppressions-are-provisional.md",
        "more than {} within an hour, and more than {} times the usual number",
        (BRAKE["more_than"], word(BRAKE["times_usual"])),
    ),
    (
        "docs/decisions/0008-sudden-suppressions-are-provisional.md",
        "ends by itself after {}",
        (said(BRAKE["for"]),),
    ),
    (
        "docs/introduction/guarantees.md",
        "at most {:g} of a lease: {:g} seconds with `SOFTBOUNCE_LEASE={}s`",
        (constant("LAST_START"), constant("LAST_START") * LEASE, LEASE),
    ),
    (
        "docs/introduction/guarantees.md",
        "A store that is {:g} to {:g} seconds older",
        (constant("MEMORY"), 2 * constant("MEMORY")),
    ),
    (
        "docs/introduction/guarantees.md",
        "Above {} KiB, or above {} KiB once all of them fill {} MiB",
        (LETTER, HEAD, LETTERS),
    ),
    (
        "docs/introduction/guarantees.md",
        "for {} (`retention.dedupe`)",
        (said(policy("retention", "dedupe")),),
    ),
    ("docs/introduction/guarantees.md", "A step of more than {} hours", (word(QUARANTINE),)),
    (
        "docs/introduction/pipeline-contract.md",
        "it was acted on within {} days",
        (constant("RECEIPT_KEPT") // DAY,),
    ),
    ("docs/introduction/pipeline-contract.md", "`longest` (default {} minutes)", (LONGEST_ACT,)),
    (
        "docs/introduction/pipeline-contract.md",
        "{} hours of silence",
        (constant("PRESUMED_AFTER") // HOUR,),
    ),
    ("docs/introduction/pipeline-contract.md", "group_wait: {} ", (policy("escalation", "group_wait"),)),
    ("docs/introduction/pipeline-contract.md", "repeat: {} ", (policy("escalation", "repeat"),)),
    ("docs/introduction/pipeline-contract.md", "up to {} `samples`", (word(lua("SAMPLES")),)),
    ("docs/introduction/pipeline-contract.md", "at least {} bytes", (constant("LEAST_SECRET"),)),
    ("docs/introduction/pipeline-contract.md", "{} had it already", (constant("HAD_IT"),)),
    ("docs/guides/intake.md", "only the first {} KiB are kept", (LETTER,)),
    (
        "docs/guides/intake.md",
        "at most {} KiB, {} levels and {} recipients of {} KiB together; names and ids have at most {} bytes",
        (
            constant("MAX_BYTES") // KIB,
            constant("MAX_DEPTH"),
            constant("_MAX_RECIPIENTS"),
            constant("_MAX_RECIPIENTS_BYTES") // KIB,
            constant("NAME", "bounds"),
        ),
    ),
    ("docs/guides/intake.md", "are cut at {} bytes", (constant("_MAX_LABEL"),)),
    ("docs/guides/intake.md", "blocks of {}, in order", (constant("REPORT_BATCH"),)),
    ("docs/guides/intake.md", "within about {} seconds", (word(constant("_PATIENCE")),)),
    ("docs/guides/intake.md", "above {:.0f} % of its memory", (100 * constant("FULL"),)),
    ("docs/guides/intake.md", "reads at most about {} MiB at once", (constant("READ_BYTES") // MIB,)),
    ("docs/guides/intake.md", "an entry above {} KiB by itself", (constant("MAX_BYTES") // KIB,)),
    (
        "docs/guides/intake.md",
        "ends after {} minutes and holds at most {:,}",
        (word(constant("REPLY_KEPT") // MINUTE), constant("REPLIES")),
    ),
    ("docs/guides/intake.md", "a list of at most {:,} of them", (constant("EVENTS"),)),
    ("docs/guides/intake.md", "no event, more than {:,} events", (constant("EVENTS"),)),
    (
        "docs/guides/intake.md",
        "a body over {} MiB (inflated), or of more than {:,} values",
        (constant("LIMIT") // MIB, constant("LIMIT") // constant("_LEAST")),
    ),
    ("docs/guides/intake.md", "no envelope, over {} MiB", (constant("ENVELOPE") // MIB,)),
    ("docs/guides/intake.md", "{} times a second", (word(round(1 / constant("NAP"))),)),
    ("docs/guides/intake.md", "batches of {} in one call", (constant("INTAKE_BATCH"),)),
    ("docs/guides/intake.md", "another takes over after {} s", (2 * LEASE,)),
    ("docs/guides/policy-tests.md", "leave in the {} days after", (constant("AFTER").days,)),
    ("docs/operations/operations.md", "finishes the rest within {:g} seconds", (constant("DRAIN"),)),
    ("docs/operations/operations.md", "costs a lease ({} seconds)", (LEASE,)),
    (
        "docs/operations/operations.md",
        "for {} (`retention.dead_letters`). All letters together have {} MiB of the store",
        (said(policy("retention", "dead_letters")), LETTERS),
    ),
    ("docs/operations/operations.md", "larger than {0} KiB only the first {0} KiB are kept", (HEAD,)),
    ("docs/operations/operations.md", "for {} hours while something waits", (word(QUARANTINE),)),
    ("docs/operations/operations.md", "grows from {:.0f} % to all of it", (100 * lua("LEAST_SHARE"),)),
    ("docs/operations/operations.md", "times, {} in a call", (constant("LIST_BATCH"),)),
    ("docs/operations/operations.md", "on at most {:,} messages", (constant("MESSAGES"),)),
    ("docs/operations/operations.md", "hangs for {} s (or a lease", (constant("LOOP_SILENCE"),)),
    ("docs/operations/operations.md", "last heard of over {} s ago", (constant("SILENT") // SECOND,)),
    ("docs/operations/operations.md", "once {} of its calls hang", (word(constant("LEFT_BEHIND") + 1),)),
    (
        "docs/operations/operations.md",
        "within {} hours has ended {} workers",
        (constant("STRIKES_WITHIN") // HOUR, word(constant("STRIKES"))),
    ),
    ("docs/operations/operations.md", "inflates to {} MiB at most", (constant("LIMIT") // MIB,)),
    (
        "docs/operations/operations.md",
        "clock steps {} minutes",
        (word(constant("STEP", "replay") // MINUTE),),
    ),
    ("docs/operations/operations.md", "has more than {} KiB of history", (lua("HISTORY_BYTES") // KIB,)),
    (
        "docs/operations/runbook.md",
        "stay in `softbounce audit list` for {}",
        (said(policy("retention", "audit")),),
    ),
    (
        "docs/operations/runbook.md",
        "{} tries, {} to {} apart, within {}",
        (
            word(OUTAGE["max_attempts"]),
            said(OUTAGE["delays"][0]),
            said(OUTAGE["delays"][-1]),
            said(OUTAGE["give_up_after"]),
        ),
    ),
    ("docs/operations/runbook.md", "the brake of the policy allows ({})", (BRAKE["more_than"],)),
    ("docs/operations/runbook.md", "{} minutes after it has left", (word(constant("SETTLED") // MINUTE),)),
    ("docs/operations/runbook.md", "younger than {} hours", (word(QUARANTINE),)),
    ("docs/operations/runbook.md", "hung for {} s", (constant("LOOP_SILENCE"),)),
    (
        "docs/operations/runbook.md",
        "from the {}st within the hour on a recipient is refused for {} only",
        (BRAKE["more_than"] + 1, said(BRAKE["for"])),
    ),
    ("docs/operations/scaling.md", "`limits.handover_rate: {}`", (policy("limits", "handover_rate"),)),
    (
        "docs/operations/scaling.md",
        "(`history: {}, dedupe: {}`)",
        (policy("retention", "history"), policy("retention", "dedupe")),
    ),
    ("docs/reference/performance.md", "takes events in batches of up to {}", (constant("INTAKE_BATCH"),)),
)


@pytest.mark.parametrize(("page", "phrase", "values"), FIGURES, ids=lambda value: str(value)[:60])
def test_a_figure_of_a_page_is_that_of_the_code(page: str, phrase: str, values: tuple[object, ...]):
    """Whoever changes the figure, or the words around it, changes both places."""
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split()).lower()

    wanted = " ".join(phrase.format(*values).split())

    assert wanted.lower() in text, f"{page} does not say: {wanted}"
