"""``mm study pages``: how often an operator would have been paged, by policy and by notice, over recorded candles."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mm_pipeline.cli.options import EXISTING_FILE, UTC_TIME, json_option, settings_option

if TYPE_CHECKING:
    from rich.table import Table


@click.command()
@click.option("--candles", "files", type=EXISTING_FILE, required=True, multiple=True, metavar="FILE...")
@click.argument("more_files", type=EXISTING_FILE, nargs=-1, metavar="")
@click.option("--policy", "policies", multiple=True, metavar="NAME", help="Default: every packaged policy.")
@click.option("--from", "start", type=UTC_TIME, help="First month; default: the first after the warm-up.")
@click.option("--to", "end", type=UTC_TIME, help="Month before which to end; default: the last whole one.")
@click.option(
    "--width-pct",
    "widths_pct",
    type=click.FloatRange(0.1, 50),
    multiple=True,
    default=(10.0,),
    show_default=True,
    help="Grid width, %; may be given again.",
)
@click.option("--stop-pct", type=click.FloatRange(0.1, 50), default=3.0, show_default=True, help="Stop below it, %.")
@click.option(
    "--first-pages",
    "first_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write when each trigger of each grid was paged first, as JSON.",
)
@click.option(
    "--compare", "former_file", type=EXISTING_FILE, help="Such a file, to count which first pages have moved."
)
@settings_option
@json_option
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the table as Markdown.")
def pages(
    *,
    files: tuple[Path, ...],
    more_files: tuple[Path, ...],
    policies: tuple[str, ...],
    start: datetime | None,
    end: datetime | None,
    widths_pct: tuple[float, ...],
    stop_pct: float,
    first_file: Path | None,
    former_file: Path | None,
    settings_file: Path | None,
    as_json: bool,
    as_markdown: bool,
) -> None:
    """Count the pages of grids that are set anew around the price on the first of each month.

    Each FILE holds 15m candles of one market. Pages are counted per 30 days that a grid is watched, for an operator
    who never answers, one who acknowledges ten minutes after each page, and one who closes the position then. The worst
    day is the one with most emergencies about one grid.
    """
    from mm_pipeline.application.replay.inputs import read_market
    from mm_pipeline.application.studies.pages import counted_months
    from mm_pipeline.cli.output import steps
    from mm_pipeline.settings import load_settings, policy_names

    names = policies or tuple(policy_names())
    paths = (*files, *more_files)
    rows: list[dict[str, Any]] = []
    with steps(len(names) * len(paths) * len(widths_pct)) as advance:
        for path in paths:
            recorded = read_market([path], None)
            for name in names:
                settings = load_settings(settings_file, policy=name)
                for width_pct in widths_pct:
                    advance(f"{recorded.market}, policy {name}, width {width_pct:g} %")
                    counts = counted_months(recorded, settings, start, end, width_pct=width_pct, stop_pct=stop_pct)
                    about = {"market": str(recorded.market), "policy": name, "width_pct": width_pct}
                    rows += [about | row for row in counts]
    if first_file is not None:
        first_file.write_text(json.dumps(_first_pages(rows), indent=1, sort_keys=True))
    former = None if former_file is None else json.loads(former_file.read_text())
    _tell(rows, former, stop_pct=stop_pct, as_json=as_json, as_markdown=as_markdown)


def _tell(
    rows: Sequence[Mapping[str, Any]],
    former: Mapping[str, Any] | None,
    *,
    stop_pct: float,
    as_json: bool,
    as_markdown: bool,
) -> None:
    from mm_pipeline.cli.output import print_json, stdout

    moved = None if former is None else moved_first_pages(former, _first_pages(rows))
    if as_json:
        shown = [{name: value for name, value in row.items() if name != "first_pages"} for row in rows]
        print_json({"stop_pct": stop_pct, "rows": shown} | ({} if moved is None else {"first_pages": moved}))
        return
    if as_markdown:
        click.echo(_markdown(rows))
    else:
        for policy in dict.fromkeys(row["policy"] for row in rows):
            stdout().print(_table(policy, [row for row in rows if row["policy"] == policy]))
    for line in [] if moved is None else _moved_lines(moved):
        click.echo(line)


def _first_pages(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """When each trigger of each grid was paged first, by what names the grid and the operator."""
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        for month, by_trigger in row["first_pages"].items():
            key = f"{row['market']} {row['policy']} {row['width_pct']:g} % {row['answers']} {month}"
            found[key] = by_trigger
    return found


def moved_first_pages(former: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Count first pages of both studies that are the same, earlier, later, gone or new, by tier; and list the others.

    Parameters
    ----------
    former, now
        Time by ``TIER trigger``, by grid. Grids that one study lacks are left out.
    """
    counts: dict[str, dict[str, int]] = {}
    moved: list[str] = []
    for grid in sorted(former.keys() & now.keys()):
        for trigger in sorted(former[grid].keys() | now[grid].keys()):
            before, after = former[grid].get(trigger), now[grid].get(trigger)
            how = _how(before, after)
            of_tier = counts.setdefault(trigger.split()[0], {})
            of_tier[how] = of_tier.get(how, 0) + 1
            if how != "same":
                moved.append(f"{grid} {trigger}: {before or 'never'} -> {after or 'never'}")
    return {"counts": counts, "moved": moved}


def _how(before: str | None, after: str | None) -> str:
    if before == after:
        return "same"
    if before is None or after is None:
        return "new" if before is None else "gone"
    return "later" if after > before else "earlier"


def _moved_lines(moved: Mapping[str, Any]) -> list[str]:
    counts = [
        f"first pages of {tier} triggers: {', '.join(f'{count} {how}' for how, count in sorted(by_how.items()))}"
        for tier, by_how in moved["counts"].items()
    ]
    return [*counts, *moved["moved"]]


_NOTICES: Final = ("MANDATORY_EXIT", "LATEST_ACCEPTABLE_EXIT", "WARNING", "NORMAL", "UNKNOWN", "SOLD_OUT", "REMINDER")
_HEADINGS: Final = ("exit", "latest", "warn", "normal", "unkn.", "sold", "remind")


def _cells(row: Mapping[str, Any]) -> list[str]:
    by_notice = row["per_30_days"]
    told = [f"{by_notice.get(notice, 0.0):.1f}" for notice in _NOTICES]
    return [*told, f"{sum(by_notice.values()):.1f}", str(row["worst_day"])]


def _table(policy: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    from rich import box
    from rich.table import Table

    title = f"pages per 30 days watched, policy {policy}; worst day: emergencies about one grid"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("market")
    table.add_column("%", justify="right")
    table.add_column("operator")
    for heading in (*_HEADINGS, "all", "worst"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(row["market"], f"{row['width_pct']:g}", row["answers"], *_cells(row))
    return table


def _markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    about = ("market", "policy", "width %", "operator answers")
    head = [*about, *(notice.lower().replace("_", " ") for notice in _NOTICES), "all", "worst day"]
    lines = [" | ".join(head), " | ".join(["---"] * len(about) + ["---:"] * (len(_NOTICES) + 2))]
    for row in rows:
        lines.append(" | ".join([row["market"], row["policy"], f"{row['width_pct']:g}", row["answers"], *_cells(row)]))
    return "\n".join(f"| {line} |" for line in lines)
