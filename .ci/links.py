"""Finds links between the project's pages that lead nowhere; ``make check`` runs it.

Reads README, CONTRIBUTING, CHANGELOG and everything below ``docs/``. A relative link must name a file of the checkout,
and its anchor a heading (or an ``<a id>``) of that page. Addresses of other sites are not asked.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[1]
TOP_PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")

_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_CODE = re.compile(r"(`+).+?\1")
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^\s()<>]*(?:\([^\s()]*\)[^\s()<>]*)*)>?[^()]*\)")
_DEFINITION = re.compile(r" {0,3}\[[^\]]+\]:\s+<?([^\s>]+)")
_HEADING = re.compile(r" {0,3}#{1,6}\s+(.+?)\s*#*\s*$")
_ID = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:|//")
_LINK_TEXT = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")


def pages(root: Path) -> list[Path]:
    """The pages that are checked, those that exist of the top ones first."""
    top = [root / name for name in TOP_PAGES if (root / name).is_file()]
    return top + sorted((root / "docs").rglob("*.md"))


def broken_links(root: Path) -> list[str]:
    """One sentence for each link that leads nowhere; empty when all is well."""
    return [
        f"{page.relative_to(root)}:{number}: ({target}) {problem}"
        for page in pages(root)
        for number, target in _links(page)
        if (problem := _problem(page, target, root)) is not None
    ]


def _problem(page: Path, target: str, root: Path) -> str | None:
    """Why a link cannot be followed; None when it can, or leads to another site."""
    if _SCHEME.match(target):
        return None
    path, _, anchor = target.partition("#")
    if path.startswith("/"):
        return "is not relative; write it as a path from this page."
    found = (page.parent / unquote(path)).resolve() if path else page
    if not found.is_relative_to(root.resolve()) or not found.exists():
        return "names no file of this checkout."
    if anchor and found.suffix == ".md" and unquote(anchor) not in anchors(found):
        return f"names no heading of {found.name}."
    return None


def _links(page: Path) -> Iterator[tuple[int, str]]:
    """Line numbers and targets, without those in code."""
    for number, line in _prose(page):
        text = _CODE.sub("", line)
        for pattern in (_LINK, _DEFINITION):
            for match in pattern.finditer(text) if pattern is _LINK else [pattern.match(text)]:
                if match is not None:
                    yield number, match.group(1)


@cache
def anchors(page: Path) -> frozenset[str]:
    """Names that a link to this page may end with, as public hosts of Git make them from headings."""
    found: set[str] = set()
    seen: Counter[str] = Counter()
    for _, line in _prose(page):
        found.update(_ID.findall(line))
        heading = _HEADING.match(line)
        if heading is not None:
            name = slug(heading.group(1))
            found.add(name if seen[name] == 0 else f"{name}-{seen[name]}")
            seen[name] += 1
    return frozenset(found)


def slug(heading: str) -> str:
    """Anchor of a heading: lower case, without punctuation, blanks as hyphens."""
    text = _LINK_TEXT.sub(r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", text.replace("`", "")).replace(" ", "-")


def _prose(page: Path) -> Iterator[tuple[int, str]]:
    """Lines outside of fenced code, with their numbers."""
    fence = ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        mark = _FENCE.match(line)
        if fence:
            fence = "" if mark is not None and mark.group(1).startswith(fence) else fence
        elif mark is not None:
            fence = mark.group(1)
        else:
            yield number, line


def main(root: Path) -> int:
    """Print what is broken; the exit code is 1 when anything is."""
    found = broken_links(root)
    print("\n".join(found) or f"the links of {len(pages(root))} pages lead somewhere")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT))
