"""``mm demo`` from a fresh home: ends by itself, shows at least three states with triggers, and writes its report."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mm_pipeline.adapters.journal import Journal, sqlite_url
from mm_pipeline.domain.notifications import ResponseKind
from mm_pipeline_tests.effort import SEARCHED
from mm_pipeline_tests.unit.test_cli_demo_markets import EXPECTED

MM = Path(sys.executable).with_name("mm")


def demo(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command; the two minutes are a promise."""
    environment = os.environ | {"MM_HOME": str(home), "MM_JOURNAL_URL": "sqlite:////nowhere/journal.db"}
    return subprocess.run(
        [str(MM), "demo", *arguments], capture_output=True, text=True, check=False, timeout=120, env=environment
    )


@pytest.mark.slow
def test_demo_shows_grids_in_different_states_and_writes_a_report(tmp_path: Path) -> None:
    done = demo(tmp_path)
    assert done.returncode == 0, done.stderr
    for grid_id, states in EXPECTED.items():
        assert grid_id in done.stdout
        assert states & set(done.stdout.split())
    for told in ("UNKNOWN", "closes_outside", "FIRED", "requests over HTTP, one Dagster run"):
        assert told in done.stdout
    for told in (
        "Paged over HTTP, acknowledged on demo-phone",
        "  MANDATORY EXIT sol-break: exit within 15 min",
        "Stopping",
    ):
        assert told in done.stdout
    report = tmp_path / "demo" / "report" / "index.html"
    assert f"Report: {report}" in done.stdout
    page = report.read_text()
    assert all(grid_id in page for grid_id in EXPECTED)
    pictures = {path.stem: path.read_bytes() for path in report.parent.glob("*.png")}
    assert set(pictures) == {*EXPECTED, "xrp-silent"}
    assert all(png.startswith(b"\x89PNG") for png in pictures.values())
    assert [path.name for path in tmp_path.iterdir()] == ["demo"], "nothing is written beside the demo's folder"


@pytest.mark.slow
@SEARCHED
def test_demo_starts_anew_each_time(tmp_path: Path) -> None:
    left = tmp_path / "demo" / "grids" / "left-over.yaml"
    left.parent.mkdir(parents=True)
    left.write_text("id: left-over\n")
    done = demo(tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    states = {grid["grid"]: grid["state"] for grid in data["grids"]}
    assert {grid_id: {states[grid_id]} for grid_id in EXPECTED} == EXPECTED
    assert states["xrp-silent"] == "UNKNOWN"
    assert len(states) == len(EXPECTED) + 1
    assert Path(data["report"]).is_file()
    (paged,) = data["pages"]
    assert (paged["grid"], paged["acknowledged_by"]) == ("sol-break", "demo-phone")
    assert 0 <= paged["response_s"] < 60
    with Journal(sqlite_url(tmp_path / "demo" / "journal.db")) as journal:
        (answer,) = journal.responses.select("sol-break")
        (page,) = journal.notifications.pages(ids=[paged["page"]])
    assert (answer.response.kind, answer.response.page) == (ResponseKind.ACKNOWLEDGED, paged["page"])
    assert page.priority == 2
    assert len(set(states.values())) >= 3
