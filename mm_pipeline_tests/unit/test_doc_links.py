"""The check of links between pages: what leads nowhere is found, and the project's own pages have nothing of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / ".ci" / "links.py"


def checked(root: Path) -> tuple[int, str]:
    """Exit code and output of the check on a checkout."""
    run = subprocess.run([sys.executable, str(SCRIPT), str(root)], capture_output=True, text=True, check=False)
    return run.returncode, run.stdout + run.stderr


def checkout(folder: Path, readme: str) -> Path:
    """A checkout with this README, and a guide with two equal headings."""
    (folder / "docs" / "more").mkdir(parents=True)
    (folder / "docs" / "guide.md").write_text(
        '# Guide\n\n## Set `up`, now\n\n## Again\n\n## Again\n\n<a id="spec-6"></a>\n'
    )
    (folder / "docs" / "more" / "deep.md").write_text("[back](../../README.md) [side](../guide.md#again)\n")
    (folder / "picture.png").write_bytes(b"")
    (folder / "README.md").write_text(readme)
    return folder


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ("[a](docs/gone.md)", "names no file"),
        ("![a](gone.png)", "names no file"),
        ("[a](docs/guide.md#gone)", "names no heading of guide.md"),
        ("[a](#gone)", "names no heading of README.md"),
        ("[a](docs/guide.md#again-2)", "names no heading"),
        ("[a](/docs/guide.md)", "is not relative"),
        ("[a](../outside.md)", "names no file"),
        ("[a]: docs/gone.md", "names no file"),
        ("[![a](picture.png)](docs/gone.md)", "names no file"),
    ],
)
def test_broken_link_is_found_with_its_page_and_line(tmp_path: Path, link: str, problem: str) -> None:
    code, output = checked(checkout(tmp_path, f"# Top\n\nRead {link}.\n" if link[-1] == ")" else f"# Top\n\n{link}\n"))

    assert code == 1
    assert output.startswith("README.md:3: (")
    assert problem in output
    assert output.count("\n") == 1


@pytest.mark.parametrize(
    "text",
    [
        "[a](docs/guide.md) [b](docs/guide.md#set-up-now) [c](docs/guide.md#again-1) [d](#top) [e](docs)",
        "[a](docs/guide.md#spec-6) ![b](picture.png)",
        "[a](https://example.org/gone#gone) [b](mailto:a@example.org)",
        "`[a](gone.md)` is code",
        "```\n[a](gone.md)\n```",
    ],
)
def test_link_that_leads_somewhere_or_to_another_site_is_left_alone(tmp_path: Path, text: str) -> None:
    code, output = checked(checkout(tmp_path, f"# Top\n\n{text}\n"))

    assert (code, output) == (0, "the links of 3 pages lead somewhere\n")


def test_links_of_this_project_lead_somewhere() -> None:
    code, output = checked(ROOT)

    assert code == 0, output
