"""``mm doctor`` against real parts: a paper exchange over HTTP, a real journal, real folders."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mm_pipeline.adapters.config.home import journal_file
from mm_pipeline.adapters.journal import Journal
from mm_pipeline.adapters.journal.database import sqlite_url
from mm_pipeline.adapters.journal.migrations import MIGRATIONS
from mm_pipeline.cli import main
from mm_pipeline.cli.doctor.checks import _clock
from mm_pipeline.cli.doctor.findings import Status
from mm_pipeline.domain.account import OrderApi
from mm_pipeline.domain.market import Market
from mm_pipeline.paper.exchange import PaperExchange
from mm_pipeline.paper.markets.markets import PaperMarket, SimulatedMarket
from mm_pipeline.settings import load_settings
from mm_pipeline_tests.account_samples import READING, TRADING, trading_account
from mm_pipeline_tests.study_samples import write_study
from mm_pipeline_tests.unit.test_cli_grids import grid_file


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("MM_HOME", str(folder))
    monkeypatch.setenv("MM_TEST_CHAT_URL", "json://127.0.0.1:9")
    monkeypatch.setenv("MM_HEARTBEAT_URL", "http://127.0.0.1:9")
    return folder


@pytest.fixture(scope="module")
def paper() -> Iterator[PaperExchange]:
    midnight = datetime.fromtimestamp(time.time() // 86_400 * 86_400, UTC)
    source = SimulatedMarket(seed=1, start=midnight - timedelta(days=1), bars=300)
    markets = [PaperMarket(market=Market(exchange, "ETH/USDT"), source=source) for exchange in ("kucoin", "binance")]
    with PaperExchange(markets=markets) as exchange:
        yield exchange


def deployment(folder: Path, url: str) -> Path:
    """Settings that point to a paper exchange, a channel that leaves the machine, and one good grid."""
    (folder / "grids").mkdir()
    grid_file(folder / "grids", "a.yaml")
    settings = folder / "settings.yaml"
    chat = "channels: [{name: chat, kind: apprise, url_env: MM_TEST_CHAT_URL}]"
    settings.write_text(f"exchange: paper\npaper_url: {url}\n{chat}\n")
    return settings


def examine(settings: Path, *more: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Exit code and findings by check."""
    result = CliRunner().invoke(main, ["doctor", "--settings", str(settings), "--json", *more])
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(result.stdout)["findings"]:
        found.setdefault(finding["check"], []).append(finding)
    return result.exit_code, found


@pytest.mark.parametrize(("offset_ms", "told"), [(-20, "+0.0 s"), (20, "+0.0 s"), (-60, "-0.1 s"), (31_000, "+31.0 s")])
def test_offset_of_the_clock_has_a_sign_where_it_is_one(offset_ms: int, told: str) -> None:
    found = _clock("kucoin", offset_ms, load_settings().exchange_access)
    assert found.seen.startswith(told)
    assert (found.status is Status.OK) is (abs(offset_ms) <= 30_000)


def test_healthy_installation_has_nothing_to_mend(home: Path, tmp_path: Path, paper: PaperExchange) -> None:
    code, found = examine(deployment(tmp_path, paper.url))
    assert code == 0
    assert {finding["status"] for findings in found.values() for finding in findings} == {"ok"}
    assert "listed, newest candle closed" in found["kucoin:ETH/USDT"][0]["seen"]
    offset, against = found["clock"][0]["seen"].split(" s ", 1)
    assert abs(float(offset)) < 5.0, "both clocks are this machine's"
    assert against == "against kucoin, limit 30 s"
    assert not home.exists(), "a doctor makes nothing"


def test_first_month_that_has_not_begun_fails_with_file_and_key(
    home: Path, tmp_path: Path, paper: PaperExchange
) -> None:
    settings = deployment(tmp_path, paper.url)
    settings.write_text(settings.read_text() + 'first_month: "2099-12"\n')
    code, found = examine(settings)
    assert code == 1
    assert "settings.yaml: first_month: 2099-12 is later than the present month" in found["settings"][0]["seen"]


def test_dead_exchange_fails_with_its_mend(home: Path, tmp_path: Path) -> None:
    with PaperExchange(markets=[]) as gone:
        url = gone.url
    code, found = examine(deployment(tmp_path, url))
    assert code == 1
    [finding] = found["exchange kucoin"]
    assert finding["status"] == "fail"
    assert "mm paper-exchange" in finding["hint"]


def test_several_exchanges_are_asked(home: Path, tmp_path: Path, paper: PaperExchange) -> None:
    settings = deployment(tmp_path, paper.url)
    settings.write_text(settings.read_text() + "extra_markets: [binance:ETH/USDT]\n")
    code, found = examine(settings)
    assert code == 0
    assert found["exchange binance"][0]["status"] == found["binance:ETH/USDT"][0]["status"] == "ok"


def test_unlisted_market_fails_and_the_exchange_does_not(home: Path, tmp_path: Path, paper: PaperExchange) -> None:
    settings = deployment(tmp_path, paper.url)
    settings.write_text(settings.read_text() + "extra_markets: [kucoin:XYZ/USDT]\n")
    code, found = examine(settings)
    assert code == 1
    assert found["kucoin:XYZ/USDT"][0]["status"] == "fail"
    assert found["kucoin:ETH/USDT"][0]["status"] == found["exchange kucoin"][0]["status"] == "ok"


def test_bad_grid_fails_with_file_and_key(home: Path, tmp_path: Path, paper: PaperExchange) -> None:
    settings = deployment(tmp_path, paper.url)
    grid_file(tmp_path / "grids", "b.yaml", id="wide", upper="1")
    code, found = examine(settings)
    assert code == 1
    assert [finding["status"] for finding in found["grids"]] == ["fail", "ok"]
    assert "b.yaml: upper" in found["grids"][0]["seen"]


def test_bad_study_is_a_warning_and_no_failure(home: Path, tmp_path: Path, paper: PaperExchange) -> None:
    write_study(home / "studies", "good")
    write_study(home / "studies", "bad", placed="daily")
    code, found = examine(deployment(tmp_path, paper.url))
    assert code == 0
    warning, good = found["studies"]
    assert (warning["status"], good["status"], good["seen"]) == ("warn", "ok", "good")
    assert f"{home}/studies/bad.yaml: placed: (line 3)" in warning["seen"]
    assert warning["hint"] == "Write 'monthly' or 'weekly'."


def test_no_enabled_grid_is_a_warning_and_no_failure(home: Path, tmp_path: Path, paper: PaperExchange) -> None:
    settings = deployment(tmp_path, paper.url)
    grid_file(tmp_path / "grids", "a.yaml", enabled="false")
    code, found = examine(settings)
    assert code == 0
    assert found["grids"][0]["status"] == "warn"


def test_journal_is_opened_and_told(home: Path, tmp_path: Path, paper: PaperExchange) -> None:
    (home / "paper").mkdir(parents=True)
    Journal(sqlite_url(journal_file(home / "paper"))).close()
    _, found = examine(deployment(tmp_path, paper.url))
    assert f"schema {MIGRATIONS[-1].version}, 0 grids" in found["journal"][0]["seen"]


def test_channel_without_its_secret_fails_and_silence_is_warned_of(
    home: Path, tmp_path: Path, paper: PaperExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MM_TEST_CHAT_URL")
    monkeypatch.delenv("MM_HEARTBEAT_URL")
    code, found = examine(deployment(tmp_path, paper.url))
    assert code == 1
    assert (found["channel chat"][0]["status"], found["channels"][0]["status"]) == ("fail", "warn")
    assert "MM_TEST_CHAT_URL is not set" in found["channel chat"][0]["seen"]
    assert found["heartbeat"][0]["status"] == "warn"


def test_key_that_may_trade_fails(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SimulatedMarket(seed=1, start=datetime(2025, 1, 1, tzinfo=UTC), bars=300)
    markets = [PaperMarket(market=Market("kucoin", "ETH/USDT"), source=source)]
    with PaperExchange(markets=markets, accounts=[trading_account()]) as exchange:
        settings = deployment(tmp_path, exchange.url)
        seen = {}
        for key in (READING, TRADING):
            for name, value in zip(("KEY", "SECRET", "PASSPHRASE"), (key.key, key.secret, key.passphrase), strict=True):
                monkeypatch.setenv(f"MM_KUCOIN_{name}", value)
            _, found = examine(settings)
            [seen[key.key]] = found["account"]
    assert seen[READING.key]["status"] == "ok"
    assert "may: General" in seen[READING.key]["seen"]
    assert seen[TRADING.key]["status"] == "fail"
    assert "may do more than read: Spot" in seen[TRADING.key]["seen"]


def test_account_that_trades_elsewhere_than_the_settings_look_fails(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SimulatedMarket(seed=1, start=datetime(2025, 1, 1, tzinfo=UTC), bars=300)
    markets = [PaperMarket(market=Market("kucoin", "ETH/USDT"), source=source)]
    for name, value in zip(
        ("KEY", "SECRET", "PASSPHRASE"), (READING.key, READING.secret, READING.passphrase), strict=True
    ):
        monkeypatch.setenv(f"MM_KUCOIN_{name}", value)
    with PaperExchange(markets=markets, accounts=[trading_account(api=OrderApi.CLASSIC)]) as exchange:
        code, found = examine(deployment(tmp_path, exchange.url))
    assert code == 1
    [problem] = found["account orders"]
    assert (problem["status"], problem["hint"]) == ("fail", "Write account.order_api: classic.")


def test_damaged_journal_fails(home: Path, tmp_path: Path, paper: PaperExchange) -> None:
    (home / "paper").mkdir(parents=True)
    journal_file(home / "paper").write_bytes(b"not a database" * 100)
    code, found = examine(deployment(tmp_path, paper.url))
    assert code == 1
    assert found["journal"][0]["status"] == "fail"


def test_journal_of_the_environment_is_asked_and_its_password_hidden(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paper: PaperExchange
) -> None:
    monkeypatch.setenv("MM_JOURNAL_URL", "postgresql://me:hush-hush@127.0.0.1:1/none")
    code, found = examine(deployment(tmp_path, paper.url))
    assert code == 1
    assert found["journal"][0]["status"] == "fail"
    assert "hush-hush" not in str(found)


def test_file_in_the_place_of_the_home_fails_and_ends_a_run_without_traceback(
    home: Path, tmp_path: Path, paper: PaperExchange
) -> None:
    home.write_text("")
    settings = deployment(tmp_path, paper.url)
    settings.write_text(f"{settings.read_text()}\nlast_resort: {{grace: 1s}}\n")  # a run waits for so long to be sure

    code, found = examine(settings)
    run = CliRunner().invoke(main, ["evaluate", "--settings", str(settings)])

    assert code == 1
    assert (found["home"][0]["status"], found["frames"][0]["status"]) == ("fail", "fail")
    assert run.exit_code == 1
    assert "cannot be opened" in run.output
    assert "Check the path" in run.output


def test_relative_home_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paper: PaperExchange) -> None:
    monkeypatch.setenv("MM_HOME", "relative/home")
    code, found = examine(deployment(tmp_path, paper.url))
    assert code == 1
    assert "relative path" in found["home"][0]["seen"]


def test_secrets_are_named_and_never_printed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paper: PaperExchange
) -> None:
    monkeypatch.setenv("MM_KUCOIN_SECRET", "hush-hush")
    result = CliRunner().invoke(main, ["doctor", "--settings", str(deployment(tmp_path, paper.url))])
    assert "MM_KUCOIN_SECRET set, not shown" in result.output
    assert "hush-hush" not in result.output


def test_every_setting_is_shown_with_unit_bounds_and_source() -> None:
    result = CliRunner().invoke(main, ["doctor", "--show-settings", "--policy", "seed", "--json"])
    assert result.exit_code == 0
    settings = {setting["key"]: setting for setting in json.loads(result.stdout)}
    count = settings["exit_state.closes_outside.count"]
    assert (count["value"], count["unit"], count["bounds"]) == (2, "closes", ">= 1, <= 96")
    assert count["source"]


def test_unknown_policy_lists_the_known_ones() -> None:
    result = CliRunner().invoke(main, ["doctor", "--policy", "bold"])
    assert result.exit_code == 2
    assert "calibrated, seed" in result.stderr
