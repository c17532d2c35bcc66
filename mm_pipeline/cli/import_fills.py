"""``mm import-fills``: keep fills of a file, for accounts that no API shows."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mm_pipeline.cli.commands import REFUSED
from mm_pipeline.cli.options import EXISTING_FILE, json_option, settings_option

if TYPE_CHECKING:
    from mm_pipeline.adapters.account import ImportedFills
    from mm_pipeline.domain.account import AccountFill, FeeBounds
    from mm_pipeline.domain.grid import Grid
    from mm_pipeline.settings import Deployment


_SHOWN_SYMBOLS = 10


@click.command("import-fills")
@click.argument("file", type=EXISTING_FILE, metavar="FILE")
@click.option("--grid", "grid_id", required=True, metavar="ID", help="Grid whose fills they are.")
@click.option("--skip-bad", is_flag=True, help="Leave rows out that cannot be read, instead of importing nothing.")
@click.option(
    "--rate",
    "rates",
    multiple=True,
    metavar="CURRENCY=PRICE",
    help="Price in the grid's quote of a third currency in which fees were paid, like KCS=9.5; repeatable.",
)
@click.option(
    "--time-zone",
    metavar="ZONE",
    help="Zone of times that tell none, like Asia/Shanghai or UTC+08:00; it is never guessed.",
)
@settings_option
@json_option
@click.pass_context
def import_fills(
    ctx: click.Context,
    *,
    file: Path,
    grid_id: str,
    skip_bad: bool,
    rates: tuple[str, ...],
    time_zone: str | None,
    settings_file: Path | None,
    as_json: bool,
) -> None:
    """Import the fills of FILE, a CSV file.

    FILE has the columns time, side, price, quantity, fee, fee_currency and perhaps id, order_id, symbol; or is an
    export of KuCoin (filled orders with order-splitting, its trading bots, orders) or Binance (trade history), whose
    columns are known by what they mean. Fills that were imported before are known by their id, so a file may be
    imported again and files may overlap. Fills of other symbols are left out; exit code 1 where all are. A fee in a
    third currency is kept as its worth in quote at the --rate given.
    """
    from mm_pipeline.adapters import account
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.adapters.home import data_home, frames_dir
    from mm_pipeline.cli.output import print_json
    from mm_pipeline.settings import load_deployment

    deployment = load_deployment(settings_file)
    grid = _grid(deployment, grid_id)
    settings = deployment.settings
    found = account.import_fills(
        file,
        until=SystemClock().now() + settings.exchange_access.max_clock_offset,
        symbol=grid.symbol,
        exchange=grid.exchange,
        zone=None if time_zone is None else account.zone_named(time_zone),
        fees=settings.account.fees,
        skip_bad=skip_bad,
    )
    of_symbol = [fill for fill in found.fills if fill.symbol == grid.symbol]
    mine = _with_fees_in_quote(of_symbol, dict(map(_rate, rates)), settings.account.fees)
    store = account.FrameFills(str(frames_dir(data_home(is_paper=deployment.settings.is_paper))))
    mine = _as_kept(mine, store.fills(account.IMPORTED, grid.market))
    added = store.append(account.IMPORTED, grid.market, mine, span=None)
    data = _data(found, grid, deployment, mine, added=added)
    if as_json:
        print_json(data)
    else:
        _print(data, found)
    if not mine:
        ctx.exit(REFUSED)


def _grid(deployment: Deployment, grid_id: str) -> Grid:
    from mm_pipeline.adapters.grid_files import load_grids

    grids = {grid.id: grid for grid in load_grids(deployment.grids_folder).grids}
    if grid_id not in grids:
        known = ", ".join(grids) or "none"
        raise click.BadParameter(f"no grid file declares {grid_id}; there are: {known}.", param_hint="--grid")
    return grids[grid_id]


def _rate(text: str) -> tuple[str, float]:
    currency, _, price = text.partition("=")
    try:
        value = float(price)
    except ValueError:
        value = math.nan
    if not currency or not 0 < value < math.inf:
        raise click.BadParameter(f"{text!r} is no rate; write for example KCS=9.5.", param_hint="--rate")
    return currency.upper(), value


def _with_fees_in_quote(fills: list[AccountFill], rates: dict[str, float], bounds: FeeBounds) -> list[AccountFill]:
    """Fees in third currencies as their worth in quote: no price of theirs is asked for later."""
    from mm_pipeline.domain.account import fee_in_quote, third_currencies
    from mm_pipeline.domain.errors import ConfigError

    third = third_currencies(fills)
    unknown = sorted(third - rates.keys())
    if unknown:
        raise ConfigError(
            f"fees were paid in {', '.join(unknown)}, whose price is not known; nothing was imported.",
            f"Give it: {' '.join(f'--rate {name}=PRICE' for name in unknown)}.",
        )
    told = []
    for fill in fills:
        if fill.fee_currency not in third:
            told.append(fill)
            continue
        worth = fee_in_quote(fill, rates)
        if not bounds.holds(fill, worth):
            raise ConfigError(
                f"a fee of {fill.fee:,.6g} {fill.fee_currency} is worth {bounds.problem(fill, worth)} Nothing was "
                "imported.",
                "Correct the fee or its --rate; the bounds are account.max_rebate_share and account.max_fee_share.",
            )
        told.append(replace(fill, fee=worth, fee_currency=fill.symbol.split("/")[1]))
    return told


def _as_kept(fills: list[AccountFill], kept: list[AccountFill]) -> list[AccountFill]:
    """Fills that were imported before with another rate of their fee stay as they were."""
    known = {(fill.trade_id, fill.side): fill for fill in kept}
    told = []
    for fill in fills:
        before = known.get((fill.trade_id, fill.side))
        is_same = before is not None and replace(before, fee=fill.fee, fee_currency=fill.fee_currency) == fill
        told.append(before if before is not None and is_same else fill)
    return told


def _data(
    found: ImportedFills, grid: Grid, deployment: Deployment, mine: list[AccountFill], *, added: int
) -> dict[str, Any]:
    from mm_pipeline.domain.account import fills_of_grid, steps_told

    policy = deployment.settings.account
    told = fills_of_grid(grid, mine, policy=policy, increments=steps_told(mine, policy))
    return {
        "grid": grid.id,
        "market": str(grid.market),
        "format": found.format_name,
        "fills": len(mine),
        "new": added,
        "of_the_grid": len(told.fills),
        "foreign": len(told.foreign),
        "other_symbols": dict(Counter(fill.symbol for fill in found.fills if fill.symbol != grid.symbol)),
        "unfilled_orders": found.unfilled_rows,
        "skipped_rows": [str(problem) for problem in found.problems],
    }


def _print(data: dict[str, Any], found: ImportedFills) -> None:
    click.echo(
        f"{data['fills']} fills of {data['market']} ({data['format']}), {data['new']} of them new; "
        f"{data['of_the_grid']} are grid {data['grid']}'s, {data['foreign']} since its start are not."
    )
    others = data["other_symbols"]
    if others:
        known = sorted(others, key=lambda symbol: (-others[symbol], symbol))
        names = ", ".join(f"{symbol} {others[symbol]}" for symbol in known[:_SHOWN_SYMBOLS])
        more = f" and {len(known) - _SHOWN_SYMBOLS} more" if len(known) > _SHOWN_SYMBOLS else ""
        click.echo(f"{sum(others.values())} fills of other symbols were left out: {names}{more}.")
    if not data["fills"]:
        symbol = data["market"].partition(":")[2]
        click.echo(f"error: nothing in the file is of {symbol}, so nothing was imported.", err=True)
    if data["unfilled_orders"]:
        click.echo(f"{data['unfilled_orders']} orders were not filled.")
    for problem in found.problems:
        click.echo(f"skipped {problem}", err=True)
