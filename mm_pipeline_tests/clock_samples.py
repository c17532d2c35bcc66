"""An installation on the paper exchange over HTTP whose own clock may be off while the exchange's is right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl

from mm_pipeline.application.plan import floor_to_evaluation
from mm_pipeline.bootstrap import Overrides
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.market import Market
from mm_pipeline.orchestration.code_location import build_definitions
from mm_pipeline.orchestration.jobs import EVALUATION_JOB, tick_request
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.exchange import PaperExchange
from mm_pipeline.paper.http.http_server import HttpServer
from mm_pipeline.paper.http.wire import Answer
from mm_pipeline.paper.markets.markets import PaperMarket, RecordedCandles
from mm_pipeline.paper.pushover import PaperPushover
from mm_pipeline_tests.dagster_samples import ETH, QUIET, FixedSources, metadata_of, quick_run, ranging_candles
from mm_pipeline_tests.paging_samples import BAR, MINUTE, PagingInstallation, with_price

AT = datetime(2024, 3, 3, 14, tzinfo=UTC)
"""More than a year ago, so that Dagster knows the months of a clock that is a year ahead."""
PATIENCE = {
    "attempts": 1,
    "deadline": "5min",
    "request_timeout": "1min",
    "backoff_initial": "0s",
    "backoff_jitter": "0s",
    "breaker_failures": 20,
}


def calm_market() -> pl.DataFrame:
    """A market about 3000 in which a grid of 2900 to 3100 is NORMAL at ``AT`` and long after."""
    return ranging_candles(datetime(2023, 12, 20, tzinfo=UTC), 80, seed=3)


class Heart:
    """A monitor that counts the beats it gets."""

    def __init__(self) -> None:
        self.beats = 0
        self._server = HttpServer("127.0.0.1", 0, self._answer)
        self._server.start()

    @property
    def url(self) -> str:
        """What is asked after each good tick."""
        return f"http://127.0.0.1:{self._server.server_port}/beat"

    def stop(self) -> None:
        """Stop the server."""
        self._server.stop()

    def _answer(self, _method: str, _target: str, _headers: dict[str, str], _body: bytes) -> Answer:
        self.beats += 1
        return Answer(status=200, payload={})


@dataclass
class ClockedInstallation(PagingInstallation):
    """Asks the paper exchange; each tick has a true time and the time that the machine's clock shows."""

    paper: PaperExchange | None = None
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)

    def __post_init__(self) -> None:
        if self.paper is not None:
            access = {"exchange": "paper", "paper_url": self.paper.url, "exchange_access": PATIENCE}
            self.settings = access | self.settings
        super().__post_init__()
        self.grid("eth", started_at="2024-03-01T00:00:00Z")

    def overrides(self, now: datetime) -> Overrides:
        given = super().overrides(now)
        return given if self.paper is None else replace(given, sources=None)

    def told(self, *, since: datetime = AT) -> list[tuple[str, datetime, int]]:
        return super().told(since=since)

    def states(self, grid: str = "eth", *, since: datetime = AT) -> dict[datetime, str]:
        return super().states(grid, since=since)

    def tick_shown(self, true_close: datetime, *, ahead: timedelta = timedelta(0)) -> dict[str, object]:
        """The tick a minute after a true close, asked for as the schedule does; metadata of ``deliveries``."""
        true_now = true_close + MINUTE
        for server in (self.paper, self.pushover):
            if server is not None:
                server.clock.stand_at(true_now)
        shown = true_now + ahead
        evaluated_ms = floor_to_evaluation(shown)
        with self.watch(shown) as watch:
            request = tick_request(watch.decisions(), evaluated_ms, run_key="", first_month=watch.settings.first_month)
        job = build_definitions(self.overrides(shown)).resolve_job_def(EVALUATION_JOB)
        with quick_run():
            result = job.execute_in_process(
                instance=self.instance, partition_key=request.partition_key, tags=dict(request.tags), run_config=QUIET
            )
        return metadata_of(result, "deliveries")

    def times(self) -> list[datetime]:
        """Every time in the journal that says when something is, or was recorded."""
        with self.journal() as journal:
            evaluations = journal.evaluations()
            decided = journal.notifications.decisions()
            return [
                *(row.evaluated_at for row in evaluations),
                *(row.recorded_at for row in evaluations),
                *(one.decision.evaluated_at for one in decided),
                *(one.decided_at for one in decided),
                *(page.decided_at for page in journal.notifications.pages()),
                *(page.evaluated_at for page in journal.notifications.pages()),
                *(event.at for event in journal.outbox.events()),
                *(notice.tick_at for notice in journal.notices()),
                *(answer.recorded_at for answer in journal.responses.select()),
                *(row.seen_at for grid in journal.known_grids() for row in journal.grid_history(grid)),
            ]


@contextmanager
def served(folder: Path, candles: Mapping[Market, pl.DataFrame]) -> Iterator[PaperExchange]:
    """A paper exchange that serves these candles; its clock stands at ``AT``."""
    markets = []
    for market, frame in candles.items():
        file = folder / f"{market.path_key}.parquet"
        frame.write_parquet(file)
        markets.append(PaperMarket(market=market, source=RecordedCandles(path=file)))
    with PaperExchange(markets=markets, clock=PaperClock.standing(AT)) as exchange:
        yield exchange


@contextmanager
def clocked(
    folder: Path, candles: pl.DataFrame, others: Mapping[Market, pl.DataFrame] | None = None
) -> Iterator[ClockedInstallation]:
    """An installation over a served market of ETH/USDT, and others where given, with a paper phone."""
    with (
        served(folder, {ETH: candles} | dict(others or {})) as paper,
        PaperPushover(clock=PaperClock.standing(AT)) as pushover,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        yield ClockedInstallation(folder, FixedSources({}), pushover=pushover, paper=paper, instance=instance)


def crashing(candles: pl.DataFrame, since: datetime) -> pl.DataFrame:
    """The market with its price below the stop from a moment on."""
    return with_price(candles, 2700.0, since)


def quarter(at: datetime) -> datetime:
    """The newest 15m close at or before a moment."""
    return from_ms(floor_to_evaluation(at))


__all__ = [
    "AT",
    "BAR",
    "MINUTE",
    "ClockedInstallation",
    "Heart",
    "calm_market",
    "clocked",
    "crashing",
    "quarter",
    "served",
]
