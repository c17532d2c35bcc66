"""``mm paper-exchange``: the paper exchange alone, until it is stopped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import click

from mm_pipeline.cli.options import EXISTING_FILE, UTC_TIME

if TYPE_CHECKING:
    from mm_pipeline.paper.clock import PaperClock
    from mm_pipeline.paper.exchange import PaperExchange
    from mm_pipeline.paper.markets.markets import PaperMarket
    from mm_pipeline.paper.markets.regimes import Segment

DEFAULT_PORT = 8790
"""Port of ``paper_url`` in the packaged settings."""
DEFAULT_MARKETS = ("kucoin:ETH/USDT", "kucoin:BTC/USDT", "binance:ETH/USDT")
RANGING = {"kucoin:ETH/USDT": 3_130.0}
"""Markets that keep to a level, so that a grid about it lives: deploy/local/grids. The others change their regime."""
START_PRICES = {"BTC": 60_000.0, "ETH": 3_000.0, "SOL": 150.0}
OTHER_START_PRICE = 100.0
OPENED_AT = datetime(2024, 10, 1, tzinfo=UTC)
"""First bar of simulated markets: fixed, so that one started again tomorrow has the same past."""
PAST_DAYS = 120
"""History before the clock's start at the least: more than the warm-up of every metric."""
FUTURE_DAYS = 180


@click.command("paper-exchange")
@click.option("--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="0: a free one.")
@click.option(
    "--market",
    "markets",
    multiple=True,
    metavar="NAME",
    help=f"Simulated market such as kucoin:ETH/USDT, more than once; default: {', '.join(DEFAULT_MARKETS)}.",
)
@click.option(
    "--candles",
    type=EXISTING_FILE,
    multiple=True,
    metavar="FILE",
    help=f"Recorded 15m candles, moved in time so that {PAST_DAYS} days of them lie before now; more than once.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the simulated markets.")
@click.option("--at", type=UTC_TIME, help="Stand at this time; recorded candles keep their own times.")
@click.option("--speed", type=click.FloatRange(0, 86_400), default=1.0, show_default=True, help="Times real time.")
def paper_exchange(
    *,
    port: int,
    markets: tuple[str, ...],
    candles: tuple[Path, ...],
    seed: int,
    at: datetime | None,
    speed: float,
) -> None:
    """Serve paper markets on loopback until stopped.

    It answers as KuCoin and Binance do, so that ccxt talks to it unchanged. Nothing is bought or sold.
    """
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.paper.exchange import PaperConfig, serve

    if at is not None and speed != 1.0:
        raise click.UsageError("--at lets the time stand: give it or --speed.")
    now = SystemClock().now()
    start = now if at is None else at
    names = markets or (() if candles else DEFAULT_MARKETS)
    listed = [
        *simulated_markets(names, seed=seed, at=start),
        *_recorded_markets(candles, start, is_standing=at is not None),
    ]
    try:
        serve(PaperConfig(markets=listed, clock=_clock(at, speed, now), port=port), on_ready=_tell)
    except OSError as error:
        raise _port_taken(port, error) from error
    click.echo("stopped")


def simulated_markets(names: Sequence[str], *, seed: int, at: datetime) -> list[PaperMarket]:
    """Markets from ``OPENED_AT`` (or ``PAST_DAYS`` before an earlier ``at``) to ``FUTURE_DAYS`` after ``at``."""
    from mm_pipeline.domain.market import Market, Timeframe
    from mm_pipeline.paper.markets.markets import PaperMarket, SimulatedMarket

    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    start = min(OPENED_AT, midnight - timedelta(days=PAST_DAYS))
    bars = ((midnight - start).days + FUTURE_DAYS) * Timeframe.M15.bars_per_day
    listed = []
    for name in dict.fromkeys(names):
        market = Market.parse(name)
        level = RANGING.get(name)
        price = level or START_PRICES.get(market.symbol.partition("/")[0], OTHER_START_PRICE)
        source = SimulatedMarket(
            seed=seed + crc32(name.encode()),
            start=start,
            bars=bars,
            scenario=None if level is None else _ranging(),
            start_price=price,
            mean_volume=3e6 / price,
        )
        listed.append(PaperMarket(market=market, source=source))
    return listed


def _ranging() -> list[Segment]:
    """One endless range about the start price."""
    from mm_pipeline.paper.markets.regimes import RegimeParameters, Segment, TrueRegime

    parameters = RegimeParameters(half_life_h=3.0, volatility_pct_per_h=0.35)
    return [Segment(regime=TrueRegime.RANGE, hours=1.0, parameters=parameters)]


def _recorded_markets(candles: tuple[Path, ...], at: datetime, *, is_standing: bool) -> list[PaperMarket]:
    """Recordings in their own time where the clock stands; else with ``PAST_DAYS`` before ``at``, the rest ahead.

    Of a recording shorter than that all but its last day lies before ``at``.
    """
    from mm_pipeline.adapters.candles.candle_files import CandleFile
    from mm_pipeline.domain.errors import CandleFileError
    from mm_pipeline.paper.markets.markets import PaperMarket, RecordedCandles

    listed = []
    for path in candles:
        file = CandleFile.named(path)
        times = file.read()["open_time"].sort()
        if times.is_empty():
            raise CandleFileError(f"{path} holds no candles.", "Give a file with candles.")
        present = min(times[0] + timedelta(days=PAST_DAYS), times[-1] - timedelta(days=1))
        moved = RecordedCandles.playing_at(path, recorded_at=present, at=at)
        listed.append(PaperMarket(market=file.market, source=RecordedCandles(path=path) if is_standing else moved))
    return listed


def _clock(at: datetime | None, speed: float, now: datetime) -> PaperClock:
    from mm_pipeline.paper.clock import PaperClock

    if at is not None:
        return PaperClock.standing(at)
    return PaperClock.real() if speed == 1.0 else PaperClock.running(now, speed=speed)


def _tell(paper: PaperExchange) -> None:
    state = paper.state()
    click.echo(f"paper exchange on {paper.url}, time {state['now']}, speed {state['speed']:g}")
    for market in state["markets"]:
        click.echo(f"  {market['market']}  last price {market['last_price']}")
    exchanges = dict.fromkeys(market["market"].partition(":")[0] for market in state["markets"])
    symbol = state["markets"][0]["market"].partition(":")[2]
    exchange = next(iter(exchanges))
    click.echo("base URLs: " + ", ".join(paper.base_url(name) for name in exchanges))
    click.echo(
        f"""try it:
  import ccxt
  exchange = ccxt.{exchange}({{"options": {{"fetchMarkets": {{"types": ["spot"]}}}}}})
  exchange.session.trust_env = False
  exchange.urls["api"] = dict.fromkeys(exchange.urls["api"], "{paper.base_url(exchange)}")
  print(exchange.fetch_ohlcv("{symbol}", "15m", limit=3))
state: {paper.url}/paper/state   truth: {paper.url}/paper/truth?symbol={symbol.replace("/", "-")}
Ctrl-C stops it."""
    )


def _port_taken(port: int, error: OSError) -> Exception:
    from mm_pipeline.domain.errors import PipelineError

    reason = (error.strerror or str(error)).lower()
    return PipelineError(f"port {port} cannot be listened on ({reason}).", "Stop what uses it, or give another --port.")
