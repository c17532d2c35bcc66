"""Every threshold has a unit, a bound and a source, stands in the settings file, and flips a decision when changed."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from mm_pipeline.domain.candles import fill_gaps
from mm_pipeline.domain.columns import times_of
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.domain.failed_fetches import FAILED_FETCH
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.market_view import MarketView
from mm_pipeline.domain.pipeline import evaluate, market_view
from mm_pipeline.settings import Settings, describe, load_settings
from mm_pipeline_tests.markets import grid_around, simulated_candles, version_of

MARKET_SEED = 4
TESTS = Path(__file__).parents[1]
DECIDING = ("data.", "metrics.", "regime.", "exit_state.", "entry.")

CHANGED: dict[str, Any] = {
    "data.max_age": "15min",
    "data.max_failed_fetches": 1,
    "data.warm_up_days": 80,
    "data.min_coverage": 1.0,
    "data.min_coverage_24h": 1.0,
    "data.quarantine_window": "1h",
    "data.min_median_quote_volume_24h": 1e12,
    "data.max_synthetic_share_24h": 0.0,
    "metrics.touch_atr": 1.0,
    "metrics.dickey_fuller_critical": -1.5,
    "metrics.kappa_upper_z": 0.0,
    "regime.trend.min_confirmations": 2,
    "regime.trend.min_confirmations_4h": 2,
    "regime.trend.leaning_confirmations": 1,
    "regime.trend.efficiency_ratio": 0.3,
    "regime.trend.ema_gap_atr": 1.0,
    "regime.transition.p_transition": 0.2,
    "regime.transition.min_signals": 1,
    "regime.transition.efficiency_ratio": 0.1,
    "regime.transition.rising_bars": 1,
    "regime.transition.volatility_expansion": 1.0,
    "regime.range.min_score": 0.8,
    "regime.range.full_touches": 20,
    "regime.range.full_crossings": 30,
    "regime.range.full_dickey_fuller_t": 9.0,
    "regime.shown.window_bars": 2,
    "regime.weakening.p_transition": 0.1,
    "regime.weakening.confidence_bars": 3,
    "regime.weakening.confidence_drop": 0.0,
    "exit_state.since_window": "1d",
    "exit_state.stop_loss_risk.critical_atr": 2.0,
    "exit_state.stop_loss_risk.high_atr": 4.0,
    "exit_state.stop_loss_risk.medium_atr": 12.0,
    "exit_state.regime_trend.is_confirmed_on_4h": True,
    "exit_state.range_invalidated.buffer_atr": 3.0,
    "exit_state.closes_outside.count": 5,
    "exit_state.closes_outside.timeframe": "4h",
    "exit_state.information": ["stop_likely", "volatility_expanded"],
    "exit_state.latest.min_triggers": 2,
    "exit_state.stop_likely.p_stop_24h": 0.05,
    "exit_state.transition_persists.bars_1h": 1,
    "exit_state.transition_persists.bars_4h": 1,
    "exit_state.half_life_doubled.ratio": 4.0,
    "exit_state.half_life_doubled.bars": 6,
    "exit_state.half_life_doubled.kappa": "upper",
    "exit_state.volatility_expanded.ratio": 1.05,
    "exit_state.warning.min_triggers": 1,
    "exit_state.transition_likely.p_transition": 0.1,
    "exit_state.confidence_declining.bars": 3,
    "exit_state.confidence_declining.drop": 0.0,
    "exit_state.efficiency_rising.efficiency_ratio": 0.1,
    "exit_state.efficiency_rising.rising_bars": 24,
    "exit_state.efficiency_rising.bars": 1,
    "exit_state.reversion_slowing.ratio": 0.3,
    "exit_state.reversion_slowing.bars": 24,
    "entry.min_confidence": 0.95,
    "entry.buffer_atr": 3.0,
    "entry.min_width_pct": 20.0,
    "entry.fee_multiple": 40.0,
    "entry.max_levels": 2,
    "entry.stop_atr_4h": 6.0,
}
"""Another value for each, different enough to matter within two months of one simulated market."""

CALIBRATED = ("metrics.kappa_upper_z", "exit_state.stop_likely.p_stop_24h")
"""Seen only where the policy uses the upper end of kappa's interval, or asks for P(stop)."""

ALONE = ("exit_state.efficiency_rising.rising_bars",)
"""Seen in the state of this market only where one WARNING trigger is enough."""

SEEN_IN_STATE = tuple(
    key
    for key in CHANGED
    if key.startswith("exit_state.")
    and key
    not in {
        "exit_state.since_window",
        "exit_state.stop_loss_risk.critical_atr",
        "exit_state.stop_loss_risk.high_atr",
        "exit_state.stop_loss_risk.medium_atr",
    }
)
"""Thresholds of triggers: the exit state itself must flip somewhere."""

ELSEWHERE = {
    "exchange_access.": "pipeline/test_candle_sources_exchange.py",
    "account.import_max_age": "pipeline/test_dagster_positions.py",
    "account.": "unit/test_account_policy.py",
    "notify.max_lateness": "pipeline/test_dagster_runs.py",
    "notify.": "unit/test_notification_decisions.py",
    "delivery.": "unit",
    "channel_access.": "pipeline/test_channels.py",
    "risk.": "unit/test_risk_thresholds.py",
    "archive.": "faults/test_21_archive_remote_away.py",
    "supervision.": "unit/test_supervision.py",
    "writing.": "unit/test_writing_turns.py",
    "backfill.": "unit/test_backfill_estimate.py",
    "housekeeping.": "faults/test_37_clean_up.py",
    "ui.": "unit/test_ui_guard.py",
    "page.history": "pipeline/operator_page/test_page_of_a_grid.py",
    "page.": "pipeline/operator_page/test_page_front.py",
    "last_resort.": "unit/test_last_resort.py",
}


def changed_settings(key: str, value: Any, settings: Settings) -> Settings:
    content = settings.model_dump(mode="json")
    *sections, name = key.split(".")
    place = content
    for section in sections:
        place = place[section]
    assert place[name] != value, f"{key} is {value} already"
    place[name] = value
    return Settings.model_validate(content)


@lru_cache(maxsize=1)
def bars() -> pl.DataFrame:
    return fill_gaps(simulated_candles(seed=MARKET_SEED, days=150), quarantined_ms=None)


@lru_cache(maxsize=1)
def grids() -> tuple[Grid, ...]:
    """A grid too wide to break, grids that break one after the other, and one that is switched off."""
    first = bars()["open_time"][0] + timedelta(days=62)
    starts = [first + timedelta(days=days) for days in (0, *range(0, 80, 10))]
    prices = [bars().filter(pl.col("open_time") < start)["close"][-1] for start in starts]
    narrow = [
        grid_around(price, start, id=f"narrow-{start:%m-%d}", width=0.04)
        for price, start in zip(prices[1:], starts[1:], strict=True)
    ]
    return (
        grid_around(prices[0], first, id="wide", width=0.90),
        grid_around(prices[0], first, id="flat", width=0.10, enabled=False),
        *narrow,
    )


@lru_cache(maxsize=2)
def market_of(metrics: str, regime: str) -> MarketView:
    """The market, one of its candles quarantined for a day; its judgement depends on two sections only."""
    settings = settings_with(metrics=json.loads(metrics), regime=json.loads(regime))
    quarantined_ms = np.array([grids()[0].started_at_ms + 30 * 86_400_000])
    return market_view(bars(), quarantined_ms, settings.market)


def settings_with(policy: str = "seed", **sections: Any) -> Settings:
    return Settings.model_validate(load_settings(policy=policy).model_dump(mode="json") | sections)


def decisions(settings: Settings) -> dict[str, pl.DataFrame]:
    """Everything decided about the market and its grids: the first ten days of each, all days of the wide one."""
    content = settings.model_dump(mode="json")
    view = market_of(json.dumps(content["metrics"]), json.dumps(content["regime"]))
    close_ms = int(bars()["close_time"].dt.epoch("ms")[-1])
    end_ms = close_ms + 4 * 900_000
    failed = failed_fetches_at(close_ms + 900_000, close_ms + 2 * 900_000)
    advice = [
        evaluate(
            version_of(grid),
            view,
            settings.advice,
            first_ms=grid.started_at_ms,
            problems=failed,
            last_ms=end_ms if grid.id in {"wide", "flat"} else grid.started_at_ms + 10 * 86_400_000,
        )
        for grid in grids()
    ]
    hourly = ("verdict", "ou_status", "primary_regime", "secondary_signal")
    return {
        "hourly": view.hourly.frame.select(hourly),
        "four_hourly": view.four_hourly.frame.select("verdict"),
        "exit": pl.concat(a.exit_states for a in advice).drop("policy"),
        "entry": pl.concat(a.entry_states for a in advice).drop("policy"),
    }


def failed_fetches_at(*evaluated_ms: int) -> pl.DataFrame:
    """Problems of evaluations whose candles could not be fetched."""
    flags = {"hides_bars": False, "hides_metrics": False, FAILED_FETCH: True}
    return times_of(np.array(evaluated_ms), "evaluated_at").to_frame().with_columns(problem=pl.lit("away."), **flags)


def shipped_settings(key: str) -> Settings:
    """The settings under which a change of this threshold is seen."""
    shipped = load_settings(policy="calibrated" if key in CALIBRATED else "seed")
    return changed_settings("exit_state.warning.min_triggers", 1, shipped) if key in ALONE else shipped


@lru_cache(maxsize=3)
def decisions_once(key: str) -> dict[str, pl.DataFrame]:
    """Decisions under the shipped settings of a key; all but a few share those of no key."""
    return decisions(shipped_settings(key))


def test_every_deciding_threshold_is_tried() -> None:
    keys = {info.key for info in describe(load_settings()) if info.key.startswith(DECIDING)}
    assert keys == set(CHANGED)


@pytest.mark.parametrize("key", CHANGED)
def test_threshold_changed_flips_a_decision(key: str) -> None:
    shipped = shipped_settings(key)
    group = key if key in CALIBRATED + ALONE else ""
    before, after = decisions_once(group), decisions(changed_settings(key, CHANGED[key], shipped))
    if key in SEEN_IN_STATE:
        assert not before["exit"]["state"].equals(after["exit"]["state"])
    assert any(not before[name].equals(after[name]) for name in before)


def test_every_threshold_has_unit_and_source() -> None:
    infos = [info for info in describe(load_settings()) if "." in info.key]
    assert len(infos) > 50
    assert [info.key for info in infos if not (info.unit and info.source)] == []
    numbers = [info for info in infos if isinstance(info.value, int | float) and not isinstance(info.value, bool)]
    assert [info.key for info in numbers if not info.bounds] == []


def test_every_number_and_duration_is_bound_on_both_sides() -> None:
    """A duration of 999 days would disarm what it times: a heartbeat, a page, a reading."""
    infos = [info for info in describe(load_settings()) if "." in info.key]
    measured = [info for info in infos if isinstance(info.value, int | float) or info.unit.startswith("duration")]
    counted = [info for info in measured if not isinstance(info.value, bool)]
    assert len(counted) > 80
    assert [info.key for info in counted if not (">" in info.bounds and "<" in info.bounds)] == []


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("delivery", "overdue_after", "61min"),
        ("delivery", "run_for", "51s"),
        ("delivery", "backoff_max", "16min"),
        ("data", "max_age", "241min"),
        ("exchange_access", "breaker_cool_down", "61min"),
        ("exchange_access", "clock_check_interval", "61min"),
    ],
)
def test_what_would_disarm_the_watch_is_refused(tmp_path: Path, section: str, key: str, value: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"{section}: {{{key}: {value}}}\n")
    with pytest.raises(ConfigError, match=f"{section}.{key}"):
        load_settings(file)
    amount = int("".join(letter for letter in value if letter.isdigit())) - 1
    unit = value.lstrip("0123456789")
    file.write_text(f"{section}: {{{key}: {amount}{unit}}}\n")
    assert load_settings(file)


@pytest.mark.parametrize(
    ("written", "hint"), [("flapping_count: 9", "flapping_count: 8"), ("flapping_of: 3", "flapping_count: 3")]
)
def test_more_unknowns_than_evaluations_looked_at_are_refused(tmp_path: Path, written: str, hint: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"notify: {{unknown: {{{written}}}}}\n")
    with pytest.raises(ConfigError, match=f"notify.unknown: flapping_count.* flapping_of.* Write {hint} or less"):
        load_settings(file)
    file.write_text("notify: {unknown: {flapping_count: 8}}\n")
    assert load_settings(file).notify.unknown.flapping_count == 8


@pytest.mark.parametrize("value", ["9999999999d", "99999999999999999999999d", "3651d"])
def test_a_duration_beyond_measure_is_refused_with_its_key(tmp_path: Path, value: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"data: {{max_age: {value}}}\n")
    with pytest.raises(ConfigError, match=r"data.max_age: it is longer than 3650d\. Write a shorter"):
        load_settings(file)


def test_settings_that_decide_nothing_are_tried_elsewhere() -> None:
    others = [info.key for info in describe(load_settings()) if "." in info.key and not info.key.startswith(DECIDING)]
    for key in others:
        place = next(path for prefix, path in ELSEWHERE.items() if key.startswith(prefix))
        name = key.rsplit(".", 1)[1]
        files = [TESTS / place] if place.endswith(".py") else sorted((TESTS / place).glob("*.py"))
        assert any(name in file.read_text() for file in files), f"no test in {place} tries {key}"


def test_policy_that_does_not_exist_is_refused_with_file_key_and_mend(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("policy: sed\n")
    with pytest.raises(ConfigError, match=r"settings\.yaml: policy: there is no policy 'sed'\. Use one of: .*seed"):
        load_settings(file)
