"""``mm import-fills``: keep fills of a file, for accounts that no API shows."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mm_pipeline.cli.lazy_group import REFUSED
from mm_pipeline.cli.options import EXISTING_FILE, json_option, settings_option

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from mm_pipeline.adapters.account import FrameImports, ImportedFills, ImportOutcome
    from mm_pipeline.domain.account import AccountFill, FeeBounds
    from mm_pipeline.domain.grid import Grid
    from mm_pipeline.domain.market import Market
    from mm_pipeline.settings import Deployment


_SHOWN_SYMBOLS = 10


@click.command("import-fills")
@click.argument("file", type=EXISTING_FILE, metavar="[FILE]", required=False)
@click.option("--grid", "grid_id", metavar="ID", help="Grid whose fills they are; with --list: of its market alone.")
@click.option("--list", "is_list", is_flag=True, help="Show what was imported.")
@click.option("--forget", metavar="N", help="Take an import out again, by its number in --list or its file's name.")
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
    file: Path | None,
    grid_id: str | None,
    is_list: bool,
    forget: str | None,
    skip_bad: bool,
    rates: tuple[str, ...],
    time_zone: str | None,
    settings_file: Path | None,
    as_json: bool,
) -> None:
    """Import the fills of FILE, a CSV file; or --list what was imported, or --forget an import.

    FILE has the columns time, side, price, quantity, fee, fee_currency and perhaps id, order_id, symbol; or is an
    export of KuCoin (filled orders with order-splitting, its trading bots, orders) or Binance (trade history), whose
    columns are known by what they mean. A file may be imported again and files may overlap: an order counts once
    whatever the form, as its executions where they sum to it, and what does not fit is refused before anything is
    written. Fills of other symbols are left out; exit code 1 where all are. A fee in a third currency is kept as its
    worth in quote at the --rate given; of a fee told with and without a discount the lower one counts.
    """
    from mm_pipeline.settings import load_deployment

    if sum((file is not None, is_list, forget is not None)) != 1:
        raise click.UsageError("give one of FILE, --list, --forget N.")
    deployment = load_deployment(settings_file)
    if is_list:
        _list(deployment, grid_id, as_json=as_json)
    elif forget is not None:
        _forget(deployment, forget, as_json=as_json)
    elif file is not None:
        if grid_id is None:
            raise click.UsageError("--grid ID is missing: whose fills are they?")
        data = _import(
            deployment,
            file,
            _grid(deployment, grid_id),
            skip_bad=skip_bad,
            rates=dict(map(_rate, rates)),
            time_zone=time_zone,
            as_json=as_json,
        )
        if not data["fills"]:
            ctx.exit(REFUSED)


def _import(
    deployment: Deployment,
    file: Path,
    grid: Grid,
    *,
    skip_bad: bool,
    rates: dict[str, float],
    time_zone: str | None,
    as_json: bool,
) -> dict[str, Any]:
    """Import a file, and say what came of it."""
    from mm_pipeline.adapters import account
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.cli.output import print_json
    from mm_pipeline.domain.plain_text import plain_text

    settings, now = deployment.settings, SystemClock().now()
    found = account.import_fills(
        file,
        until=now + settings.exchange_access.max_clock_offset,
        symbol=grid.symbol,
        exchange=grid.exchange,
        zone=None if time_zone is None else account.zone_named(time_zone),
        fees=settings.account.fees,
        skip_bad=skip_bad,
    )
    told = [telling for telling in found.tellings if telling.fill.symbol == grid.symbol]
    priced = _with_fees_in_quote([telling.fill for telling in told], rates, settings.account.fees)
    with _turn(deployment):
        outcome = _imports(deployment).add(
            grid.market,
            [replace(telling, fill=fill) for telling, fill in zip(told, priced, strict=True)],
            digest=account.digest_of(told),
            file=plain_text(file.name),
            form=found.format_name,
            at=now,
        )
    data = _data(found, grid, deployment, outcome, rows=len(told))
    if as_json:
        print_json(data)
    else:
        _print(data, found)
    return data


def _list(deployment: Deployment, grid_id: str | None, *, as_json: bool) -> None:
    from mm_pipeline.cli.operator.import_list import list_data, print_list
    from mm_pipeline.cli.output import print_json

    market = None if grid_id is None else _grid(deployment, grid_id).market
    listed = [
        one
        for one in _imports(deployment).listed(_markets(deployment))
        if market is None or one.record.market == market
    ]
    if as_json:
        print_json(list_data(listed))
    else:
        print_list(listed)


def _forget(deployment: Deployment, wanted: str, *, as_json: bool) -> None:
    from mm_pipeline.cli.operator.import_list import forget_data, print_forgotten
    from mm_pipeline.cli.output import print_json

    with _turn(deployment):
        data = forget_data(_imports(deployment).forget(wanted, _markets(deployment)))
    if as_json:
        print_json(data)
    else:
        print_forgotten(data)


def _imports(deployment: Deployment) -> FrameImports:
    from mm_pipeline.adapters.account import FrameImports

    return FrameImports(_frames_root(deployment), deployment.settings.account)


def _frames_root(deployment: Deployment) -> str:
    from mm_pipeline.adapters.config.home import data_home, frames_dir

    return str(frames_dir(data_home(is_paper=deployment.settings.is_paper)))


def _turn(deployment: Deployment) -> AbstractContextManager[None]:
    """The writers' lock: no tick reads while fills are put anew, and no other import writes."""
    from mm_pipeline.adapters.writing import turns_of
    from mm_pipeline.cli.journal_access import journal_url

    turns = turns_of(_frames_root(deployment), journal_url(deployment), deployment.settings.writing)
    return turns.ordinary("mm import-fills")


def _markets(deployment: Deployment) -> set[Market]:
    """Markets of the grids that are declared: earlier versions may have imported fills of them."""
    from mm_pipeline.adapters.config.grid_files import load_grids

    return {grid.market for grid in load_grids(deployment.grids_folder).grids}


def _grid(deployment: Deployment, grid_id: str) -> Grid:
    from mm_pipeline.adapters.config.grid_files import load_grids

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


def _data(
    found: ImportedFills, grid: Grid, deployment: Deployment, outcome: ImportOutcome, *, rows: int
) -> dict[str, Any]:
    from mm_pipeline.domain.account import fills_of_grid, steps_told

    policy = deployment.settings.account
    told = fills_of_grid(grid, outcome.mine, policy=policy, increments=steps_told(outcome.mine, policy))
    return {
        "import": outcome.record.number if rows else None,
        "known": outcome.is_known,
        "grid": grid.id,
        "market": str(grid.market),
        "format": found.format_name,
        "fills": rows,
        "new": len(outcome.added),
        "replaced": len(outcome.removed),
        "kept": len(outcome.mine),
        "two_fees": outcome.two_fees,
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
    if data["known"]:
        click.echo(f"The same rows are import {data['import']} already; --forget it first to import them otherwise.")
    elif data["fills"] and not data["kept"]:
        click.echo("Other imports tell the same in a finer or larger form, which is kept.")
    elif data["kept"] != data["fills"] or data["replaced"]:
        click.echo(
            f"Its {data['fills']} rows tell {data['kept']} of the fills that are kept; {data['replaced']} of those "
            "kept before are told in a finer or larger form now."
        )
    if data["two_fees"]:
        click.echo(f"{data['two_fees']} fills are told with two fees; the lower one, after the discount, is kept.")
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
