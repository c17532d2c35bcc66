"""The trigger ``stop_likely``: the risk rows' own P(stop), of the stop in force, from what was known, where asked."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from typing import Any

import polars as pl
import pytest

from mm_pipeline.domain.candles import fill_gaps
from mm_pipeline.domain.columns import epoch_ms
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.domain.exit_state import LATEST, WARNING
from mm_pipeline.domain.grid import Grid, GridVersion
from mm_pipeline.domain.market_view import MarketView
from mm_pipeline.domain.pipeline import evaluate, market_view
from mm_pipeline.domain.risk import RiskHistory, StopOutlook, risk_rows
from mm_pipeline.settings import Settings, load_settings
from mm_pipeline_tests.markets import NOTHING_QUARANTINED, grid_around, simulated_candles, version_of

DAY_ROWS = 96
_OFF = "stop_likely is off: P(stop) is not known"


@lru_cache(maxsize=1)
def bars() -> pl.DataFrame:
    return fill_gaps(simulated_candles(seed=4, days=150), quarantined_ms=None)


def settings_of(**exit_state: Any) -> Settings:
    content = load_settings(policy="calibrated").model_dump(mode="json")
    content["exit_state"] |= exit_state
    return Settings.model_validate(content)


@lru_cache(maxsize=1)
def view() -> MarketView:
    return market_view(bars(), NOTHING_QUARANTINED, settings_of().market)


def grid_on(day: int, **changes: Any) -> Grid:
    """A narrow grid with a near stop, started at the open of a day's first bar."""
    started_at = bars()["open_time"][day * DAY_ROWS]
    return grid_around(bars()["close"][day * DAY_ROWS - 1], started_at, **({"width": 0.02} | changes))


def states(
    versions: list[GridVersion], settings: Settings, *, days: int = 3, market: MarketView | None = None
) -> pl.DataFrame:
    first_ms = versions[0].grid.started_at_ms
    chosen = view() if market is None else market
    return evaluate(
        versions, chosen, settings.advice, first_ms=first_ms + 1, last_ms=first_ms + days * 86_400_000
    ).exit_states


def shares(rows: pl.DataFrame) -> list[float | None]:
    return rows["stop_likely"].struct.field("value").to_list()


def test_value_is_that_of_the_risk_rows() -> None:
    settings = settings_of()
    versions = version_of(grid_on(100))
    rows = states(versions, settings)
    history = RiskHistory.of(bars(), settings.risk)
    risk = risk_rows(versions, history, epoch_ms(rows["evaluated_at"]), settings.risk)
    assert shares(rows) == risk["p_stop_24h"].to_list()
    assert len(set(shares(rows))) > 50


def test_fires_on_its_threshold_and_makes_latest() -> None:
    grid = grid_on(100)
    rows = states(version_of(grid), settings_of())
    share = sorted(value for value in shares(rows) if value is not None and 0.05 < value < 0.95)[10]
    for threshold, is_on in ((share, True), (math.nextafter(share, 1.0), False)):
        judged = states(version_of(grid), settings_of(stop_likely={"p_stop_24h": threshold}))
        row = judged.row(shares(rows).index(share), named=True)
        assert row["stop_likely"]["fired"] is is_on
        assert row["stop_likely"]["threshold"] == threshold
        assert (row["state"] in {"LATEST_ACCEPTABLE_EXIT", "MANDATORY_EXIT"}) is (is_on or row["state"] != "NORMAL")
        assert ({"trigger": "stop_likely", "state": "NORMAL"} in row["counterfactual"]) is (
            row["state"] == "LATEST_ACCEPTABLE_EXIT"
        )
    assert row["state"] == "NORMAL", "the grid is in another emergency: choose another day"


def test_edited_stop_counts_from_its_edit() -> None:
    settings, grid = settings_of(), grid_on(100)
    edited_at = grid.started_at + timedelta(days=1)
    lower = grid.model_copy(update={"stop_loss": grid.stop_price * 0.8})
    rows = states([*version_of(grid), GridVersion(lower, edited_at)], settings)
    before = states(version_of(grid), settings)
    first = int(rows["evaluated_at"].search_sorted(edited_at))
    assert shares(rows)[:first] == shares(before)[:first]
    pairs = list(zip(shares(rows)[first:], shares(before)[first:], strict=True))
    assert all(low is not None and high is not None and low <= high for low, high in pairs)
    assert any(low < high for low, high in pairs if low is not None and high is not None)


@pytest.mark.parametrize("known_days", [0, 20])
def test_unknown_past_is_said_and_fires_nothing(known_days: int) -> None:
    """Fewer windows than 30 days of them say nothing."""
    settings = settings_of(stop_likely={"p_stop_24h": 1e-9})
    grid = grid_on(100)
    start = grid.started_at - timedelta(days=known_days)
    stops = StopOutlook(bars().filter(pl.col("open_time") >= start), settings.risk) if known_days else None
    rows = states(version_of(grid), settings, days=1, market=replace(view(), stops=stops))
    assert set(shares(rows)) == {None}
    assert not rows["stop_likely"].struct.field("fired").any()
    assert {any(reason.startswith(_OFF) for reason in reasons) for reasons in rows["reasons"]} == {True}
    known = states(version_of(grid), settings, days=1)
    assert not any(reason.startswith(_OFF) for reasons in known["reasons"] for reason in reasons)


def test_grid_without_a_stop_has_no_share_and_no_complaint() -> None:
    grid = grid_on(100).model_copy(update={"stop_loss": None})
    rows = states(version_of(grid), settings_of(), days=1)
    assert set(shares(rows)) == {None}
    assert not any(reason.startswith(_OFF) for reasons in rows["reasons"] for reason in reasons)


def test_neither_the_future_nor_what_lies_before_the_lookback_counts() -> None:
    settings = settings_of()
    content = settings.model_dump(mode="json")
    content["risk"] |= {"history_days": 60}
    settings = Settings.model_validate(content)
    grid = grid_on(120, width=0.08)
    at_ms = grid.started_at_ms + 3_600_000
    whole = market_view(bars(), NOTHING_QUARANTINED, settings.market)
    opened_ms = pl.Series(epoch_ms(bars()["open_time"]))
    seen = bars().filter((opened_ms >= at_ms - settings.risk.lookback_ms) & (opened_ms < at_ms))
    cut = replace(whole, stops=StopOutlook(seen, settings.risk))
    found = [
        evaluate(version_of(grid), market, settings.advice, first_ms=at_ms, last_ms=at_ms).exit_states
        for market in (whole, cut)
    ]
    assert shares(found[0]) == shares(found[1]) != [None]
    shorter = replace(whole, stops=StopOutlook(seen[40 * DAY_ROWS :], settings.risk))
    other = evaluate(version_of(grid), shorter, settings.advice, first_ms=at_ms, last_ms=at_ms).exit_states
    assert shares(other) != shares(found[0])


def test_information_is_shown_without_a_threshold_and_asks_for_nothing() -> None:
    asked = settings_of(information=[], volatility_expanded={"ratio": 1.0}, latest={"min_triggers": 1})
    grid = grid_on(100, width=0.2)
    before = states(version_of(grid), asked)
    shown = asked.model_dump(mode="json")
    shown["exit_state"]["information"] = ["volatility_expanded"]
    after = states(version_of(grid), Settings.model_validate(shown))
    column = before["volatility_expanded"].struct
    assert column.field("fired").any()
    told = after["volatility_expanded"].struct
    assert told.field("value").equals(column.field("value"))
    for part in ("threshold", "margin", "since"):
        assert told.field(part).is_null().all()
    assert not told.field("fired").any()
    assert (before["state"] == "LATEST_ACCEPTABLE_EXIT").sum() > (after["state"] == "LATEST_ACCEPTABLE_EXIT").sum()


@pytest.mark.parametrize("name", ["stop_loss_breached", "closes_outside", "range_invalidated", "wind"])
def test_facts_about_the_grid_are_no_information(tmp_path: Any, name: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"exit_state: {{information: [{name}]}}\n")
    with pytest.raises(ConfigError, match=r"settings\.yaml: exit_state\.information"):
        load_settings(file)


@pytest.mark.parametrize(("level", "asks"), [("latest", "stop_likely"), ("warning", "transition_likely")])
def test_state_that_could_never_come_is_refused(tmp_path: Any, level: str, asks: str) -> None:
    """As a file would have it that asked for two of the former LATEST triggers."""
    file = tmp_path / "settings.yaml"
    others = [name for name in (*LATEST, *WARNING) if name != asks]
    file.write_text(f"exit_state: {{information: {others}, {level}: {{min_triggers: 2}}}}\n".replace("'", ""))
    with pytest.raises(ConfigError, match=rf"{level}\.min_triggers is 2, but only {asks} asks.*Write 1 or less"):
        load_settings(file)
