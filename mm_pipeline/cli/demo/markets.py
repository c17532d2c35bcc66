"""The demo's installation: simulated markets scripted to be in known, different situations today, and a grid on each.

The simulation is of one fixed day and what led to it, moved by whole days to today: so every hour of every day shows
the same situations, and a test can tell beforehand that it does. Verdicts and states are nowhere written down; they are
what the pipeline makes of these candles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from mm_pipeline.domain.grid import Grid, Spacing
from mm_pipeline.domain.market import Market, Timeframe
from mm_pipeline.paper.markets.markets import PaperMarket, SimulatedMarket
from mm_pipeline.paper.markets.regimes import RegimeParameters, Segment, TrueRegime

SIMULATED_DAY = datetime(2026, 3, 1, tzinfo=UTC)
HISTORY_DAYS = 100
"""Warm-up, the week that ``since`` looks back, and a month: an evaluation makes its month to date again."""
AHEAD_DAYS = 2
GRID_AGE_DAYS = 6
SILENT_FOR = timedelta(hours=3)
TOKEN_VARIABLE = "MM_DEMO_PUSHOVER_TOKEN"  # noqa: S105 - the variable's name
USER_VARIABLE = "MM_DEMO_PUSHOVER_USER"

_CALM = RegimeParameters(half_life_h=3.0, volatility_pct_per_h=0.35)
_WANDERING = RegimeParameters(half_life_h=60.0, volatility_pct_per_h=0.45)
_SINKING = RegimeParameters(volatility_pct_per_h=0.40, drift_pct_per_h=-0.25)
_NERVOUS = RegimeParameters(half_life_h=0.4, volatility_pct_per_h=0.5)
_FALLING = RegimeParameters(volatility_pct_per_h=0.40, drift_pct_per_h=-0.60)
_LOW = RegimeParameters(half_life_h=6.0, volatility_pct_per_h=0.50)


@dataclass(frozen=True, kw_only=True)
class DemoMarket:
    """One situation: what the market does, and the grid that stands in it.

    Attributes
    ----------
    situation
        What happens, for the reader of the report.
    script
        Regimes with their hours until the end of the day after today; the first one takes the rest of the history.
    bounds
        Lower, upper and stop of the grid as multiples of ``price``.
    silent_for
        How long before now the exchange sent its last candle; None: it is not silent.
    """

    grid_id: str
    market: Market
    situation: str
    price: float
    seed: int
    script: tuple[tuple[TrueRegime, float, RegimeParameters], ...]
    bounds: tuple[float, float, float]
    is_enabled: bool = True
    price_increment: float = 0.01
    silent_for: timedelta | None = None

    def segments(self) -> tuple[Segment, ...]:
        """The script with the first segment as long as the history needs."""
        total_h = (HISTORY_DAYS + AHEAD_DAYS) * 24
        later_h = sum(hours for _, hours, _ in self.script[1:])
        (regime, _, parameters), *rest = self.script
        return tuple(
            Segment(regime=regime, hours=hours, parameters=parameters)
            for regime, hours, parameters in ((regime, total_h - later_h, parameters), *rest)
        )


@dataclass(frozen=True, kw_only=True)
class MovedSimulation:
    """A market origin (:class:`~mm_pipeline.paper.markets.markets.CandleOrigin`): ``SIMULATED_DAY`` moved to today.

    Candles that close after ``ends_at`` are never sent.
    """

    simulated: SimulatedMarket
    by: timedelta
    ends_at: datetime | None = None

    def load(self, *, price_increment: float) -> pl.DataFrame:
        """Simulate, move by whole days, cut off."""
        bars = self.simulated.load(price_increment=price_increment)
        moved = bars.with_columns((pl.col("open_time") + self.by).cast(pl.Datetime("ms", "UTC")))
        if self.ends_at is None:
            return moved
        return moved.filter(pl.col("open_time") + timedelta(milliseconds=Timeframe.M15.ms) <= self.ends_at)


_RANGE, _TRANSITION, _TREND = TrueRegime.RANGE, TrueRegime.TRANSITION, TrueRegime.TREND
_DAY_H = 24.0

DEMO_MARKETS = (
    DemoMarket(
        grid_id="eth-calm",
        market=Market("kucoin", "ETH/USDT"),
        situation="The market swings about one level, as a grid likes it.",
        price=3130.0,
        seed=28,
        script=((_RANGE, 0.0, _CALM),),
        bounds=(0.96, 1.04, 0.93),
    ),
    DemoMarket(
        grid_id="btc-strain",
        market=Market("kucoin", "BTC/USDT"),
        situation="Price sank to the foot of the grid and stays there: the stop is likely within a day.",
        price=60_000.0,
        seed=2,
        script=(
            (_TRANSITION, 0.0, _WANDERING),
            (_TREND, 12.0, _SINKING),
            (_RANGE, (1 + AHEAD_DAYS) * _DAY_H, _NERVOUS),
        ),
        bounds=(0.9305, 1.07, 0.929),
    ),
    DemoMarket(
        grid_id="sol-break",
        market=Market("kucoin", "SOL/USDT"),
        situation="Last night the market fell out of the grid in nine hours, and stayed below.",
        price=150.0,
        seed=5,
        script=((_RANGE, 0.0, _CALM), (_TREND, 9.0, _FALLING), (_RANGE, AHEAD_DAYS * _DAY_H, _LOW)),
        bounds=(0.965, 1.035, 0.92),
    ),
    DemoMarket(
        grid_id="eth-next",
        market=Market("binance", "ETH/USDT"),
        situation="No bot runs here: the grid is disabled, and its operator waits for a range.",
        price=3130.0,
        seed=17,
        script=((_RANGE, 0.0, _CALM),),
        bounds=(0.96, 1.04, 0.93),
        is_enabled=False,
    ),
    DemoMarket(
        grid_id="xrp-silent",
        market=Market("kucoin", "XRP/USDT"),
        situation="The exchange has sent no candle for three hours.",
        price=2.0,
        seed=17,
        script=((_RANGE, 0.0, _CALM),),
        bounds=(0.96, 1.04, 0.93),
        price_increment=0.0001,
        silent_for=SILENT_FOR,
    ),
)


def paper_market(demo: DemoMarket, *, now: datetime) -> PaperMarket:
    """The market as the paper exchange plays it."""
    simulated = SimulatedMarket(
        seed=demo.seed,
        start=SIMULATED_DAY - timedelta(days=HISTORY_DAYS),
        bars=(HISTORY_DAYS + AHEAD_DAYS) * Timeframe.M15.bars_per_day,
        scenario=demo.segments(),
        start_price=demo.price,
        mean_volume=3e6 / demo.price,
    )
    ends_at = None if demo.silent_for is None else now - demo.silent_for
    source = MovedSimulation(simulated=simulated, by=_today(now) - SIMULATED_DAY, ends_at=ends_at)
    return PaperMarket(market=demo.market, source=source, price_increment=demo.price_increment)


def demo_grid(demo: DemoMarket, *, now: datetime) -> Grid:
    """The grid on a demo market, started at a midnight."""
    lower, upper, stop = (round(demo.price * factor, 4) for factor in demo.bounds)
    return Grid(
        id=demo.grid_id,
        exchange=demo.market.exchange,
        symbol=demo.market.symbol,
        enabled=demo.is_enabled,
        lower=lower,
        upper=upper,
        levels=8,
        spacing=Spacing.ARITHMETIC,
        stop_loss=stop,
        capital=1000.0,
        fee=0.001,
        started_at=_today(now) - timedelta(days=GRID_AGE_DAYS),
    )


def write_installation(
    folder: Path,
    *,
    now: datetime,
    paper_url: str,
    pushover_url: str | None = None,
    account_variables: Sequence[str] = (),
    markets: Sequence[DemoMarket] = DEMO_MARKETS,
) -> Path:
    """Write ``settings.yaml`` and a grid file a market, as an operator would; the path of the settings.

    Pages go to the Pushover server at ``pushover_url``, and into a file; without one into the file alone.
    ``account_variables`` name the environment's key, secret and passphrase of the account.
    """
    grids = folder / "grids"
    grids.mkdir(parents=True, exist_ok=True)
    for demo in markets:
        (grids / f"{demo.grid_id}.yaml").write_text(_grid_yaml(demo, now), encoding="utf-8")
    settings = folder / "settings.yaml"
    lines = ["exchange: paper", f"paper_url: {paper_url}", "grids: grids", "channels:"]
    if pushover_url is not None:
        keys = f"token_env: {TOKEN_VARIABLE}, user_env: {USER_VARIABLE}"
        lines.append(f'  - {{name: phone, kind: pushover, api_url: "{pushover_url}", {keys}}}')
    lines.append("  - {name: pages, kind: file, path: pages.jsonl}")
    names = zip(("api_key_env", "api_secret_env", "api_passphrase_env"), account_variables, strict=False)
    named = [f"  {setting}: {variable}" for setting, variable in names]
    lines += ["account:", *named] if named else []
    settings.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return settings


def _grid_yaml(demo: DemoMarket, now: datetime) -> str:
    declared = demo_grid(demo, now=now).model_dump(mode="json")
    lines = [f"{key}: {str(value).lower() if isinstance(value, bool) else value}" for key, value in declared.items()]
    return "\n".join([f"# {demo.situation}", *lines, ""])


def _today(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0)
