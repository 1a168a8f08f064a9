"""The pages for people: every link leads somewhere, every page is in the index, every figure is the code's."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
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
