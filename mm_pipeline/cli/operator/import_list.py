"""What ``mm import-fills --list`` and ``--forget`` say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from mm_pipeline.cli.output import iso

if TYPE_CHECKING:
    from mm_pipeline.adapters.account import ImportOutcome, ListedImport
    from mm_pipeline.domain.account import AccountFill

_WIDTH: Final = 80
_NO_TIME: Final = "-"
_NOTHING: Final = "nothing"


def list_data(listed: Sequence[ListedImport]) -> list[dict[str, Any]]:
    """Imports for programs."""
    return [
        {
            "import": one.record.number,
            "at": one.record.at,
            "file": one.record.file,
            "format": one.record.form,
            "market": str(one.record.market),
            "rows": len(one.record.tellings),
            "fills_kept": len(one.kept),
            "first": _moments(one)[0],
            "last": _moments(one)[1],
            "problem": one.problem,
        }
        for one in listed
    ]


def print_list(listed: Sequence[ListedImport]) -> None:
    """A table of imports, at most 80 columns wide."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.HORIZONTALS, pad_edge=False, title=f"{len(listed)} imports", title_justify="left")
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("when (UTC)", no_wrap=True)
    table.add_column("file", ratio=1, overflow="fold")
    for heading in ("rows", "kept"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("span", no_wrap=True)
    table.add_column("market", max_width=16, overflow="fold")
    for one in listed:
        record, (first, last) = one.record, _moments(one)
        when = _NO_TIME if record.at is None else f"{record.at:%Y-%m-%d}\n{record.at:%H:%M}"
        counts = str(len(record.tellings)), str(len(one.kept))
        table.add_row(str(record.number), when, record.file, *counts, f"{first[:10]}\n{last[:10]}", str(record.market))
    console = Console(width=_WIDTH, highlight=False, markup=False)
    console.print(table)
    for problem in sorted({one.problem for one in listed if one.problem}):
        click.echo(f"problem: {problem}", err=True)


def forget_data(done: ImportOutcome) -> dict[str, Any]:
    """What was taken out, for programs."""
    return {
        "forgotten": done.record.number,
        "file": done.record.file,
        "market": str(done.record.market),
        "rows": len(done.record.tellings),
        "taken_out": len(done.removed),
        "put_back": len(done.added),
        "span": span_text(done.removed),
    }


def print_forgotten(data: dict[str, Any]) -> None:
    """What was taken out, in a sentence or two."""
    took = f"{data['taken_out']} fills of {data['span']}" if data["taken_out"] else "no fill, others tell all of them"
    click.echo(
        f"Import {data['forgotten']} ({data['file']}, {data['market']}, {data['rows']} rows) was taken out: {took}."
    )
    if data["put_back"]:
        click.echo(f"{data['put_back']} fills are kept as the other imports tell them.")


def span_text(fills: Sequence[AccountFill]) -> str:
    """``2025-01-03 to 2025-02-01``."""
    from mm_pipeline.domain.instants import from_ms

    if not fills:
        return _NOTHING
    times = [fill.time_ms for fill in fills]
    return f"{from_ms(min(times)):%Y-%m-%d} to {from_ms(max(times)):%Y-%m-%d}"


def _moments(one: ListedImport) -> tuple[str, str]:
    """Times of the first and the last row."""
    from mm_pipeline.domain.instants import from_ms

    times = [telling.fill.time_ms for telling in one.record.tellings]
    return (iso(from_ms(min(times))) or "", iso(from_ms(max(times))) or "") if times else (_NO_TIME, _NO_TIME)
