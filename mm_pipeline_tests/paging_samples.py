"""An installation that pages through a paper Pushover, over markets that do as a test says: for the fault tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl
import yaml

from mm_pipeline.adapters.journal import Journal
from mm_pipeline.bootstrap import Overrides
from mm_pipeline.domain.errors import ExchangeUnavailable
from mm_pipeline.paper.pushover import AcceptedMessage, PaperPushover
from mm_pipeline_tests.dagster_samples import Installation, ranging_candles
from mm_pipeline_tests.delivery_process import ENVIRONMENT

START = datetime(2024, 12, 20, tzinfo=UTC)
AT = datetime(2025, 3, 3, 14, tzinfo=UTC)
BAR = timedelta(minutes=15)
MINUTE = timedelta(minutes=1)
DOWN = ExchangeUnavailable("the exchange is away.", "Wait.")


def calm_market() -> pl.DataFrame:
    """A market about 3000, in which the installation's usual grid is NORMAL at ``AT`` and long after."""
    return ranging_candles(START, 80, seed=3)


def with_price(candles: pl.DataFrame, price: float, since: datetime, until: datetime | None = None) -> pl.DataFrame:
    """The market with its bars from a moment on (those opening in ``[since, until)``) about a price."""
    opened = pl.col("open_time")
    is_in = (opened >= since) & (opened < (until or datetime(2100, 1, 1, tzinfo=UTC)))
    columns = {"open": 0.0, "close": 0.0, "high": 1.0, "low": -1.0}
    return candles.with_columns(
        pl.when(is_in).then(pl.lit(price + wide)).otherwise(pl.col(name)).alias(name) for name, wide in columns.items()
    )


@dataclass
class PagingInstallation(Installation):
    """Pages through Pushover's phone first; ``journal_url`` None keeps the journal in the home."""

    pushover: PaperPushover | None = None
    journal_url: str | None = None

    def __post_init__(self) -> None:
        assert self.pushover is not None
        keys = dict(zip(("token_env", "user_env"), ENVIRONMENT, strict=True))
        phone: dict[str, Any] = {"name": "phone", "kind": "pushover", "api_url": self.pushover.url, **keys}
        self.settings = {"channels": [phone]} | self.settings
        super().__post_init__()

    def configure(self, **settings: Any) -> None:
        """Change the settings file."""
        self.settings |= settings
        self.settings_file.write_text(yaml.safe_dump({"grids": "grids"} | self.settings))

    def overrides(self, now: datetime) -> Overrides:
        return replace(super().overrides(now), journal_url=self.journal_url)

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        if self.journal_url is None:
            with super().journal() as journal:
                yield journal
        else:
            with Journal(self.journal_url) as journal:
                yield journal

    def tick(self, evaluated_at: datetime, instance: dg.DagsterInstance, **options: Any) -> dg.ExecuteInProcessResult:
        assert self.pushover is not None
        self.pushover.clock.stand_at(evaluated_at + MINUTE)
        return super().tick(evaluated_at, instance, **options)

    def messages(self) -> list[AcceptedMessage]:
        assert self.pushover is not None
        return list(self.pushover.messages)

    def told(self, *, since: datetime = AT) -> list[tuple[str, datetime, int]]:
        """Notice, evaluation and number of every page about a grid, in the order in which they were decided."""
        with self.journal() as journal:
            made = journal.notifications.decisions(since=since)
        return [
            (one.decision.notice.value, one.decision.evaluated_at, one.decision.number)
            for one in made
            if one.decision.is_told
        ]

    def states(self, grid: str = "eth", *, since: datetime = AT) -> dict[datetime, str]:
        """What was journalled last about each evaluation."""
        with self.journal() as journal:
            return {row.evaluated_at: row.state for row in journal.evaluations(grid, since=since)}
