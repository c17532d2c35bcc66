"""``mm replay`` end to end: files in, frames and summary out, and every refusal with its hint."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from mm_pipeline.adapters.config.calibration_files import load_calibration, shipped_calibration
from mm_pipeline.adapters.config.grid_files import check_grid_file
from mm_pipeline.cli import main
from mm_pipeline.domain.candles import epoch_ms, fill_gaps
from mm_pipeline.domain.exit_state import STATES, TRIGGERS
from mm_pipeline.domain.grid import GridVersion
from mm_pipeline.domain.metrics import LOOKBACK_BARS
from mm_pipeline.domain.pipeline import MarketPolicy, evaluate, market_view
from mm_pipeline.settings import load_settings
from mm_pipeline_tests.markets import ETH_2022_2025, NOTHING_QUARANTINED, simulated_candles

DAYS = 90
START = datetime(2024, 1, 1, tzinfo=UTC)
STARTED = "2024-02-25T00:00:00Z"
NAME = "kucoin_ETH-USDT_15m.parquet"
METRIC_COLUMNS = ["market", "open_time", "close_time", "known_at"]
VERDICT_COLUMNS = [
    "range_score",
    "p_range_ok",
    "p_range_weak",
    "p_transition",
    "p_trend",
    "verdict_raw",
    "verdict",
    "confidence",
    "primary_regime",
    "secondary_signal",
]


@pytest.fixture(scope="module")
def candles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of simulated candles with gaps."""
    path = tmp_path_factory.mktemp("candles") / NAME
    simulated_candles(days=DAYS).write_parquet(path)
    return path


def write_grid(folder: Path, *, enabled: bool = True, started_at: str = STARTED) -> Path:
    """A grid about the price at its start, declared for another exchange than the candles'."""
    price = float(simulated_candles(days=DAYS).filter(pl.col("open_time") <= START + timedelta(days=55))["close"][-1])
    path = folder / "grid.yaml"
    path.write_text(f"""
id: eth
exchange: binance
symbol: BTC/USDT
enabled: {str(enabled).lower()}
lower: {price * 0.97:.2f}
upper: {price * 1.03:.2f}
levels: 6
spacing: arithmetic
stop_loss: {price * 0.94:.2f}
capital: 1000
fee: 0.001
started_at: {started_at}
""")
    return path


def replay(out: Path, candles: Path, grid: Path, *more: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(
        main, ["replay", "--candles", str(candles), "--grid", str(grid), "--out", str(out), *more], terminal_width=200
    )


def replayed(out: Path, candles: Path, grid: Path, *more: str) -> dict[str, Any]:
    """Summary of a replay that succeeds."""
    result = replay(out, candles, grid, "--json", *more)
    assert result.exit_code == 0, result.stderr
    summary: dict[str, Any] = json.loads(result.stdout)
    assert summary == json.loads((out / "summary.json").read_text())
    return summary


def test_replay_writes_what_the_pipeline_says(tmp_path: Path, candles: Path) -> None:
    grid_file = write_grid(tmp_path)
    summary = replayed(tmp_path / "out", candles, grid_file, "--policy", "seed")

    settings = load_settings(policy="seed")
    bars = fill_gaps(simulated_candles(days=DAYS), quarantined_ms=NOTHING_QUARANTINED)
    tables = load_calibration(shipped_calibration())
    view = market_view(
        bars, NOTHING_QUARANTINED, MarketPolicy(settings.metrics, settings.regime, tables, settings.risk)
    )
    grid = check_grid_file(grid_file).model_copy(update={"exchange": "kucoin", "symbol": "ETH/USDT"})
    end_ms = int(epoch_ms(bars["close_time"])[-1])
    whole = evaluate(
        [GridVersion(grid, grid.started_at)], view, settings.advice, first_ms=grid.started_at_ms, last_ms=end_ms
    ).exit_states
    states = pl.read_parquet(tmp_path / "out" / "exit_states.parquet")
    expected = whole.filter(pl.col("evaluated_at") <= datetime.fromisoformat(summary["stopped_out_at"]))
    assert states.equals(expected)
    assert summary["rows"] == {
        "metrics_1h": DAYS * 24,
        "metrics_4h": DAYS * 6,
        "exit_states": len(expected),
        "notifications": len(pl.read_parquet(tmp_path / "out" / "notifications.parquet")),
        "fills": len(pl.read_parquet(tmp_path / "out" / "fills.parquet")),
        "equity": len(whole) - 1,  # none for the evaluation at the start, before the first bar closes
    }
    assert summary["bars_per_state"] == {state: expected.filter(pl.col("state") == state).height for state in STATES}
    assert sum(summary["bars_per_state"].values()) == len(expected)
    assert summary["fired_per_trigger"] == {
        name: expected.filter(pl.col(name).struct.field("fired")).height for name in TRIGGERS
    }
    assert (summary["market"], summary["grid"], summary["policy"]) == ("kucoin:ETH/USDT", "eth", "seed")
    assert (summary["from"], summary["to"]) == ("2024-01-01T00:00:00Z", "2024-03-31T00:00:00Z")


def test_grid_that_its_stop_sold_out_is_not_judged_or_paged_any_further(tmp_path: Path, candles: Path) -> None:
    grid_file = write_grid(tmp_path)
    declared = check_grid_file(grid_file)
    text = grid_file.read_text().replace(
        f"stop_loss: {declared.stop_loss:.2f}", f"stop_loss: {declared.lower - 0.01:.2f}"
    )
    grid_file.write_text(text)
    summary = replayed(tmp_path / "out", candles, grid_file)

    states = pl.read_parquet(tmp_path / "out" / "exit_states.parquet")
    fills = pl.read_parquet(tmp_path / "out" / "fills.parquet")
    equity = pl.read_parquet(tmp_path / "out" / "equity.parquet")
    notifications = pl.read_parquet(tmp_path / "out" / "notifications.parquet")
    at = datetime.fromisoformat(summary["stopped_out_at"])
    assert states["evaluated_at"][-1] == at == fills["time"][-1] + timedelta(minutes=15)
    assert states["stop_loss_breached"].struct.field("fired").to_list()[-2:] == [False, True]
    assert notifications["evaluated_at"].max() == at
    assert notifications["notice"][-1] == "MANDATORY_EXIT"
    assert equity["close_time"][-1] > at  # the cash that is left is shown to the end
    assert sum(summary["bars_per_state"].values()) == len(states)


def test_metrics_have_the_columns_of_the_contract(tmp_path: Path, candles: Path) -> None:
    replayed(tmp_path / "out", candles, write_grid(tmp_path))
    for timeframe, hours in (("1h", 1), ("4h", 4)):
        frame = pl.read_parquet(tmp_path / "out" / f"metrics_{timeframe}.parquet")
        assert frame.columns[:4] == METRIC_COLUMNS
        first_verdict = frame.columns.index("range_score")
        assert frame.columns[first_verdict : first_verdict + len(VERDICT_COLUMNS)] == VERDICT_COLUMNS
        assert set(LOOKBACK_BARS) | {"bandwidth_rank"} <= set(frame.columns[4:first_verdict])
        assert frame["market"].unique().to_list() == ["kucoin:ETH/USDT"]
        assert (frame["close_time"] - frame["open_time"]).unique().to_list() == [timedelta(hours=hours)]


def test_disabled_grid_gets_entry_advice_alone(tmp_path: Path, candles: Path) -> None:
    out = tmp_path / "out"
    replayed(out, candles, write_grid(tmp_path))
    assert (out / "exit_states.parquet").exists()
    summary = replayed(out, candles, write_grid(tmp_path, enabled=False))
    assert not (out / "exit_states.parquet").exists(), "an earlier replay's advice must not stay beside this one's"
    states = pl.read_parquet(out / "entry_states.parquet")
    assert set(states["state"]) <= {"ENTER", "WAIT", "AVOID", "UNKNOWN"}
    assert summary["fired_per_trigger"] == {}
    assert set(summary["bars_per_state"]) == {"ENTER", "WAIT", "AVOID", "UNKNOWN"}


def test_parts_of_the_span_join_to_the_whole(tmp_path: Path, candles: Path) -> None:
    grid = write_grid(tmp_path)
    replayed(tmp_path / "whole", candles, grid)
    replayed(tmp_path / "first", candles, grid, "--to", "2024-03-08")
    replayed(tmp_path / "second", candles, grid, "--from", "2024-03-08")
    for name in ("metrics_1h", "metrics_4h", "exit_states", "fills", "equity"):
        whole, first, second = (
            pl.read_parquet(tmp_path / part / f"{name}.parquet") for part in ("whole", "first", "second")
        )
        assert pl.concat([first, second]).equals(whole)


def test_files_of_one_market_are_joined(tmp_path: Path, candles: Path) -> None:
    frame, grid = pl.read_parquet(candles), write_grid(tmp_path)
    cut = START + timedelta(days=40)
    early, late = tmp_path / "kucoin_ETH-USDT_15m_a.parquet", tmp_path / "kucoin_ETH-USDT_15m_b.parquet"
    frame.filter(pl.col("open_time") < cut + timedelta(days=1)).write_parquet(early)
    frame.filter(pl.col("open_time") >= cut).write_parquet(late)
    replayed(tmp_path / "whole", candles, grid)
    summary = replayed(tmp_path / "joined", early, grid, str(late))
    assert summary["duplicates_dropped"] > 0
    assert list(summary["hashes"]["candles"]) == [early.name, late.name]
    for name in ("metrics_1h", "metrics_4h", "exit_states"):
        whole, joined = (pl.read_parquet(tmp_path / part / f"{name}.parquet") for part in ("whole", "joined"))
        assert joined.equals(whole)


def test_files_that_disagree_quarantine_the_bar_and_name_it(tmp_path: Path, candles: Path) -> None:
    row = pl.read_parquet(candles)[3000]
    other = tmp_path / "kucoin_ETH-USDT_15m_other.parquet"
    row.with_columns(volume=pl.col("volume") + 1).write_parquet(other)
    result = replay(tmp_path / "out", candles, write_grid(tmp_path), "--json", str(other))
    told = row["open_time"][0].strftime("%Y-%m-%dT%H:%M:%SZ")
    assert told in result.stderr
    summary = json.loads(result.stdout)
    assert summary["quarantined"] == {"rows": 2, "by_reason": {"conflict": 2}, "open_times": [told]}
    assert len(pl.read_parquet(tmp_path / "out" / "quarantine.parquet")) == 2


def test_broken_row_is_quarantined_with_its_reason(tmp_path: Path, candles: Path) -> None:
    broken = tmp_path / NAME
    at = pl.col("open_time") == pl.col("open_time").get(7000)
    pl.read_parquet(candles).with_columns(high=pl.when(at).then(1.0).otherwise("high")).write_parquet(broken)
    summary = replayed(tmp_path / "out", broken, write_grid(tmp_path, enabled=False))
    assert summary["quarantined"]["by_reason"] == {"high_below_body": 1}
    assert summary["bars_per_state"]["UNKNOWN"] == 96, "a refused candle makes the market UNKNOWN for 24 h"


def test_hashes_change_with_policy_and_grid_alone(tmp_path: Path, candles: Path) -> None:
    first = replayed(tmp_path / "a", candles, write_grid(tmp_path), "--policy", "seed")["hashes"]
    again = replayed(tmp_path / "b", candles, write_grid(tmp_path), "--policy", "seed")["hashes"]
    other = replayed(tmp_path / "c", candles, write_grid(tmp_path), "--policy", "calibrated")["hashes"]
    later = replayed(tmp_path / "d", candles, write_grid(tmp_path, started_at="2024-02-26T00:00:00Z"))["hashes"]
    assert first == again
    assert {name for name in first if first[name] != other[name]} == {"settings"}
    assert {name for name in other if later[name] != other[name]} == {"grid"}


def test_tables_are_readable_and_say_where_the_files_are(tmp_path: Path, candles: Path) -> None:
    result = replay(tmp_path / "out", candles, write_grid(tmp_path))
    assert result.exit_code == 0
    for word in ("MANDATORY_EXIT", "closes_outside", "evaluations", "2024-03-31T00:00:00Z"):
        assert word in result.stdout
    assert result.stderr == "", "progress is for terminals"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--policy", "bold"], "calibrated, seed"),
        (["--from", "2024-03-01", "--to", "2024-02-01"], "not before --to"),
        (["--from", "2025-03-01"], "no candle lies between"),
        (["--to", "2024-02-01"], "starts after it"),
        (["--market", "ETH"], "names no exchange"),
        (["--candles", "/nowhere/kucoin_ETH-USDT_15m.parquet"], "does not exist"),
    ],
)
def test_wrong_argument_is_told_and_writes_nothing(tmp_path: Path, candles: Path, more: list[str], said: str) -> None:
    result = replay(tmp_path / "out", candles, write_grid(tmp_path), *more)
    assert result.exit_code == 2
    assert said in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("started_at", "said"), [("2023-12-01T00:00:00Z", "before"), ("2024-06-01T00:00:00Z", "after")]
)
def test_grid_that_starts_outside_the_candles_names_their_span(
    tmp_path: Path, candles: Path, started_at: str, said: str
) -> None:
    result = replay(tmp_path / "out", candles, write_grid(tmp_path, started_at=started_at))
    assert result.exit_code == 2
    assert f"is {said} the candles (2024-01-01T00:00Z to 2024-03-31T00:00Z)" in result.stderr
    assert "started_at" in result.stderr
    assert "Set it inside them" in result.stderr


def test_disabled_grid_may_start_before_the_candles(tmp_path: Path, candles: Path) -> None:
    grid = write_grid(tmp_path, enabled=False, started_at="2023-12-01T00:00:00Z")
    summary = replayed(tmp_path / "out", candles, grid)
    assert summary["rows"]["entry_states"] == DAYS * 96


def test_files_of_two_markets_are_refused(tmp_path: Path, candles: Path) -> None:
    other = tmp_path / "kucoin_BTC-USDT_15m.parquet"
    other.write_bytes(candles.read_bytes())
    result = replay(tmp_path / "out", candles, write_grid(tmp_path), str(other))
    assert result.exit_code == 2
    assert "kucoin:BTC/USDT, kucoin:ETH/USDT" in result.stderr


def test_market_is_told_by_a_flag_where_the_name_does_not(tmp_path: Path, candles: Path) -> None:
    plain = tmp_path / "mine.parquet"
    plain.write_bytes(candles.read_bytes())
    refused = replay(tmp_path / "out", plain, write_grid(tmp_path))
    assert (refused.exit_code, "says no market" in refused.stderr) == (2, True)
    summary = replayed(tmp_path / "out", plain, write_grid(tmp_path), "--market", "kucoin:SOL/USDT")
    assert summary["market"] == "kucoin:SOL/USDT"


def test_candles_of_another_timeframe_are_refused(tmp_path: Path) -> None:
    times = pl.datetime_range(START, START + timedelta(days=3), "5m", time_unit="ms", time_zone="UTC", eager=True)
    price = {name: pl.Series([100.0] * len(times)) for name in ("open", "high", "low", "close", "volume")}
    path = tmp_path / "mine.parquet"
    pl.DataFrame({"open_time": times} | price).write_parquet(path)
    result = replay(tmp_path / "out", path, write_grid(tmp_path), "--market", "kucoin:ETH/USDT")
    assert result.exit_code == 2
    assert "not 15m candles" in result.stderr


def test_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_text("<html>")
    result = replay(tmp_path / "out", path, write_grid(tmp_path))
    assert result.exit_code == 2
    assert "cannot be read as Parquet" in result.stderr


def test_bad_grid_file_is_refused_with_key_and_mend(tmp_path: Path, candles: Path) -> None:
    grid = write_grid(tmp_path)
    grid.write_text(grid.read_text().replace("levels: 6", "levels: 1"))
    result = replay(tmp_path / "out", candles, grid)
    assert result.exit_code == 2
    assert "grid.yaml: levels" in result.stderr
    assert "Write 2 or more." in result.stderr


def test_folder_that_cannot_be_written_is_told(tmp_path: Path, candles: Path) -> None:
    taken = tmp_path / "out"
    taken.mkdir()
    (taken / "metrics_1h.parquet").mkdir()
    result = replay(taken, candles, write_grid(tmp_path))
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
    assert not (taken / "summary.json").exists()


def test_scripted_acknowledgement_ends_repetitions(tmp_path: Path, candles: Path) -> None:
    grid = write_grid(tmp_path)
    never = replayed(tmp_path / "never", candles, grid, "--policy", "seed")["pages_per_notice"]
    script = tmp_path / "responses.yaml"
    hours = "".join(
        f"  - {{at: 2024-0{3 - (n < 5)}-{25 + n if n < 5 else n - 4:02d}T{hour:02d}:05:00Z, kind: acknowledged}}\n"
        for n in range(30)
        for hour in range(24)
    )
    script.write_text(f"responses:\n{hours}")
    answered = replayed(tmp_path / "out", candles, grid, "--policy", "seed", "--responses", str(script))
    repeated = ("LATEST_ACCEPTABLE_EXIT", "MANDATORY_EXIT")
    assert sum(answered["pages_per_notice"][name] for name in repeated) < sum(never[name] for name in repeated)
    told = pl.read_parquet(tmp_path / "out" / "notifications.parquet")
    assert not told["is_live"].any()


def test_unusable_script_of_responses_is_refused_with_file_and_key(tmp_path: Path, candles: Path) -> None:
    script = tmp_path / "responses.yaml"
    script.write_text("responses:\n  - {at: 2024-03-01T00:00:00Z, kind: shrugged}\n")
    result = replay(tmp_path / "out", candles, write_grid(tmp_path), "--responses", str(script))
    assert result.exit_code == 2
    assert "responses.yaml" in result.stderr
    assert "kind" in result.stderr


def test_cost_of_waiting_is_written_on_request(tmp_path: Path, candles: Path) -> None:
    summary = replayed(tmp_path / "out", candles, write_grid(tmp_path), "--risk")
    states, risk = (pl.read_parquet(tmp_path / "out" / f"{name}.parquet") for name in ("exit_states", "risk"))
    assert summary["rows"]["risk"] == states.height == risk.height
    assert states["risk"].struct.field("capital_at_risk_1h_quote").equals(risk["capital_at_risk_1h_quote"])
    assert risk["capital_at_risk_4h_quote"].max() > 0


def test_study_of_pages_without_a_whole_month_is_refused(candles: Path) -> None:
    result = CliRunner().invoke(main, ["study", "pages", "--candles", str(candles)])
    assert (result.exit_code, "no whole month" in result.stderr) == (2, True)


def test_pages_are_counted_by_policy_and_answer(tmp_path: Path) -> None:
    candles = tmp_path / NAME
    simulated_candles(days=92).write_parquet(candles)
    result = CliRunner().invoke(main, ["study", "pages", "--candles", str(candles), "--json"])
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)["rows"]
    assert {(row["policy"], row["answers"]) for row in rows} == {
        (policy, answer) for policy in ("calibrated", "seed") for answer in ("never", "acknowledged", "flat")
    }
    for policy in ("calibrated", "seed"):
        never, acknowledged, flat = (
            next(row["pages"] for row in rows if (row["policy"], row["answers"]) == (policy, answer))
            for answer in ("never", "acknowledged", "flat")
        )
        assert never >= acknowledged >= flat > 0


@pytest.mark.slow
def test_recorded_years_are_replayed_whole(tmp_path: Path, recorded_data: Path) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text(write_grid(tmp_path).read_text().replace(STARTED, "2022-03-01T00:00:00Z"))
    summary = replayed(tmp_path / "out", recorded_data / ETH_2022_2025, grid, "--policy", "seed")
    assert summary["market"] == "binance:ETH/USDT"
    assert (summary["from"], summary["to"]) == ("2022-01-01T00:00:00Z", "2025-10-01T00:00:00Z")
    assert summary["rows"]["metrics_1h"] == 32_856
    assert summary["quarantined"]["rows"] == 0
    assert set(summary["seconds"]) == {"read", "metrics", "regime", "evaluate", "notify", "write", "total"}
