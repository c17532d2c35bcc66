"""``mm demo``: the real pipeline, offline, against a paper exchange on loopback; it ends by itself with a report."""

from __future__ import annotations

import shutil
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mm_pipeline.cli.options import json_option

if TYPE_CHECKING:
    from mm_pipeline.cli.demo.phone import DemoPhone, Paged
    from mm_pipeline.orchestration.runs import GridEvaluation
    from mm_pipeline.paper.exchange import PaperExchange
    from mm_pipeline.reporting.grid_report import GridReport

CHART_DAYS: Final = 7.0
STEPS: Final = 5
FOLDER: Final = "demo"
"""Below the home, and made anew each time: nothing of the installation itself is touched."""


@click.command()
@json_option
def demo(*, as_json: bool) -> None:
    """Show the pipeline at work, offline and without keys, in under two minutes.

    Starts the paper exchange with simulated markets in known situations, fetches their candles through ccxt over HTTP,
    runs the Dagster job that the schedule runs, and prints each grid's state with its triggers. What must be exited is
    paged as an emergency to a paper Pushover server and acknowledged there. Writes a report.
    """
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.adapters.config.home import mm_home
    from mm_pipeline.cli.demo.account import account_keys, demo_account, environment
    from mm_pipeline.cli.demo.markets import DEMO_MARKETS, paper_market
    from mm_pipeline.cli.demo.phone import KEYS, DemoPhone
    from mm_pipeline.cli.output import print_json, steps
    from mm_pipeline.paper.exchange import PaperExchange
    from mm_pipeline.settings import load_settings

    begun = time.perf_counter()
    now = SystemClock().now()
    folder = _fresh(mm_home() / FOLDER)
    with steps(STEPS) as advance:
        advance("simulating markets")
        markets = [paper_market(market, now=now) for market in DEMO_MARKETS]
        with (
            environment(account_keys() | KEYS | {load_settings().archive.remote_env: ""}),  # nothing leaves the machine
            PaperExchange(markets=markets, accounts=[demo_account(now)]) as paper,
            DemoPhone() as phone,
        ):
            advance("fetching candles over HTTP, judging grids in Dagster, paging")
            evaluations = _evaluate(folder, paper, phone, now)
            advance("acknowledging the emergency at the push service")
            paged = phone.acknowledge(folder)
            advance("drawing")
            requests = len(paper.calls)
        from mm_pipeline.reporting.grid_report import by_severity, report_of

        reports = by_severity([report_of(found.grid, found.rows) for found in evaluations])
        advance("writing the report")
        report = _write_report(folder, reports, evaluations, paged, now=now, requests=requests)
    seconds = round(time.perf_counter() - begun, 1)
    if as_json:
        grids = [found.as_json(now=now) for found in reports]
        print_json(
            {
                "evaluated_at": reports[0].evaluated_at,
                "grids": grids,
                "pages": [page.as_json() for page in paged],
                "report": str(report),
                "seconds": seconds,
            }
        )
    else:
        told = f"{requests} requests over HTTP, one Dagster run, {seconds:.0f} s."
        _print(reports, report, paged, now=now, told=told, folder=folder)


def _fresh(folder: Path) -> Path:
    """The demo's folder, empty."""
    from mm_pipeline.domain.errors import StorageError

    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made anew: {error}.", "Mend its permissions.") from error
    return folder


def _evaluate(folder: Path, paper: PaperExchange, phone: DemoPhone, now: datetime) -> list[GridEvaluation]:
    """One evaluation through the job that the schedule runs, with frames and journal in the demo's folder."""
    from mm_pipeline.bootstrap import Overrides
    from mm_pipeline.cli.demo.account import KEY_VARIABLES
    from mm_pipeline.cli.demo.markets import write_installation
    from mm_pipeline.cli.demo.phone import journal_url
    from mm_pipeline.orchestration.runs import evaluate_now
    from mm_pipeline.settings import load_deployment

    settings = write_installation(
        folder, now=now, paper_url=paper.url, pushover_url=phone.url, account_variables=KEY_VARIABLES
    )
    overrides = Overrides(home=folder, journal_url=journal_url(folder))
    return evaluate_now(load_deployment(settings), overrides=overrides)


def _write_report(
    folder: Path,
    reports: list[GridReport],
    evaluations: list[GridEvaluation],
    paged: list[Paged],
    *,
    now: datetime,
    requests: int,
) -> Path:
    """``report/index.html`` with everything in it, and each picture beside it."""
    from mm_pipeline.cli.demo.markets import DEMO_MARKETS
    from mm_pipeline.rendering.html.report import html_report

    pictures = {found.grid_id: _chart(folder, found) for found in evaluations if found.grid is not None}
    written = folder / "report"
    written.mkdir()
    for grid_id, png in pictures.items():
        (written / f"{grid_id}.png").write_bytes(png)
    preface = [
        f"Simulated markets, served by the paper exchange on loopback; {requests} requests through ccxt over HTTP, "
        "one run of the Dagster job exit_evaluation. The situations are scripted; the states are what the pipeline "
        "makes of the candles.",
    ]
    page = written / "index.html"
    page.write_text(
        html_report(
            reports,
            title="mm demo",
            now=now,
            charts=pictures,
            notes={market.grid_id: market.situation for market in DEMO_MARKETS},
            preface=preface,
            pages={page.answer.response.grid: [page.words] for page in paged},
        ),
        encoding="utf-8",
    )
    return page


def _chart(folder: Path, found: GridEvaluation) -> bytes:
    """Price and states of the last days, from the frames that the run wrote."""
    from mm_pipeline.adapters.candles.candle_store import CandleStore
    from mm_pipeline.adapters.config.home import frames_dir
    from mm_pipeline.adapters.frames.store import FrameStore
    from mm_pipeline.domain.instants import to_ms
    from mm_pipeline.reporting.charts import state_chart_png

    if found.grid is None:
        raise ValueError(f"{found.grid_id} has no declaration to draw")
    start, end = found.evaluated_at - timedelta(days=CHART_DAYS), found.evaluated_at
    store = FrameStore(str(frames_dir(folder)))
    bars = CandleStore(store).bars(found.grid.market, start_ms=to_ms(start), end_ms=to_ms(end)).bars
    metrics = store.read("regime_metrics_1h", found.grid.market.path_key, start=start, end=end)
    return state_chart_png(bars, found.rows, grid=found.grid, metrics_1h=metrics, days=CHART_DAYS)


def _print(
    reports: list[GridReport], report: Path, paged: list[Paged], *, now: datetime, told: str, folder: Path
) -> None:
    from mm_pipeline.cli.demo.phone import journal_url
    from mm_pipeline.cli.output import stdout
    from mm_pipeline.rendering.terminal.evaluation_tables import evaluation_table, explanation

    console = stdout()
    console.print(evaluation_table(reports, now=now, width=console.width))
    console.print(explanation(reports[0], now=now, width=console.width))
    for line in (line for page in paged for line in page.as_lines()):
        console.print(line, highlight=False, markup=False)
    console.print(told, highlight=False)
    console.print(f"Report: {report}", soft_wrap=True, highlight=False)
    asked = f"mm status --settings {folder / 'settings.yaml'}"
    console.print(f"The demo's journal: MM_JOURNAL_URL={journal_url(folder)} {asked}", soft_wrap=True, highlight=False)
    console.print("Next: mm up (the same with the Dagster UI and schedules), mm --help.", highlight=False)
