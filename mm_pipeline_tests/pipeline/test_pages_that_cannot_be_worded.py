"""A fault in the words or the chart of one page keeps neither it nor the pages of other grids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mm_pipeline.assets import telling
from mm_pipeline.domain.notifications import EMERGENCY, Decision
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.pushover import PaperPushover
from mm_pipeline.reporting import page_chart
from mm_pipeline.reporting.page_text import page_text
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, ETH, FixedSources
from mm_pipeline_tests.delivery_process import ENVIRONMENT
from mm_pipeline_tests.paging_samples import AT, BAR, PagingInstallation, calm_market, with_price

pytestmark = DAGSTER_WARNINGS


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PagingInstallation]:
    for name, key in ENVIRONMENT.items():
        monkeypatch.setenv(name, key)
    with PaperPushover(clock=PaperClock.standing(AT)) as pushover:
        falling = with_price(calm_market(), 2750.0, AT - BAR)
        made = PagingInstallation(tmp_path, FixedSources({ETH: falling}), pushover=pushover)
        made.grid("eth")
        made.grid("other")
        yield made


def test_page_that_cannot_be_worded_or_drawn_goes_in_plain_words_beside_the_others(
    watch: PagingInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_for_eth(told: Sequence[Decision], *rest: Any, **options: Any) -> Any:
        if told[0].grid == "eth":
            raise ZeroDivisionError
        return page_text(told, *rest, **options)

    def fail(*_: object, **__: object) -> bytes:
        raise RuntimeError("no font")

    monkeypatch.setattr(telling, "page_text", fail_for_eth)
    monkeypatch.setattr(page_chart, "page_chart_png", fail)
    with dg.DagsterInstance.ephemeral() as instance:
        watch.tick(AT, instance)
    assert [(notice, at) for notice, at, _ in watch.told()] == [("MANDATORY_EXIT", AT)] * 2
    plain, worded = sorted(watch.messages(), key=lambda message: "eth" not in message.title)
    assert (plain.title, plain.priority, plain.image) == ("MANDATORY_EXIT eth", EMERGENCY, None)
    assert plain.text == "MANDATORY_EXIT eth at 2025-03-03 14:00 UTC\nLook at it yourself: mm status"
    assert "other" in worded.title
    assert "Why now" in worded.text
