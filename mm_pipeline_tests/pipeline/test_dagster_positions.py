"""Positions and risk through real runs: the model, the account over HTTP, what a page says of them, verified flat."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import yaml

from mm_pipeline.adapters.account import IMPORTED, FrameFills
from mm_pipeline.adapters.config.home import frames_dir
from mm_pipeline.domain.account import AccountFill, Side
from mm_pipeline.domain.candles import fill_gaps
from mm_pipeline.domain.notifications import Notice, ResponseKind
from mm_pipeline.domain.position import simulate_grid
from mm_pipeline_tests.account_samples import TRADING
from mm_pipeline_tests.dagster_samples import (
    DAGSTER_WARNINGS,
    FixedSources,
    Installation,
    check_of,
    metadata_of,
    ranging_candles,
)
from mm_pipeline_tests.dagster_samples import ETH as ETH_MARKET
from mm_pipeline_tests.traded_samples import AT, KEYS, Traded, first_bar_after, newest, sol_candles, sol_grid

pytestmark = DAGSTER_WARNINGS


def test_account_shows_what_the_model_holds_and_a_losing_grid_is_paged_with_its_cost(traded: Traded) -> None:
    at = first_bar_after(pl.col("close") < sol_grid().lower * 0.985)
    at = datetime.fromtimestamp(-(-int(at.timestamp()) // 3600) * 3600, UTC)
    result = traded.tick(at)
    position = newest(traded.installation, "positions", "sol", at)
    bars = fill_gaps(sol_candles(), quarantined_ms=None)
    model = simulate_grid(sol_grid(), bars, end_ms=int(at.timestamp() * 1000)).summary
    assert position["source"] == "exchange"
    assert position["inventory_base"] == pytest.approx(model.inventory, abs=1e-4 * 60)
    assert position["total_pnl_quote"] == pytest.approx(model.total_pnl, abs=0.5)
    assert model.total_pnl < -5, "the grid has lost, or the test shows nothing"
    agreement = check_of(result, "positions", "account_agrees")
    assert agreement.passed, agreement.metadata
    assert metadata_of(result, "positions")["verified_flat"] == "none"

    states = newest(traded.installation, "exit_states", "sol", at)
    risk = states["risk"]
    assert isinstance(risk, dict)
    assert (states["state"], states["risk_level"], risk["source"]) == ("MANDATORY_EXIT", "HIGH", "exchange")
    assert 0 < risk["capital_at_risk_15m_quote"] < risk["capital_at_risk_1h_quote"] < risk["capital_at_risk_4h_quote"]
    assert risk["giveback_p50_1h_quote"] < risk["giveback_p90_1h_quote"]
    with traded.installation.journal() as journal:
        (evaluation,) = journal.evaluations("sol")
    assert evaluation.risk is not None
    assert evaluation.risk["capital_at_risk_1h_quote"] == risk["capital_at_risk_1h_quote"]

    (message,) = traded.pushover.messages
    text = message.text
    for delay in ("15 min", "1 h", "4 h"):
        assert f"{delay} " in text.split("Capital at risk if delayed: ")[1].splitlines()[0]
    assert "Stopping the bot and selling its SOL now leaves about -" in text
    assert "In 4 h: likely " in text
    assert "Position (exchange): " in text
    assert "PnL -" in text


def test_closed_account_is_a_verified_flat_that_ends_the_emergency(traded: Traded) -> None:
    stopped = first_bar_after(pl.col("low") <= sol_grid().stop_loss)
    traded.tick(stopped - timedelta(minutes=30))
    (message,) = traded.pushover.messages
    assert message.receipt is not None
    result = traded.tick(stopped + timedelta(minutes=15))
    assert metadata_of(result, "positions")["verified_flat"] == "sol"
    with traded.installation.journal() as journal:
        kinds = [(one.response.kind, one.source) for one in journal.responses.select("sol")]
        told = [one.decision.notice for one in journal.notifications.decisions("sol")]
    assert (ResponseKind.VERIFIED_FLAT, "account") in kinds
    assert (ResponseKind.CANCELLED, "watch") in kinds
    assert told == [Notice.MANDATORY_EXIT], "a closed position is not paged for its newly breached stop"
    assert traded.pushover.account.receipt(message.receipt, "a" * 30)["expired"] == 1


def test_trading_key_is_refused_and_the_model_takes_over(traded: Traded, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(KEYS, (TRADING.key, TRADING.secret, TRADING.passphrase), strict=True):
        monkeypatch.setenv(name, value)
    result = traded.tick(AT)
    position = newest(traded.installation, "positions", "sol", AT)
    assert position["source"] == "modelled"
    agreement = check_of(result, "positions", "account_agrees")
    assert not agreement.passed
    assert "may do more than read" in str(agreement.metadata["kucoin:SOL/USDT"].value)


def test_account_that_breaks_the_program_stops_no_page(traded: Traded, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no such field")

    monkeypatch.setattr("mm_pipeline.orchestration.assets.positions.read_accounts", broken)
    at = first_bar_after(pl.col("close") < sol_grid().lower * 0.985)
    result = traded.tick(datetime.fromtimestamp(-(-int(at.timestamp()) // 3600) * 3600, UTC))
    assert result.success
    assert len(traded.pushover.messages) == 1
    agreement = check_of(result, "positions", "account_agrees")
    assert not agreement.passed
    assert "RuntimeError" in str(agreement.metadata["accounts"].value)


@pytest.fixture
def modelled(tmp_path: Path) -> Installation:
    made = Installation(tmp_path, FixedSources({ETH_MARKET: ranging_candles(datetime(2024, 12, 20, tzinfo=UTC), 110)}))
    made.grid("eth")
    made.grid("idle", enabled=False)
    return made


def test_ticks_add_rows_and_a_backfill_gives_the_same(modelled: Installation) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        for number in range(3):
            modelled.tick(AT + number * timedelta(minutes=15), instance)
        start, end = datetime(2025, 3, 1, tzinfo=UTC), AT + timedelta(days=2)
        live = {name: modelled.store.read(name, "eth", start=start, end=end) for name in ("positions", "risk")}
        assert live["risk"].height == 3
        assert live["risk"]["risk_unknown"].null_count() == 3
        modelled.run(AT + timedelta(minutes=31), instance, months=("2025-03", "2025-03"))
        for name, rows in live.items():
            whole = modelled.store.read(name, "eth", start=start, end=end)
            assert whole.height == 19 * 96 + 50
            assert whole.join(rows.select("evaluated_at"), on="evaluated_at", how="semi").equals(rows)
        states = modelled.read("exit_states", "eth", start=start, end=end)
        assert states["risk"].struct.field("worst_case_quote").null_count() == 0
    assert "idle" not in modelled.store.keys("risk")


def test_grid_without_capital_is_judged_and_has_nothing_at_risk(modelled: Installation) -> None:
    modelled.grid("eth", capital=0, lower=3200, upper=3300, stop_loss=3150)
    with dg.DagsterInstance.ephemeral() as instance:
        modelled.tick(AT, instance)
    states = newest(modelled, "exit_states", "eth", AT)
    assert states["state"] == "MANDATORY_EXIT"
    assert isinstance(states["risk"], dict)
    assert (states["risk"]["worst_case_quote"], states["risk"]["capital_utilization"]) == (0.0, None)
    with modelled.journal() as journal:
        (page,) = journal.notifications.pages()
    assert "Position (modelled): 0 ETH" in page.text


def test_first_tick_of_a_month_adds_the_newest_row_alone(modelled: Installation) -> None:
    last = datetime(2025, 4, 1, tzinfo=UTC)
    with dg.DagsterInstance.ephemeral() as instance:
        for at in (last - timedelta(minutes=15), last, last + timedelta(minutes=15)):
            modelled.tick(at, instance)
    rows = modelled.store.read("risk", "eth", start=datetime(2025, 3, 1, tzinfo=UTC), end=last + timedelta(days=1))
    assert rows["evaluated_at"].to_list() == [last + n * timedelta(minutes=15) for n in (-1, 0, 1)]


def test_imported_fills_come_before_the_model(modelled: Installation) -> None:
    price = 2940.0
    fill = AccountFill(
        trade_id="1",
        order_id="1",
        symbol="ETH/USDT",
        time_ms=int((AT - timedelta(days=1)).timestamp() * 1000),
        side=Side.BUY,
        price=price,
        quantity_base=0.06,
        fee=0.1764,
        fee_currency="USDT",
    )
    FrameFills(str(frames_dir(modelled.home))).append(IMPORTED, ETH_MARKET, [fill], span=None)
    with dg.DagsterInstance.ephemeral() as instance:
        modelled.tick(AT, instance)
    position = newest(modelled, "positions", "eth", AT)
    assert (position["source"], position["inventory_base"]) == ("import", 0.06)
    assert position["unmatched_fees_quote"] == pytest.approx(0.1764)


@pytest.mark.parametrize(("changes", "source"), [({}, "modelled"), ({"import_max_age": "10d"}, "import")])
def test_import_that_is_too_old_stands_beside_the_model_and_decides_nothing(
    modelled: Installation, changes: dict[str, str], source: str
) -> None:
    file = modelled.settings_file
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"account": changes}))
    bought_at = AT - timedelta(days=9)
    modelled.grid("eth", started_at=(AT - timedelta(days=10)).isoformat())
    fill = AccountFill(
        trade_id="1",
        order_id="1",
        symbol="ETH/USDT",
        time_ms=int(bought_at.timestamp() * 1000),
        side=Side.BUY,
        price=2940.0,
        quantity_base=0.06,
        fee=0.1764,
        fee_currency="USDT",
    )
    FrameFills(str(frames_dir(modelled.home))).append(IMPORTED, ETH_MARKET, [fill], span=None)
    with dg.DagsterInstance.ephemeral() as instance:
        modelled.tick(AT, instance)
    position = newest(modelled, "positions", "eth", AT)
    assert position["source"] == source
    risk = newest(modelled, "exit_states", "eth", AT)["risk"]
    assert isinstance(risk, dict)
    beside = (0.06, bought_at) if source == "modelled" else (None, None)
    assert (risk["imported_inventory_base"], risk["imported_until"]) == beside
    assert (position["inventory_base"] == 0.06) is (source == "import")
