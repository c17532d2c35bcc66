"""``mm simulate``: what a grid would have traded and earned over candle files."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mm_pipeline.cli.options import EXISTING_FILE, UTC_TIME, json_option

if TYPE_CHECKING:
    from rich.table import Table

    from mm_pipeline.application.replay.inputs import RecordedMarket
    from mm_pipeline.domain.position import GridSimulation

SHOWN_FILLS = 10
"""Newest fills in the table; mm replay writes all of them."""


@click.command()
@click.option("--candles", "first_candles", type=EXISTING_FILE, required=True, multiple=True, metavar="FILE...")
@click.argument("more_candles", type=EXISTING_FILE, nargs=-1, metavar="")
@click.option("--grid", "grid_file", type=EXISTING_FILE, required=True, metavar="FILE", help="Grid file (YAML).")
@click.option("--from", "start", type=UTC_TIME, help="Earliest start of the grid; default: its started_at.")
@click.option("--to", "end", type=UTC_TIME, help="Last bar's close; default: the last candle.")
@click.option("--market", "market_name", metavar="NAME", help="Whose candles, where file names do not tell.")
@json_option
def simulate(
    *,
    first_candles: tuple[Path, ...],
    more_candles: tuple[Path, ...],
    grid_file: Path,
    start: datetime | None,
    end: datetime | None,
    market_name: str | None,
    as_json: bool,
) -> None:
    """Trade a grid along candle files.

    FILEs hold 15m candles of one market, which overrides the grid's. The grid is placed at the open of the first bar
    that opens at or after its started_at and --from, enabled or not, and runs until its stop or --to. Amounts are in
    quote, inventory in base; buys and sells count fills, one an interval. max_drawdown is the largest fall of equity
    from its highest close; worst_case the loss if every resting buy fills and all is sold at the stop.
    """
    from mm_pipeline.application.replay.inputs import conflict_note, read_market
    from mm_pipeline.cli.output import print_json
    from mm_pipeline.domain.market import Market

    if start is not None and end is not None and start >= end:
        raise click.BadParameter(f"{start:%Y-%m-%dT%H:%MZ} is not before --to.", param_hint="--from")
    recorded = read_market((*first_candles, *more_candles), Market.parse(market_name) if market_name else None)
    simulation = _simulation(grid_file, recorded, start, end)
    _tell_late_start(simulation, start)
    if (note := conflict_note(recorded)) is not None:
        click.echo(note, err=True)
    data = _data(simulation)
    if as_json:
        print_json(data)
    else:
        _print(data, simulation)


def _simulation(
    grid_file: Path, recorded: RecordedMarket, start: datetime | None, end: datetime | None
) -> GridSimulation:
    from mm_pipeline.adapters.config.grid_files import check_grid_file
    from mm_pipeline.domain.instants import to_ms
    from mm_pipeline.domain.position import simulate_grid

    market = recorded.market
    grid = check_grid_file(grid_file).model_copy(update={"exchange": market.exchange, "symbol": market.symbol})
    start_ms, end_ms = to_ms(start) if start else None, to_ms(end) if end else None
    simulation = simulate_grid(grid, recorded.bars, start_ms=start_ms, end_ms=end_ms)
    if simulation.bars.is_empty():
        hint = "--from, --to" if start or end else "--candles"
        raise click.BadParameter(
            f"no candle lies between them after grid {grid.id} starts, at {grid.started_at:%Y-%m-%dT%H:%MZ}.",
            param_hint=hint,
        )
    return simulation


def _tell_late_start(simulation: GridSimulation, start: datetime | None) -> None:
    """Say so where the candles begin after the grid: it may have traded before them."""
    from mm_pipeline.domain.market import Timeframe

    begun, declared = simulation.bars["open_time"][0], simulation.grid.started_at
    asked = declared if start is None else max(start, declared)
    if (begun - asked).total_seconds() * 1000 >= Timeframe.M15.ms:
        click.echo(
            f"note: the grid is placed at {begun:%Y-%m-%dT%H:%MZ}, the first candle, not {asked:%Y-%m-%dT%H:%MZ}.",
            err=True,
        )


def _data(simulation: GridSimulation) -> dict[str, Any]:
    """What ``--json`` prints: the summary's names, after what was simulated."""
    bars, grid = simulation.bars, simulation.grid
    return {
        "grid": grid.id,
        "market": str(grid.market),
        "from": bars["open_time"][0],
        "to": bars["close_time"][-1],
        "start_price": bars["open"][0],
        "price": bars["close"][-1],
        "capital": grid.capital,
    } | asdict(simulation.summary)


def _print(data: dict[str, Any], simulation: GridSimulation) -> None:
    from rich import box
    from rich.table import Table

    from mm_pipeline.cli.output import iso, stdout
    from mm_pipeline.reporting.price_words import NO_STOP_TEXT, price_text

    base, quote = simulation.grid.market.symbol.split("/")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "value", "unit"):
        table.add_column(heading, justify="right" if heading == "value" else "left", no_wrap=True)
    for name in ("start_price", "price"):
        table.add_row(name, price_text(data[name]), quote)
    for name in ("buys", "sells"):
        table.add_row(name, f"{data[name]:,}", "fills")
    table.add_row("inventory", f"{data['inventory']:,.6f}", base)
    for name in _AMOUNTS:
        # What rounding leaves of nothing has no sign.
        table.add_row(name, f"{round(data[name], 2) + 0.0:,.2f}", quote)
    if simulation.grid.stop_loss is None:
        table.add_row("stop", NO_STOP_TEXT, "")
    table.add_row("residual", f"{data['residual']:.1e}", quote)
    table.add_row("stopped_at", iso(data["stopped_at"]) or "not stopped", "")
    console = stdout()
    title = f"{data['grid']} on {data['market']}, {iso(data['from'])} to {iso(data['to'])}"
    console.print(title, soft_wrap=True, highlight=False)
    console.print(table)
    if len(simulation.fills):
        console.print(_newest_fills(simulation, base, quote))


def _newest_fills(simulation: GridSimulation, base: str, quote: str) -> Table:
    from rich import box
    from rich.table import Table

    from mm_pipeline.reporting.price_words import price_text

    fills = simulation.fills.tail(SHOWN_FILLS)
    title = f"{len(fills)} newest of {len(simulation.fills):,} fills"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("bar (UTC)", "side", "interval", f"price {quote}", base, f"fee {quote}"):
        table.add_column(heading, justify="left" if heading in ("bar (UTC)", "side") else "right", no_wrap=True)
    for time, side, interval, price, quantity, fee in fills.rows():
        table.add_row(
            f"{time:%Y-%m-%d %H:%M}", side, str(interval), price_text(price), f"{quantity:,.6f}", f"{fee:,.4f}"
        )
    return table


_AMOUNTS = (
    "capital",
    "cash",
    "equity",
    "total_pnl",
    "grid_profit",
    "unrealised",
    "unmatched_fees",
    "fees",
    "max_drawdown",
    "worst_case",
)
