"""``mm evaluate`` and ``mm backfill`` as processes, through real Dagster runs and ccxt over HTTP."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mm_pipeline.adapters.config.home import frames_dir, journal_file
from mm_pipeline.adapters.journal import Journal, sqlite_url
from mm_pipeline.cli.demo.markets import DEMO_MARKETS, paper_market, write_installation
from mm_pipeline.paper.exchange import PaperExchange

MM = Path(sys.executable).with_name("mm")
CHOSEN = tuple(demo for demo in DEMO_MARKETS if demo.grid_id in ("eth-calm", "xrp-silent"))


@dataclass(frozen=True)
class Installation:
    """A home, its settings, and the command run against them."""

    home: Path
    settings: Path

    def mm(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(MM), *arguments, "--settings", str(self.settings)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"MM_HOME": str(self.home)},
        )

    def journalled(self) -> int:
        with Journal(sqlite_url(journal_file(self.home / "paper"))) as journal:
            return len(journal.evaluations())


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder, now = tmp_path_factory.mktemp("installed"), datetime.now(UTC)
    with PaperExchange(markets=[paper_market(demo, now=now) for demo in CHOSEN]) as paper:
        settings = write_installation(folder, now=now, paper_url=paper.url, markets=CHOSEN)
        yield Installation(folder / "home", settings)


@pytest.fixture(scope="module")
def evaluated(installed: Installation) -> subprocess.CompletedProcess[str]:
    """What the first evaluation of the installation printed."""
    return installed.mm("evaluate")


def test_unknown_grid_makes_the_exit_code_one(evaluated: subprocess.CompletedProcess[str]) -> None:
    assert evaluated.returncode == 1, evaluated.stderr
    assert evaluated.stderr == ""
    for told in ("eth-calm", "NORMAL", "xrp-silent", "UNKNOWN", "last known NORMAL", "data.max_age"):
        assert told in evaluated.stdout
    assert evaluated.stdout.index("xrp-silent") < evaluated.stdout.index("eth-calm"), "what needs an operator is first"


def test_one_grid_is_told_as_json_with_the_contract_s_keys(
    installed: Installation, evaluated: subprocess.CompletedProcess[str]
) -> None:
    done = installed.mm("evaluate", "--grid", "eth-calm", "--json")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    [grid] = data["grids"]
    assert (grid["grid"], grid["state"], grid["risk"]["level"]) == ("eth-calm", "NORMAL", "LOW")
    assert grid["risk"]["source"] == "modelled"
    assert 0 < grid["risk"]["capital_at_risk_15m_quote"] < grid["risk"]["worst_case_quote"]
    assert {"since", "price", "triggers", "age_s", "reasons"} <= set(grid)
    assert 0 <= grid["age_s"] < 1200
    assert datetime.fromisoformat(data["evaluated_at"]).minute % 15 == 0


def test_past_evaluation_is_not_journalled(
    installed: Installation, evaluated: subprocess.CompletedProcess[str]
) -> None:
    before = installed.journalled()
    assert before > 0
    at = (datetime.now(UTC) - timedelta(hours=30)).replace(minute=17, second=0, microsecond=0)
    done = installed.mm("evaluate", "--at", at.isoformat(), "--json")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert data["evaluated_at"] == at.replace(minute=15).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert {grid["grid"] for grid in data["grids"]} == {"eth-calm", "xrp-silent"}
    trial = installed.mm("evaluate", "--grid", "eth-calm", "--policy", "seed", "--json")
    assert json.loads(trial.stdout)["grids"][0]["policy"] == "seed"
    assert installed.journalled() == before, "neither the past nor another policy leaves a trace"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--grid", "nope"], "There are: eth-calm, xrp-silent."),
        (["--at", "2090-01-01"], "in the future"),
        (["--policy", "bold"], "calibrated, seed"),
    ],
)
def test_wrong_argument_of_evaluate_is_bad_usage(installed: Installation, arguments: list[str], said: str) -> None:
    done = installed.mm("evaluate", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_backfill_tells_its_months_and_journals_nothing(
    installed: Installation, evaluated: subprocess.CompletedProcess[str]
) -> None:
    before, today = installed.journalled(), datetime.now(UTC).date()
    # The market is silent today only; a month ahead of the clock is refused.
    first, end = today - timedelta(days=2), today + timedelta(days=1 if today.day == 1 else 0)
    done = installed.mm("backfill", "--from", str(first), "--to", str(end), "--json")
    assert done.returncode == 1, done.stderr
    data = json.loads(done.stdout)
    named = [problem.split(": ")[0] for problem in data["problems"]]
    assert named[0] == "candles, kucoin:XRP/USDT", "the silent market"
    assert all(name.endswith("kucoin:XRP/USDT") for name in named), named
    assert data["months"] == sorted({f"{first:%Y-%m}", f"{end - timedelta(days=1):%Y-%m}"})
    assert installed.journalled() == before
    kept = frames_dir(installed.home / "paper") / "exit_states" / "eth-calm"
    assert [
        path for path in kept.rglob("*.parquet") if data["months"][0].replace("-", "") in path.name.replace("-", "")
    ]


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [("2025-02-01", "2025-01-01", "not before --to"), ("2031-01-01", "2031-02-01", "no month")],
)
def test_empty_range_of_backfill_is_bad_usage(installed: Installation, start: str, end: str, said: str) -> None:
    done = installed.mm("backfill", "--from", start, "--to", end)
    assert done.returncode == 2
    assert said in done.stderr


def test_empty_grid_folder_is_told_with_its_mend(tmp_path: Path) -> None:
    (tmp_path / "grids").mkdir()
    settings = tmp_path / "settings.yaml"
    settings.write_text("exchange: paper\n")
    done = Installation(tmp_path / "home", settings).mm("evaluate")
    assert done.returncode == 1
    assert "holds no *.yaml file" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_moment_before_the_first_month_is_refused(installed: Installation) -> None:
    refused = installed.mm("evaluate", "--at", "2015-01-01")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "before 2022-01, the first month" in refused.stderr
