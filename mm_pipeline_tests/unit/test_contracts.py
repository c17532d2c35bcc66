"""Contracts refuse what must never be stored, name all that is wrong at once, and accept what the domain makes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from mm_pipeline.application.input_hash import input_hashes, text_hash
from mm_pipeline.contracts import operator as operator_contracts
from mm_pipeline.contracts import states as contracts
from mm_pipeline.contracts.contract import Contract
from mm_pipeline.domain.candles import RAW_SCHEMA, epoch_ms, fill_gaps
from mm_pipeline.domain.errors import ContractError
from mm_pipeline.domain.grid import Grid, GridVersion
from mm_pipeline.domain.grid_analysis import grid_analysis
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.notifications import Cause, Decision, Notice
from mm_pipeline.domain.pipeline import COARSE, evaluate, evaluations, metrics_of, regime_of, view_of
from mm_pipeline.domain.risk import RiskHistory, risk_rows
from mm_pipeline.domain.risk.columns import figures_of, positions_of, with_risk
from mm_pipeline.paper.markets.simulation import simulate_market
from mm_pipeline.reporting.notification_frame import notification_frame
from mm_pipeline.reporting.pages.text import PageText
from mm_pipeline.settings import load_settings

START = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = 64
NOBODY = np.empty(0, dtype=np.int64)


def grid(*, enabled: bool) -> GridVersion:
    started = START + timedelta(days=52)
    values = {
        "id": "eth",
        "exchange": "kucoin",
        "symbol": "ETH/USDT",
        "enabled": enabled,
        "lower": 2900.0,
        "upper": 3100.0,
        "levels": 6,
        "spacing": "arithmetic",
        "stop_loss": 2800.0,
        "capital": 1000.0,
        "fee": 0.001,
        "started_at": started,
    }
    return GridVersion(Grid.model_validate(values), started)


@pytest.fixture(scope="module")
def frames() -> dict[str, pl.DataFrame]:
    """A frame of every contract, as the domain makes it."""
    settings = load_settings()
    policy = settings.market
    bars = simulate_market(seed=11, start=START, bars=DAYS * 96, quiet_share=0.02).filter(pl.col("volume") > 0)
    candles = bars.select(list(RAW_SCHEMA))
    filled = fill_gaps(candles, quarantined_ms=None)
    metrics = metrics_of(filled, policy)
    regime = regime_of(metrics, policy)
    view = view_of(filled, metrics, regime, NOBODY)
    last_ms = int(epoch_ms(filled["close_time"])[-1])
    times = evaluations(last_ms - 5 * 86_400_000, last_ms)
    states = {
        enabled: evaluate([grid(enabled=enabled)], view, settings.advice, first_ms=int(times[0]), last_ms=last_ms)
        for enabled in (True, False)
    }
    history = RiskHistory.of(filled, settings.risk)
    rows = risk_rows([grid(enabled=True)], history, epoch_ms(states[True].exit_states["evaluated_at"]), settings.risk)
    positions, figures = positions_of(rows), figures_of(rows)
    made = {
        "positions": positions,
        "risk": figures,
        "candles": candles,
        "grid_analysis": grid_analysis([grid(enabled=True)], view, times, settings.exit_state),
        "exit_states": with_risk(states[True].exit_states.with_columns(input_hash=pl.lit("0")), positions, figures),
        "entry_states": states[False].entry_states.with_columns(input_hash=pl.lit("0")),
    }
    for timeframe in COARSE:
        made[f"regime_metrics {timeframe}"] = metrics[timeframe]
        made[f"regime {timeframe}"] = regime[timeframe]
    return made


ALL = {
    contract.name: contract
    for contract in (
        contracts.CANDLES,
        *contracts.REGIME_METRICS.values(),
        *contracts.REGIME.values(),
        contracts.GRID_ANALYSIS,
        contracts.EXIT,
        contracts.ENTRY,
        operator_contracts.POSITIONS,
        operator_contracts.RISK,
    )
}


def changed(frame: pl.DataFrame, column: str, value: Any) -> pl.DataFrame:
    """The frame with one value in its last row."""
    is_last = pl.int_range(pl.len()) == pl.len() - 1
    kind = frame.schema[column]
    return frame.with_columns(pl.when(is_last).then(pl.lit(value, dtype=kind)).otherwise(column).alias(column))


@pytest.mark.parametrize("name", ALL)
def test_what_the_domain_makes_is_accepted(frames: dict[str, pl.DataFrame], name: str) -> None:
    assert frames[name].height > 100
    ALL[name].check(frames[name])


@pytest.mark.parametrize("name", ALL)
def test_frame_without_rows_is_accepted(name: str) -> None:
    ALL[name].check(ALL[name].empty())


@pytest.mark.parametrize("name", ALL)
def test_missing_extra_and_retyped_columns_are_named(frames: dict[str, pl.DataFrame], name: str) -> None:
    frame, first = frames[name], next(iter(ALL[name].columns))
    with pytest.raises(ContractError, match=first):
        ALL[name].check(frame.drop(first))
    with pytest.raises(ContractError, match="surprise"):
        ALL[name].check(frame.with_columns(surprise=1))
    number = next(column for column, kind in ALL[name].columns.items() if kind == pl.Float64())
    with pytest.raises(ContractError, match=number):
        ALL[name].check(frame.with_columns(pl.col(number).cast(pl.Float32)))


@pytest.mark.parametrize("name", ALL)
def test_nan_is_refused_in_every_number(frames: dict[str, pl.DataFrame], name: str) -> None:
    for column, kind in ALL[name].columns.items():
        if kind == pl.Float64():
            with pytest.raises(ContractError, match="no NaN"):
                ALL[name].check(changed(frames[name], column, float("nan")))


@pytest.mark.parametrize("name", ALL)
def test_unsorted_rows_and_twins_are_refused(frames: dict[str, pl.DataFrame], name: str) -> None:
    frame = frames[name]
    with pytest.raises(ContractError, match="ascends"):
        ALL[name].check(frame.reverse())
    with pytest.raises(ContractError, match="ascends"):
        ALL[name].check(pl.concat([frame.head(5), frame.slice(4, 5)]))


@pytest.mark.parametrize(
    ("name", "column", "value", "rule"),
    [
        ("candles", "close", None, "no nulls"),
        ("candles", "close", -1.0, "prices above 0"),
        ("candles", "volume", -1.0, "volume not below 0"),
        ("candles", "high", 1.0, "high and low enclose"),
        ("candles", "low", 1e9, "high and low enclose"),
        ("candles", "close", float("inf"), "no infinity"),
        ("candles", "open_time", datetime(2030, 1, 1, 0, 7, tzinfo=UTC), "open_time on 15m"),
        ("regime_metrics 1h", "efficiency_ratio_24", 1.5, "shares in 0..1"),
        ("regime_metrics 1h", "adx_14", 101.0, "adx in 0..100"),
        ("regime_metrics 1h", "atr_14", -1.0, "not below 0"),
        ("regime_metrics 1h", "touches_upper_72", 73.0, "counts in 0..72"),
        ("regime_metrics 1h", "range_high", 0.5, "range is not inverted"),
        ("regime_metrics 1h", "swing_structure", "SIDEWAYS", "names"),
        ("regime_metrics 4h", "open_time", datetime(2030, 1, 1, 1, tzinfo=UTC), "bars are 4h"),
        ("regime_metrics 4h", "known_at", datetime(2020, 1, 1, tzinfo=UTC), "known at the close"),
        ("regime 1h", "p_trend", 0.9, "probabilities sum to 1"),
        ("regime 1h", "confidence", 1.1, "shares in 0..1"),
        ("regime 1h", "verdict", "MAYBE", "names"),
        ("grid_analysis", "closes_outside", -1, "closes_outside not below 0"),
        ("grid_analysis", "lower", 1e9, "stop below lower below upper"),
        ("grid_analysis", "grid_version", None, "the declaration is there"),
        ("grid_analysis", "stop_loss_risk", "FINE", "names"),
        ("grid_analysis", "grid", "another", "one grid"),
        ("exit_states", "state", "PANIC", "names"),
        ("exit_states", "state", "MANDATORY_EXIT", "only UNKNOWN and NORMAL need no trigger"),
        ("exit_states", "reasons", None, "state is there"),
        ("exit_states", "input_hash", None, "state is there"),
        ("exit_states", "price", None, "a known state has a price"),
        ("exit_states", "evaluated_at", datetime(2030, 1, 1, 0, 1, tzinfo=UTC), "evaluated_at on 15m"),
        ("exit_states", "risk_level", "SOME", "names"),
        ("positions", "source", "guessed", "names"),
        ("positions", "grid_profit_quote", 1e6, "the PnL identity holds"),
        ("positions", "open_orders", -1, "counts not below 0"),
        ("positions", "uncovered_base", -1.0, "amounts not below 0"),
        ("positions", "position_unknown", "fills are missing", "a position that is not known is not told"),
        ("positions", "capital_utilization", -1.0, "utilization is no less than nothing, but for dust"),
        ("positions", "capital_utilization", 3.0, "no more is bound, at cost, than was put in"),
        ("positions", "grid", "another", "one grid"),
        ("risk", "giveback_p90_1h_quote", -1e6, "quantiles in order"),
        ("risk", "risk_unknown", "no reason", "figures, or why not"),
        ("risk", "worst_case_quote", -1.0, "the worst case is no gain"),
        ("entry_states", "state", "EXIT", "names"),
        ("entry_states", "proposed_lower", 1e9, "the proposal is not inverted"),
    ],
)
def test_broken_rule_is_named(frames: dict[str, pl.DataFrame], name: str, column: str, value: Any, rule: str) -> None:
    frame = frames[name]
    if name == "exit_states":
        quiet = [pl.col(trigger).struct.with_fields(fired=pl.lit(False)) for trigger in contracts.TRIGGERS]
        frame = frame.with_columns(*quiet, state=pl.lit("NORMAL"))
    with pytest.raises(ContractError, match=rule):
        ALL[name].check(changed(frame, column, value))


@pytest.mark.parametrize(("held_base", "is_refused"), [(-0.11, True), (-0.1, False)])
def test_no_less_than_dust_below_nothing_is_held(
    frames: dict[str, pl.DataFrame], held_base: float, *, is_refused: bool
) -> None:
    changed_frame = changed(frames["positions"].with_columns(dust_base=0.1), "inventory_base", held_base)
    if not is_refused:
        ALL["positions"].check(changed_frame)
        return
    with pytest.raises(ContractError, match="no less than nothing is held, but for dust"):
        ALL["positions"].check(changed_frame)


def test_unknown_and_enter_must_explain_themselves(frames: dict[str, pl.DataFrame]) -> None:
    silent = pl.lit([], dtype=pl.List(pl.String))
    with pytest.raises(ContractError, match="UNKNOWN says why"):
        contracts.EXIT.check(frames["exit_states"].with_columns(state=pl.lit("UNKNOWN"), reasons=silent))
    with pytest.raises(ContractError, match="all but ENTER say why"):
        contracts.ENTRY.check(frames["entry_states"].with_columns(state=pl.lit("WAIT"), reasons=silent))
    proposed = {"proposed_lower": pl.lit(None, pl.Float64), "state": pl.lit("ENTER")}
    with pytest.raises(ContractError, match="what to enter is proposed"):
        contracts.ENTRY.check(frames["entry_states"].with_columns(**proposed))


def test_everything_that_is_broken_is_told_at_once(frames: dict[str, pl.DataFrame]) -> None:
    broken = changed(changed(frames["candles"], "volume", -1.0), "high", 1.0)
    with pytest.raises(ContractError, match="volume not below 0; high and low enclose the bar"):
        contracts.CANDLES.check(broken)


def test_infinite_half_life_is_a_value(frames: dict[str, pl.DataFrame]) -> None:
    endless = changed(frames["regime_metrics 1h"], "ou_half_life_bars", float("inf"))
    contracts.REGIME_METRICS[Timeframe.H1].check(endless)


def test_contract_is_one_pass_however_many_rules_it_has(
    frames: dict[str, pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    select = pl.LazyFrame.select

    def counted(self: pl.LazyFrame, *exprs: Any, **named: Any) -> pl.LazyFrame:
        passes.append(len(named))
        return select(self, *exprs, **named)

    monkeypatch.setattr(pl.LazyFrame, "select", counted)
    contracts.EXIT.check(frames["exit_states"])
    wide = [rules for rules in passes if rules]
    assert wide == [len(contracts.EXIT.rules) + 2]


NO_PROBLEM = pl.DataFrame(schema={"evaluated_at": pl.Datetime("ms", "UTC"), "problem": pl.String})


def hashes(
    bars: pl.DataFrame, at: list[int], *, since: int = 0, refused: list[int] | None = None, problem: str = ""
) -> list[str]:
    times = np.array(at, dtype=np.int64)
    told = NO_PROBLEM
    if problem:
        told = pl.DataFrame(
            {"evaluated_at": pl.Series(times[-1:]).cast(pl.Datetime("ms", "UTC")), "problem": [problem]}
        )
    quarantined = np.array(refused or [], dtype=np.int64)
    return input_hashes(bars, quarantined, times, np.full(len(times), since), told).to_list()


def test_hash_changes_with_every_value_that_was_seen_and_none_that_was_not(frames: dict[str, pl.DataFrame]) -> None:
    bars = fill_gaps(frames["candles"].head(400), quarantined_ms=None)
    closes = epoch_ms(bars["close_time"])
    at = [int(closes[200]), int(closes[300])]
    base = hashes(bars, at)
    assert len(set(base)) == 2
    for column in ("open", "high", "low", "close", "volume"):
        is_250 = pl.int_range(pl.len()) == 250
        revised = bars.with_columns(pl.when(is_250).then(pl.col(column) + 1).otherwise(column).alias(column))
        assert [new == old for new, old in zip(hashes(revised, at), base, strict=True)] == [True, False]
    later = hashes(bars.head(280), at)
    assert [new == old for new, old in zip(later, base, strict=True)] == [True, False]
    assert hashes(bars, at, since=int(closes[10])) == hashes(bars.slice(11), at, since=int(closes[10]))
    assert hashes(bars, at, refused=[int(closes[250])])[0] == base[0]
    assert hashes(bars, at, refused=[int(closes[250])])[1] != base[1]
    assert hashes(bars, at, problem="blind")[1] != base[1]
    assert hashes(bars, at, problem="blind")[0] == base[0]
    assert text_hash("a") != text_hash("b")


def test_contract_of_a_name_says_it_was_not_written() -> None:
    contract = Contract("things", {"a": pl.Int64()}, {"a above 0": (pl.col("a") > 0).all()})
    with pytest.raises(ContractError, match=r"things breaks its contract: a above 0\. It was not written"):
        contract.check(pl.DataFrame({"a": [0]}))


def told(**changes: Any) -> pl.DataFrame:
    """One decided notification."""
    decision = Decision(
        grid="around",
        evaluated_at=START,
        kind="exit",
        notice=Notice.WARNING,
        state="WARNING",
        cause=Cause.CHANGE,
        episode_at=START,
        number=1,
        triggers=(),
        page="p1",
    )
    frame = notification_frame([decision], {"p1": PageText("title", "text")}, load_settings().notify, is_live=True)
    return frame.with_columns(**{name: pl.lit(value, dtype=frame.schema[name]) for name, value in changes.items()})


def test_notification_of_the_domain_is_accepted() -> None:
    operator_contracts.NOTIFICATIONS.check(told())


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"notice": "PANIC"}, "names"),
        ({"cause": "mood"}, "names"),
        ({"title": None}, "a page has words"),
        ({"held_back": "budget"}, "a page has words"),
        ({"episode_at": START + timedelta(days=1)}, "an episode begins"),
        ({"kind": "entry"}, "a disabled grid hears of entries alone"),
        ({"page": None}, "all is said"),
    ],
)
def test_notification_that_breaks_a_rule_is_refused(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(ContractError, match=rule):
        operator_contracts.NOTIFICATIONS.check(told(**changes))
