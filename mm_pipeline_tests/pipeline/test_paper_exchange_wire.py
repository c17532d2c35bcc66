"""The KuCoin dialect on the wire: fields, types, order and headers equal the recorded answers."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from mm_pipeline.domain.market import Market
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.exchange import PaperExchange
from mm_pipeline.paper.http.rate_limit import RateLimit
from mm_pipeline.paper.markets.markets import PaperMarket, SimulatedMarket

START = datetime(2025, 1, 1, tzinfo=UTC)
START_S = 1_735_689_600
NOW = datetime(2025, 1, 20, 12, 5, tzinfo=UTC)
NOW_S = 1_737_374_700
SOURCE = SimulatedMarket(seed=1, start=START, bars=3000, quiet_share=0.05)
BTC = PaperMarket(market=Market("kucoin", "BTC/USDT"), source=SOURCE)
ETH = PaperMarket(market=Market("kucoin", "ETH/USDT"), source=SOURCE)


@pytest.fixture(scope="module")
def paper() -> Iterator[PaperExchange]:
    with PaperExchange(markets=[BTC, ETH], clock=PaperClock.standing(NOW)) as exchange:
        yield exchange


@pytest.fixture(scope="module")
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def _get(http: requests.Session, paper: PaperExchange, target: str) -> requests.Response:
    return http.get(paper.base_url("kucoin") + target, timeout=5)


def _shape(value: Any) -> Any:
    """The JSON types of a value: of an object by field, of an array by its first element."""
    if isinstance(value, dict):
        return {name: _shape(field) for name, field in value.items()}
    if isinstance(value, list):
        return [_shape(value[0])] if value else []
    return type(value).__name__


def _recorded(recorded_data: Path) -> dict[str, Any]:
    """Recorded bodies by path, the vendor's samples and those recorded from a live account."""
    folder = recorded_data / "kucoin_wire"
    samples = json.loads((folder / "sdk_spot_market.json").read_text())
    bodies = {entry["path"]: entry["response"]["body"] for entry in samples}
    live = json.loads((folder / "ccxt_recorded_responses.json").read_text())
    bodies |= {entry["path"]: entry["body"] for entry in live}
    return bodies


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/api/v1/timestamp", "/api/v1/timestamp"),
        ("/api/v1/status", "/api/v1/status"),
        ("/api/v2/symbols", "/api/v2/symbols"),
        ("/api/v2/symbols/{symbol}", "/api/v2/symbols/BTC-USDT"),
        ("/api/v3/currencies/{currency}", "/api/v3/currencies/BTC"),
        ("/api/v1/market/candles", f"/api/v1/market/candles?symbol=BTC-USDT&type=1hour&startAt={START_S}"),
        ("/api/v1/market/stats", "/api/v1/market/stats?symbol=BTC-USDT"),
        ("/api/v1/market/allTickers", "/api/v1/market/allTickers"),
        ("/api/v1/market/orderbook/level1", "/api/v1/market/orderbook/level1?symbol=BTC-USDT"),
    ],
)
def test_answer_has_the_fields_and_types_of_the_recorded_one(
    paper: PaperExchange, http: requests.Session, recorded_data: Path, path: str, target: str
) -> None:
    answer = _get(http, paper, target)
    assert answer.status_code == 200
    assert _shape(answer.json()) == _shape(_recorded(recorded_data)[path])


def test_all_currencies_are_entries_like_the_single_one(paper: PaperExchange, http: requests.Session) -> None:
    entries = _get(http, paper, "/api/v3/currencies").json()["data"]
    assert [entry["currency"] for entry in entries] == ["BTC", "USDT", "ETH"]
    assert entries[0] == _get(http, paper, "/api/v3/currencies/BTC").json()["data"]


def test_candles_are_text_rows_newest_first_without_quiet_bars(paper: PaperExchange, http: requests.Session) -> None:
    target = f"/api/v1/market/candles?symbol=ETH-USDT&type=15min&startAt={START_S}&endAt={START_S + 100 * 900}"
    rows = _get(http, paper, target).json()["data"]
    frame = SOURCE.load(price_increment=0.01).head(100)
    traded = frame.filter(frame["volume"] > 0).reverse()
    assert len(rows) == len(traded) < 100
    for row, bar in zip(rows, traded.iter_rows(named=True), strict=True):
        seconds, opened, close, high, low, volume, turnover = row
        assert seconds == str(int(bar["open_time"].timestamp()))
        assert [float(text) for text in (opened, close, high, low, volume)] == [
            bar["open"],
            bar["close"],
            bar["high"],
            bar["low"],
            bar["volume"],
        ]
        assert bar["low"] * bar["volume"] <= float(turnover) + 1e-6
        assert float(turnover) - 1e-6 <= bar["high"] * bar["volume"]


def test_candle_window_takes_start_and_leaves_end(paper: PaperExchange, http: requests.Session) -> None:
    target = "/api/v1/market/candles?symbol=ETH-USDT&type=1hour&startAt={}&endAt={}"
    rows = _get(http, paper, target.format(START_S + 1, START_S + 3 * 3600)).json()["data"]
    assert [int(row[0]) - START_S for row in rows] == [7200, 3600]


def test_candles_without_window_are_an_empty_list_as_recorded(
    paper: PaperExchange, http: requests.Session, recorded_data: Path
) -> None:
    errors = json.loads((recorded_data / "kucoin_wire" / "errors.json").read_text())
    recorded = next(entry["body"] for entry in errors["observed"] if entry.get("body", {}).get("data") == [])
    assert _get(http, paper, "/api/v1/market/candles?symbol=ETH-USDT&type=7min").json()["code"] == "400100"
    assert _get(http, paper, "/api/v1/market/candles?symbol=ETH-USDT&type=15min").json() == recorded


def test_more_than_1500_candles_are_cut_to_the_newest(paper: PaperExchange, http: requests.Session) -> None:
    target = f"/api/v1/market/candles?symbol=ETH-USDT&type=15min&startAt={START_S}&endAt={NOW_S}"
    rows = _get(http, paper, target).json()["data"]
    assert len(rows) == 1500
    assert int(rows[0][0]) == NOW_S // 900 * 900
    assert int(rows[-1][0]) > START_S


def test_open_candle_is_sent_and_changes_with_time(paper: PaperExchange, http: requests.Session) -> None:
    target = f"/api/v1/market/candles?symbol=ETH-USDT&type=1hour&startAt={NOW_S // 3600 * 3600}"
    early = _get(http, paper, target).json()["data"]
    paper.clock.stand_at(NOW.replace(minute=50))
    later = _get(http, paper, target).json()["data"]
    paper.clock.stand_at(NOW)
    assert len(early) == len(later) == 1
    assert early[0][:2] == later[0][:2]
    assert float(early[0][5]) < float(later[0][5])


def test_headers_are_those_of_a_recorded_answer(
    paper: PaperExchange, http: requests.Session, recorded_data: Path
) -> None:
    recorded = json.loads((recorded_data / "kucoin_wire" / "response_headers.json").read_text())["headers"]
    headers = _get(http, paper, "/api/v1/timestamp").headers
    own = [name for name in recorded if name.lower().startswith(("gw-", "x-"))]
    assert len(own) == 6
    assert all(name in headers for name in own)
    assert headers["gw-ratelimit-limit"] == recorded["gw-ratelimit-limit"]
    assert 0 < int(headers["gw-ratelimit-reset"]) <= 30_000
    assert headers["X-RESULT-BIZ-CODE"] == "200000"
    assert headers["x-in-time"] == f"5-{NOW_S}000000000"


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/api/v1/nothing", 404, "404000"),
        ("/api/v1/accounts", 401, "400001"),
        ("/api/v1/market/candles?symbol=XRP-USDT&type=15min&startAt=1", 200, "400100"),
        ("/api/v1/market/candles?symbol=ETH-USDT&type=7min&startAt=1", 200, "400100"),
        ("/api/v1/market/candles?symbol=ETH-USDT&type=15min&startAt=x", 400, "400100"),
        ("/api/v1/market/stats", 200, "400100"),
        ("/api/v2/symbols/XRP-USDT", 200, "900001"),
        ("/api/v3/currencies/XRP", 200, "900003"),
    ],
)
def test_refusal_is_code_and_msg(
    paper: PaperExchange, http: requests.Session, target: str, status: int, code: str
) -> None:
    answer = _get(http, paper, target)
    assert answer.status_code == status
    assert answer.json()["code"] == code
    assert set(answer.json()) == {"code", "msg"}
    assert answer.headers["X-RESULT-BIZ-CODE"] == code


def test_exhausted_public_pool_answers_429000_as_recorded(http: requests.Session, recorded_data: Path) -> None:
    errors = json.loads((recorded_data / "kucoin_wire" / "errors.json").read_text())
    recorded = next(entry["body"] for entry in errors["observed"] if entry["http_status"] == 429)
    limit = RateLimit(limit=7, window_s=30)
    with PaperExchange(markets=[ETH], clock=PaperClock.standing(NOW), kucoin_public_limit=limit) as small:
        answers = [_get(http, small, "/api/v1/timestamp") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[2].json() == recorded
        assert [answer.headers["gw-ratelimit-remaining"] for answer in answers] == ["4", "1", "1"]
        assert 0 < int(answers[2].headers["gw-ratelimit-reset"]) <= 30_000


def test_truth_and_state_are_the_servers_own(paper: PaperExchange, http: requests.Session) -> None:
    truth = http.get(f"{paper.url}/paper/truth?symbol=ETH-USDT", timeout=5).json()
    frame = SOURCE.load(price_increment=0.01)
    assert truth["market"] == "kucoin:ETH/USDT"
    assert [row[1] for row in truth["rows"]] == frame["true_regime"].head(len(truth["rows"])).to_list()
    assert truth["rows"][-1][0] == (NOW_S // 900 - 1) * 900_000
    state = http.get(f"{paper.url}/paper/state", timeout=5).json()
    assert state["now_ms"] == NOW_S * 1000
    assert [market["market"] for market in state["markets"]] == ["kucoin:BTC/USDT", "kucoin:ETH/USDT"]
    assert http.get(f"{paper.url}/paper/truth?symbol=XRP-USDT", timeout=5).status_code == 404
    assert http.get(f"{paper.url}/kraken/0/public/Time", timeout=5).status_code == 404
