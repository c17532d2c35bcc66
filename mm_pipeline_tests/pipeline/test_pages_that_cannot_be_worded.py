"""A fault in the words or the chart of one page keeps neither it nor the pages of other grids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mm_pipeline.application import notify as telling
from mm_pipeline.domain.notifications import EMERGENCY, Decision, Judgement, decide_all
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.pushover import PaperPushover
from mm_pipeline.reporting.pages import chart as page_chart
from mm_pipeline.reporting.pages.text import page_text
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


def test_grid_that_nothing_can_be_decided_about_is_told_of_and_keeps_no_other(
    watch: PagingInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_for_eth(judged: Sequence[Judgement], *rest: Any) -> Any:
        if any(one.grid == "eth" for one in judged):
            raise ZeroDivisionError
        return decide_all(judged, *rest)

    monkeypatch.setattr(telling, "decide_all", fail_for_eth)
    watch.draws = True
    with dg.DagsterInstance.ephemeral() as instance:
        run = watch.tick(AT, instance)
    (check,) = [one for one in run.get_asset_check_evaluations() if one.asset_key == dg.AssetKey("notifications")]
    assert not check.passed
    alarm, worded = sorted(watch.messages(), key=lambda message: "eth" not in message.title)
    assert alarm.title == "BLIND on eth: nothing can be decided about it"
    assert "ZeroDivisionError" in alarm.text
    assert ("other" in worded.title, worded.priority) == (True, EMERGENCY)
    assert (worded.image or b"").startswith(b"\x89PNG")


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
    watch.draws = True
    with dg.DagsterInstance.ephemeral() as instance:
        watch.tick(AT, instance)
    assert [(notice, at) for notice, at, _ in watch.told()] == [("MANDATORY_EXIT", AT)] * 2
    plain, worded = sorted(watch.messages(), key=lambda message: "eth" not in message.title)
    assert (plain.title, plain.priority, plain.image) == ("MANDATORY_EXIT eth", EMERGENCY, None)
    assert plain.text == "MANDATORY_EXIT eth at 2025-03-03 14:00 UTC\nLook at it yourself: mm status"
    assert "other" in worded.title
    assert "touched your stop" in worded.text
