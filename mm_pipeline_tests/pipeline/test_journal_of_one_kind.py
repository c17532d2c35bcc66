"""A journal that real and simulated markets share by a slip: each tick and each command refuses the other kind."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from mm_pipeline.adapters.journal import sqlite_url
from mm_pipeline.cli.journal_access import open_journal
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.pushover import PaperPushover
from mm_pipeline.settings import load_deployment
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, ETH, FixedSources
from mm_pipeline_tests.delivery_process import ENVIRONMENT
from mm_pipeline_tests.paging_samples import AT, BAR, PagingInstallation, calm_market

pytestmark = DAGSTER_WARNINGS


def test_tick_and_command_of_paper_markets_refuse_the_journal_of_real_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, key in ENVIRONMENT.items():
        monkeypatch.setenv(name, key)
    with PaperPushover(clock=PaperClock.standing(AT)) as phone, dg.DagsterInstance.ephemeral() as instance:
        url = sqlite_url(tmp_path / "shared.db")
        sources = FixedSources({ETH: calm_market()})
        watch = PagingInstallation(tmp_path, sources, pushover=phone, journal_url=url)
        watch.grid("eth")
        watch.configure(exchange="kucoin")
        assert watch.tick(AT, instance).success
        watch.configure(exchange="paper", last_resort={"grace": "0s"})
        assert not watch.tick(AT + BAR, instance, raises=False).success
        assert [message.title for message in phone.messages] == ["THE WATCH CANNOT PAGE: its storage fails"]
        assert "is of real markets" in phone.messages[0].text
        with watch.journal() as journal:
            assert {row.evaluated_at for row in journal.evaluations()} == {AT}
        monkeypatch.setenv("MM_JOURNAL_URL", url)
        with pytest.raises(StorageError, match="is of real markets, and these settings watch paper ones"):
            open_journal(load_deployment(watch.settings_file))
