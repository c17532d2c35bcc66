"""The pictures of docs/studies/study-grids.md: one command that looks at a running UI through headless Chromium.

``python -m mm_pipeline_tests.ui_pictures --study NAME --partition "2024-03|seed"`` after the study's months were made.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote

from mm_pipeline_tests.chromium import BROWSER, Page, browser, program

FIGURES: Final = Path(__file__).parents[1] / "docs" / "studies" / "figures"


def pictures(ui: str, study: str, partition: str, months: str) -> dict[str, Callable[[Page], None]]:
    """How to come to each picture, by its name."""

    def at(asset: str, view: str) -> str:
        return f"{ui}/assets/{study}/{asset}?view={view}"

    chosen = f"partitions&partition={quote(partition)}"

    def launch(page: Page) -> None:
        page.open(at("signal_outcomes", "lineage"), shows="study_states")
        page.click("Materialize all…")
        page.wait_for("policy")
        page.write("input[placeholder^='ex: ']", months)
        page.click("All")  # the last one, of the policies
        page.click("Partition selection")
        page.click("Partition selection")

    def outcomes(page: Page) -> None:
        page.open(at("signal_outcomes", chosen), shows="scorecard")
        page.bring_up("episodes")

    def plot(page: Page, asset: str) -> None:
        page.open(at(asset, chosen), shows="[Show Markdown]")
        page.click("[Show Markdown]")
        page.wait_for("Close")

    return {
        "launch": launch,
        "outcomes": outcomes,
        "states-plot": lambda page: plot(page, "study_states"),
        "outcomes-plot": lambda page: plot(page, "signal_outcomes"),
    }


def main() -> None:
    """Take every picture, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ui", default="http://127.0.0.1:3000")
    parser.add_argument("--study", required=True)
    parser.add_argument("--partition", required=True, help="such as '2024-03|seed'")
    parser.add_argument("--months", default="[2024-01...2024-12]", help="of the dialog that launches them")
    parser.add_argument("--out", type=Path, default=FIGURES)
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args()
    found = program()
    if found is None:
        sys.exit(f"There is no chromium on the path; name a Chromium or Chrome in {BROWSER}.")
    asked.out.mkdir(parents=True, exist_ok=True)
    with browser(found) as page:
        for name, come_to in pictures(asked.ui, asked.study, asked.partition, asked.months).items():
            if not asked.names or name in asked.names:
                come_to(page)
                page.shoot(asked.out / f"{name}.png")


if __name__ == "__main__":
    main()
