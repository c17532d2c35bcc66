"""Study grids end to end: the states of ``mm replay``, months in any order, and nothing outside their own folder."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from click.testing import CliRunner, Result

from mm_pipeline.adapters.config.study_files import read_study
from mm_pipeline.adapters.writing import turns_of
from mm_pipeline.application.study_grids.run import Partition, StudyRun, run_study
from mm_pipeline.application.study_grids.study import DATASETS, GRID_STATES, GRIDS, OUTCOMES, Study
from mm_pipeline.bootstrap import Overrides, installation
from mm_pipeline.cli import main
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.market import Market
from mm_pipeline.domain.study import OUTCOME_COLUMNS
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.exchange import PaperExchange
from mm_pipeline.paper.markets.markets import PaperMarket, SimulatedMarket
from mm_pipeline.settings import load_deployment, policy_names
from mm_pipeline_tests.markets import simulated_candles
from mm_pipeline_tests.study_samples import write_study

ETH, BTC = "binance_ETH-USDT_15m.parquet", "binance_BTC-USDT_15m.parquet"
MARKETS = ["binance:ETH/USDT", "binance:BTC/USDT"]
MARCH, APRIL = datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def candles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with files of two simulated markets: January to April."""
    folder = tmp_path_factory.mktemp("candles")
    simulated_candles(seed=7, days=121).write_parquet(folder / ETH)
    simulated_candles(seed=8, days=121).write_parquet(folder / BTC)
    return folder


@pytest.fixture
def home(tmp_path: Path, candles: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of real markets, with a study ``wide`` of both files under both policies."""
    monkeypatch.setenv("MM_HOME", str(tmp_path))
    monkeypatch.delenv("MM_SETTINGS", raising=False)
    (tmp_path / "settings.yaml").write_text("exchange: kucoin\n")
    write_study(
        tmp_path / "studies",
        markets=MARKETS,
        candles=[str(candles / ETH), str(candles / BTC)],
        template={"half_width": {"pct": 3.0}, "stop_distance": {"pct": 2.0}},
    )
    return tmp_path


def study_in(home: Path, **options: Any) -> Study:
    file = read_study(home / "studies" / "wide.yaml", policy_names())
    return Study(file, installation(Overrides(home=home, **options)))


def stored(study: Study, dataset: str) -> Mapping[tuple[str, datetime], Mapping[str, pl.DataFrame]]:
    return {
        (policy, month): study.frames.read(dataset, policy, month) for policy, month in study.frames.partitions(dataset)
    }


def mm(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["study", *arguments], terminal_width=80)


def test_states_and_pages_are_those_of_mm_replay(home: Path, candles: Path, tmp_path: Path) -> None:
    study = study_in(home)
    assert run_study(study, [MARCH], lambda _: None).problems == {}
    for policy in ("seed", "calibrated"):
        (row,) = study.frames.read(GRIDS, policy, MARCH)["binance_ETH-USDT"].rows(named=True)
        grid = tmp_path / "grid.yaml"
        declared = {
            **{"id": row["grid"], "exchange": "binance", "symbol": "ETH/USDT", "enabled": True},
            **{"lower": row["lower_quote"], "upper": row["upper_quote"], "levels": row["levels"]},
            **{"spacing": row["spacing"], "stop_loss": row["stop_loss_quote"], "capital": row["capital_quote"]},
            **{"fee": row["fee"], "started_at": row["started_at"]},
        }
        grid.write_text(yaml.safe_dump(declared, sort_keys=False))
        out = tmp_path / policy
        asked = ["replay", "--candles", str(candles / ETH), "--grid", str(grid), "--policy", policy]
        result = CliRunner().invoke(main, [*asked, "--to", row["ends_at"].isoformat(), "--out", str(out), "--json"])
        assert result.exit_code == 0, result.output

        replayed = pl.read_parquet(out / "exit_states.parquet")
        found = study.frames.read(GRID_STATES, policy, MARCH)["binance_ETH-USDT"]
        assert found.height > 500
        assert found.equals(replayed)
        told = pl.read_parquet(out / "notifications.parquet").filter(pl.col("held_back").is_null())
        outcomes = study.frames.read(OUTCOMES, policy, MARCH)["binance_ETH-USDT"]
        assert outcomes["pages"].sum() == told.height > 0
        firsts = outcomes.filter(pl.col("pages") > 0).select(evaluated_at="first_page_at", notice="first_page_notice")
        assert firsts.join(told, on=["evaluated_at", "notice"], how="semi").equals(firsts)


def test_months_are_the_same_in_any_order_and_alone(home: Path, tmp_path: Path) -> None:
    together = study_in(home)
    run_study(together, [MARCH, APRIL], lambda _: None)
    whole = {dataset: stored(together, dataset) for dataset in DATASETS}

    apart = Study(together.file, installation(Overrides(home=tmp_path / "other")))
    for month in (APRIL, MARCH):
        run = StudyRun(apart, [month])
        for policy in ("calibrated", "seed"):
            partition = Partition(month, policy)
            grids = run.grids(month)
            states = run.states(partition, grids.frames)
            outcomes = run.outcomes(partition, grids.frames, states.frames)
            for dataset, made in zip(DATASETS, (grids, states, outcomes), strict=True):
                assert made.problems == {}
                for market, frame in made.frames.items():
                    assert frame.equals(whole[dataset][policy, month][market]), (dataset, policy, market)


def test_nothing_is_written_outside_the_studies_folder(home: Path) -> None:
    before = set(home.rglob("*"))
    result = mm("grids", "--as", "wide", "--from", "2024-03-01", "--to", "2024-04-01", "--json")
    assert result.exit_code == 0, result.output
    assert mm("outcomes", "wide").exit_code == 0
    made = {path.relative_to(home) for path in set(home.rglob("*")) - before}
    assert len(made) > 12
    assert {path.parts[0] for path in made} == {"studies"}
    for command in (["status", "--json"], ["journal", "--json"], ["frames", "status", "--json"], ["grids", "check"]):
        assert "eth-2024" not in CliRunner().invoke(main, command).output


def test_command_tells_what_it_made_and_exports_it(home: Path, tmp_path: Path) -> None:
    result = mm("grids", "--as", "wide", "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert (summary["from"], summary["to"]) == ("2024-01", "2024-04")
    assert {row["market"] for row in summary["grids"]} == set(MARKETS)
    assert sum(row["grids"] for row in summary["grids"]) == 4  # March and April: the warm-up takes two months
    assert summary["notes"][0].startswith("eth-2024-01: fewer candles than the warm-up")
    assert {row["policy"] for row in summary["scorecard"]} == {"calibrated", "seed"}

    csv, parquet = tmp_path / "o.csv", tmp_path / "o.parquet"
    assert mm("outcomes", "wide", "--out", str(csv)).exit_code == 0
    told = json.loads(mm("outcomes", "wide", "--out", str(parquet), "--json").stdout)
    exported = pl.read_parquet(parquet)
    assert told["rows"] == exported.height == pl.read_csv(csv).height > 20
    assert exported.columns == pl.read_csv(csv).columns == ["study", *OUTCOME_COLUMNS]
    assert exported["study"].unique().to_list() == ["wide"]
    assert pl.read_parquet_metadata(parquet)["leave_pnl_quote"].endswith("[quote]")


@pytest.mark.parametrize("command", [["grids", "--as", "wide", "--from", "2024-03-01"], ["outcomes", "wide"]])
def test_answers_fit_eighty_columns(home: Path, command: list[str]) -> None:
    run_study(study_in(home), [MARCH], lambda _: None)
    result = mm(*command)
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stdout.splitlines() if str(home) not in line]
    assert max(len(line.rstrip()) for line in lines) <= 80


def test_other_template_and_candles_are_kept_under_their_own_name(home: Path, candles: Path, tmp_path: Path) -> None:
    template = write_study(tmp_path / "elsewhere", "any", placed="weekly", policies=["seed"])
    options = ["--template", str(template), "--candles", str(candles / ETH), "--from", "2024-03-01", "--json"]
    result = mm("grids", "--as", "weeks", *options)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert {row["market"] for row in summary["grids"]} == {"binance:ETH/USDT"}
    assert sum(row["grids"] for row in summary["grids"]) == 9
    assert json.loads(mm("outcomes", "weeks", "--json").stdout)["policies"] == ["seed"]


def test_weeks_that_reach_into_the_next_month_are_whole(home: Path) -> None:
    write_study(home / "studies", markets=MARKETS[:1], candles=study_in(home).declaration.candles[:1], placed="weekly")
    study = study_in(home)
    run_study(study, [MARCH], lambda _: None)
    grids = study.frames.read(GRIDS, "seed", MARCH)["binance_ETH-USDT"]
    states = study.frames.read(GRID_STATES, "seed", MARCH)["binance_ETH-USDT"]
    last = grids.row(-1, named=True)
    assert last["grid"] == "eth-2024-w13"
    assert last["started_at"] == datetime(2024, 3, 25, tzinfo=UTC)
    assert states["evaluated_at"].max() == last["ends_at"]


def test_market_that_fails_stops_no_other_and_keeps_what_was_there(home: Path, candles: Path) -> None:
    study = study_in(home)
    run_study(study, [MARCH], lambda _: None)
    before = study.frames.read(OUTCOMES, "seed", MARCH)
    broken = home / ETH
    broken.write_bytes(b"no parquet")
    write_study(home / "studies", markets=MARKETS, candles=[str(broken), str(candles / BTC)], template={"levels": 9})
    result = run_study(study_in(home), [MARCH], lambda _: None)
    assert set(result.problems) == {f"2024-03 {policy} binance_ETH-USDT" for policy in ("seed", "calibrated")}
    after = study.frames.read(OUTCOMES, "seed", MARCH)
    assert after["binance_ETH-USDT"].equals(before["binance_ETH-USDT"])
    assert not after["binance_BTC-USDT"].equals(before["binance_BTC-USDT"])


def test_market_that_is_declared_no_more_is_taken_out(home: Path, candles: Path) -> None:
    run_study(study_in(home), [MARCH], lambda _: None)
    write_study(home / "studies", markets=MARKETS[:1], candles=[str(candles / ETH)])
    study = study_in(home)
    run_study(study, [MARCH], lambda _: None)
    assert set(study.frames.read(OUTCOMES, "seed", MARCH)) == {"binance_ETH-USDT"}


def test_months_of_two_declarations_are_not_exported_together(home: Path, candles: Path) -> None:
    run_study(study_in(home), [MARCH], lambda _: None)
    write_study(home / "studies", markets=MARKETS[:1], candles=[str(candles / ETH)], template={"levels": 7})
    run_study(study_in(home), [APRIL], lambda _: None)
    result = mm("outcomes", "wide")
    assert result.exit_code == 1
    assert "made by several declarations" in result.stderr
    assert "mm study grids --as wide" in result.stderr


def test_study_waits_for_writers_of_its_own_alone(home: Path) -> None:
    (home / "settings.yaml").write_text("exchange: kucoin\nwriting: {give_up_after: 1s}\n")
    study = study_in(home)
    watch = turns_of(str(home / "frames"), "", study.installation.settings.writing)
    with watch.urgent("a tick"):
        assert run_study(study, [MARCH], lambda _: None).problems == {}
    with study.turns().ordinary("another run of it"), pytest.raises(StorageError, match="another run of it"):
        run_study(study, [MARCH], lambda _: None)


def test_months_of_other_settings_are_exported_with_a_note(home: Path) -> None:
    run_study(study_in(home), [MARCH], lambda _: None)
    assert mm("outcomes", "wide").stderr == ""
    (home / "settings.yaml").write_text("exchange: kucoin\ndata: {max_age: 40min}\n")
    run_study(study_in(home), [APRIL], lambda _: None)
    result = mm("outcomes", "wide", "--json")
    assert json.loads(result.stdout)["mixed"] == ["settings_hash"]
    assert "note: months differ in settings_hash" in result.stderr


def test_policy_of_a_file_judges_under_its_own_name(home: Path, candles: Path) -> None:
    policies = Path(__file__).parents[2] / "mm_pipeline" / "settings" / "policies"
    patient = (policies / "seed.yaml").read_text().replace("closes_outside: {count: 2", "closes_outside: {count: 96")
    (home / "patient.yaml").write_text(patient)
    options: dict[str, Any] = {"markets": MARKETS[:1], "candles": [str(candles / ETH)]}
    write_study(home / "studies", policies=["seed", "../patient.yaml"], **options)
    study = study_in(home)
    run_study(study, [MARCH], lambda _: None)
    fired = {}
    for policy in ("seed", "patient"):
        states = study.frames.read(GRID_STATES, policy, MARCH)["binance_ETH-USDT"]
        assert states["policy"].unique().to_list() == [policy]
        fired[policy] = states["closes_outside"].struct.field("fired").sum()
    assert fired["patient"] < fired["seed"]


@pytest.mark.parametrize("placed", ["monthly", "weekly"])
def test_grids_that_are_placed_anew_follow_each_other(home: Path, candles: Path, placed: str) -> None:
    narrow = {"half_width": {"atr_4h": 1.0}, "stop_distance": {"atr_4h": 0.5}, "levels": 4, "fee": 0.0}
    options: dict[str, Any] = {"markets": MARKETS[:1], "candles": [str(candles / ETH)], "policies": ["seed"]}
    write_study(home / "studies", placed=placed, when_over="place_anew", template=narrow, **options)
    study = study_in(home)
    assert run_study(study, [MARCH], lambda _: None).problems == {}
    grids = study.frames.read(GRIDS, "seed", MARCH)["binance_ETH-USDT"]
    states = study.frames.read(GRID_STATES, "seed", MARCH)["binance_ETH-USDT"]
    assert grids.height > 5
    assert {"stop", "sold_out"} <= set(grids["ending"])
    assert (grids["started_at"].slice(1) >= grids["ends_at"].slice(0, grids.height - 1)).all()
    last = states.group_by("grid").agg(pl.col("evaluated_at").max())
    assert grids.join(last, on="grid").filter(pl.col("evaluated_at") != pl.col("ends_at")).is_empty()


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        (["outcomes", "none"], 1, "the study none has no outcomes. Make them first: mm study grids --as none."),
        (["outcomes", "../wide"], 2, "is no name of a study"),
        (["outcomes", "wide", "--out", "o.xlsx"], 2, "ends with neither .csv nor .parquet"),
        (["outcomes"], 2, "write the name of a study, or --columns."),
        (["grids", "--as", "none"], 2, "cannot be read"),
        (["grids", "--as", "my-study", "--template", "TEMPLATE"], 2, "cannot be the name of a study"),
        (
            ["grids", "--as", "wide", "--to", "2023-12-01"],
            2,
            "no month of the study lies between 2024-01 and 2023-12-01",
        ),
    ],
)
def test_refusal_says_what_to_write(home: Path, command: list[str], code: int, told: str) -> None:
    template = str(home / "studies" / "wide.yaml")
    result = mm(*(template if word == "TEMPLATE" else word for word in command))
    assert result.exit_code == code
    assert told in " ".join(result.stderr.split())


def test_columns_are_told_with_their_units(home: Path) -> None:
    shown = mm("outcomes", "--columns").stdout
    assert "leave_pnl_quote [quote]\n    PnL of leaving when it began" in shown
    assert [row["name"] for row in json.loads(mm("outcomes", "--columns", "--json").stdout)] == [
        "study",
        *OUTCOME_COLUMNS,
    ]


@pytest.fixture(scope="module")
def paper() -> Iterator[PaperExchange]:
    """A paper exchange with half a year of one market, on the 20th of the last month."""
    source = SimulatedMarket(seed=3, start=datetime(2024, 12, 1, tzinfo=UTC), bars=96 * 150, start_price=3000.0)
    market = PaperMarket(market=Market("kucoin", "ETH/USDT"), source=source)
    clock = PaperClock.standing(datetime(2025, 3, 20, 12, 0, 40, tzinfo=UTC))
    with PaperExchange(markets=[market], clock=clock) as exchange:
        yield exchange


def test_exchange_is_asked_once_for_what_is_studied(paper: PaperExchange, tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(yaml.safe_dump({"exchange": "paper", "paper_url": paper.url, "data": {"warm_up_days": 51}}))
    write_study(tmp_path / "studies", markets=["kucoin:ETH/USDT"], policies=["seed"], first_month="2025-02")
    file = read_study(tmp_path / "studies" / "wide.yaml", policy_names())
    at = datetime(2025, 3, 20, 12, 0, 40, tzinfo=UTC)
    opened = installation(Overrides(deployment=load_deployment(settings), home=tmp_path, clock_at=at.isoformat()))
    study = Study(file, opened)
    march = datetime(2025, 3, 1, tzinfo=UTC)
    assert run_study(study, study.months(at), lambda _: None).problems == {}
    (grid,) = study.frames.read(GRIDS, "seed", march)["kucoin_ETH-USDT"].rows(named=True)
    assert grid["ending"] in {"candles", "stop"}
    states = study.frames.read(GRID_STATES, "seed", march)["kucoin_ETH-USDT"]
    assert states["evaluated_at"].max() == grid["ends_at"] <= at
    assert states["evaluated_at"].max() > at - timedelta(minutes=16) or grid["ending"] == "stop"

    asked = paper.calls.count("candles")
    assert asked > 1
    assert run_study(study, study.months(at), lambda _: None).problems == {}
    assert paper.calls.count("candles") < 2 * asked  # what is stored is asked for once more where bars are missing
    assert not (tmp_path / "journal.db").exists()
    assert not (tmp_path / "frames").exists()
