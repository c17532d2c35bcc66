"""ccxt's own kucoin class signs in on the paper exchange, trades, and is refused as on the real one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import ccxt
import pytest
import requests

from mm_pipeline.domain.account import OrderApi
from mm_pipeline.paper.exchange import PaperExchange
from mm_pipeline.paper.http.rate_limit import RateLimit
from mm_pipeline.paper.trading.account import PartFills
from mm_pipeline_tests.account_samples import (
    NOW_MS,
    READING,
    STARTED,
    TRADING,
    paper_with,
    signing_client,
    traded_grid,
    trading_account,
)

SEED = 3
SYMBOL = "ETH/USDT"
HEADERS = ("kc-api-key", "kc-api-sign", "kc-api-timestamp", "kc-api-passphrase")


@pytest.fixture
def paper() -> Iterator[PaperExchange]:
    account = trading_account(balances={"USDT": "10000", "ETH": "3"})
    with paper_with(account, seed=SEED) as running:
        yield running


@pytest.fixture(params=[True, False], ids=["hf", "classic"])
def client(request: pytest.FixtureRequest, paper: PaperExchange) -> Iterator[Any]:
    made = signing_client(paper, is_hf=request.param)
    made.load_markets()
    yield made
    made.session.close()


def price_now(paper: PaperExchange) -> float:
    price = paper.state()["markets"][0]["last_price"]
    assert isinstance(price, float)
    return price


def test_limit_order_rests_holds_its_funds_and_gives_them_back(paper: PaperExchange, client: Any) -> None:
    limit = round(price_now(paper) * 0.9, 2)
    placed = client.create_order(SYMBOL, "limit", "buy", 0.5, limit)

    orders = client.fetch_open_orders(SYMBOL)
    assert [(order["id"], order["price"], order["amount"], order["filled"]) for order in orders] == [
        (placed["id"], limit, 0.5, 0.0)
    ]
    usdt = paper.desks[0].balances
    assert usdt.held("USDT") == Decimal(str(limit)) * Decimal("0.5") * Decimal("1.001")
    client.cancel_order(placed["id"], SYMBOL)
    assert client.fetch_open_orders(SYMBOL) == []
    assert (usdt.available("USDT"), usdt.held("USDT")) == (Decimal(10000), Decimal(0))
    closed = client.fetch_closed_orders(SYMBOL)
    assert [(order["id"], order["status"]) for order in closed] == [(placed["id"], "canceled")]
    with pytest.raises(ccxt.OrderNotFound, match="order_not_exist_or_not_allow_to_cancel"):
        client.cancel_order(placed["id"], SYMBOL)


def test_marketable_orders_fill_at_once_as_taker(paper: PaperExchange, client: Any) -> None:
    price = price_now(paper)
    client.create_order(SYMBOL, "market", "sell", 1.0)
    client.create_order(SYMBOL, "limit", "buy", 0.25, round(price * 1.01, 2))

    trades = client.fetch_my_trades(SYMBOL)

    assert [(trade["side"], trade["price"], trade["amount"], trade["takerOrMaker"]) for trade in trades] == [
        ("sell", price, 1.0, "taker"),
        ("buy", price, 0.25, "taker"),
    ]
    assert trades[0]["fee"] == {"cost": pytest.approx(price * 0.001), "currency": "USDT", "rate": 0.001}
    order = client.fetch_order(trades[0]["order"], SYMBOL)
    assert (order["status"], order["filled"]) == ("closed", 1.0)


def test_resting_order_fills_at_its_own_price_when_the_path_touches_it(paper: PaperExchange, client: Any) -> None:
    low = price_now(paper) - 1.0
    client.create_order(SYMBOL, "limit", "buy", 0.5, round(low, 2))
    for _ in range(400):
        paper.clock.advance(timedelta(minutes=15))
        if not client.fetch_open_orders(SYMBOL):
            break

    trade = client.fetch_my_trades(SYMBOL)[-1]

    assert (trade["price"], trade["takerOrMaker"]) == (round(low, 2), "maker")
    bar_ms = trade["timestamp"] // 900_000 * 900_000
    bar = client.fetch_ohlcv(SYMBOL, "15m", since=bar_ms, limit=1)[0]
    assert bar[3] <= trade["price"] <= bar[2]
    earlier = client.fetch_ohlcv(SYMBOL, "15m", since=NOW_MS, limit=500)
    assert all(row[3] > trade["price"] for row in earlier if row[0] < bar_ms)


def test_balances_are_of_the_accounts_own_type(paper: PaperExchange) -> None:
    client = signing_client(paper)
    assert client.fetch_balance()["ETH"] == {"free": 3.0, "used": 0.0, "total": 3.0}
    assert client.privateGetHfAccountsOpened()["data"] is True
    assert client.privateGetAccounts({"type": "main"})["data"] == []
    client.session.close()


@pytest.mark.parametrize(
    ("order", "error", "message"),
    [
        (("limit", "buy", "0.00000001", "3000"), ccxt.InvalidOrder, "Order size below the minimum requirement."),
        (("limit", "buy", "0.00000015", "3000"), ccxt.InvalidOrder, "Order size increment invalid."),
        (("limit", "buy", "1", "3000.001"), ccxt.BadRequest, "Price increment invalid."),
        (("limit", "buy", "4000", "3000"), ccxt.InsufficientFunds, "Balance insufficient!"),
        (("limit", "sell", "3.1", "9000"), ccxt.InsufficientFunds, "Balance insufficient!"),
        (("stop", "sell", "1", "9000"), ccxt.BadRequest, "Invalid Parameter."),
        (("limit", "hold", "1", "9000"), ccxt.BadRequest, "Invalid Parameter."),
        (("limit", "buy", "many", "9000"), ccxt.BadRequest, "Invalid Parameter."),
    ],
)
@pytest.mark.parametrize("call", ["privatePostHfOrders", "privatePostOrders"])
def test_bad_order_is_refused_as_by_the_real_one(
    paper: PaperExchange, call: str, order: tuple[str, ...], error: type[Exception], message: str
) -> None:
    kind, side, size, price = order
    client = signing_client(paper)
    body = {"clientOid": "c", "symbol": "ETH-USDT", "type": kind, "side": side, "size": size, "price": price}
    with pytest.raises(error, match=message):
        getattr(client, call)(body)
    with pytest.raises(ccxt.ExchangeError, match="symbol not exists"):
        getattr(client, call)(body | {"symbol": "XRP-USDT"})
    client.session.close()
    assert paper.desks[0].orders == []


def test_post_only_order_that_would_fill_is_refused(paper: PaperExchange, client: Any) -> None:
    price = price_now(paper)
    with pytest.raises(ccxt.InvalidOrder, match="postOnly"):
        client.create_order(SYMBOL, "limit", "sell", 1.0, round(price * 0.9, 2), {"postOnly": True})
    client.create_order(SYMBOL, "limit", "sell", 1.0, round(price * 1.1, 2), {"postOnly": True})
    assert client.fetch_open_orders(SYMBOL)[0]["postOnly"] is True


def test_cancelling_all_takes_only_that_apis_orders(paper: PaperExchange) -> None:
    hf, classic = signing_client(paper), signing_client(paper, is_hf=False)
    for client in (hf, classic):
        client.create_order(SYMBOL, "limit", "sell", 1.0, round(price_now(paper) * 1.1, 2))
    hf.cancel_all_orders(SYMBOL)
    assert (len(hf.fetch_open_orders(SYMBOL)), len(classic.fetch_open_orders(SYMBOL))) == (0, 1)
    classic.cancel_all_orders()
    assert classic.fetch_open_orders(SYMBOL) == []
    sync = hf.create_order(SYMBOL, "limit", "sell", 1.0, round(price_now(paper) * 1.1, 2), {"sync": True})
    assert sync["id"] == hf.fetch_open_orders(SYMBOL)[0]["id"]
    hf.privateDeleteHfOrdersCancelAll()
    assert hf.fetch_open_orders(SYMBOL) == []
    hf.session.close()
    classic.session.close()


@pytest.fixture(scope="module", params=list(OrderApi))
def traded(request: pytest.FixtureRequest) -> Iterator[tuple[PaperExchange, Any]]:
    account = trading_account(traded_grid(SEED), api=request.param, part_fills=PartFills(parts=4))
    with paper_with(account, seed=SEED) as paper:
        client = signing_client(paper, READING, is_hf=request.param is OrderApi.HF)
        yield paper, client
        client.session.close()


def test_fills_are_paged_without_loss_or_repetition(traded: tuple[PaperExchange, Any]) -> None:
    paper, client = traded
    is_hf = client.options["hf"]
    week = {"symbol": "ETH-USDT", "startAt": NOW_MS - 7 * 86_400_000, "endAt": NOW_MS}
    paper.desks[0].advance()
    expected = [trade for trade in paper.desks[0].trades if week["startAt"] <= trade.at_ms <= NOW_MS]
    assert len(expected) > 20
    found: list[Any] = []
    cursor: Any = None
    while True:
        if is_hf:
            page = client.privateGetHfFills(week | {"limit": 7} | ({"lastId": cursor} if cursor else {}))["data"]
            cursor = page["lastId"]
        else:
            page = client.privateGetFills(week | {"pageSize": 7, "currentPage": cursor or 1})["data"]
            assert page["totalPage"] == -(-len(expected) // 7)
            cursor = page["currentPage"] + 1
        if not page["items"]:
            break
        assert len(page["items"]) <= 7
        found += page["items"]
    assert [item["createdAt"] for item in found] == [trade.at_ms for trade in reversed(expected)]
    assert len({item["tradeId"] for item in found}) == len(expected)


def test_windows_are_a_week_at_most_and_a_week_where_one_end_is_told(traded: tuple[PaperExchange, Any]) -> None:
    paper, client = traded
    week_ms = 7 * 86_400_000
    ask = client.privateGetHfFills if client.options["hf"] else client.privateGetFills
    rows = {"limit": 100} if client.options["hf"] else {"pageSize": 500}
    with pytest.raises(ccxt.BadRequest, match="timeRangeInvalid"):
        ask({"symbol": "ETH-USDT", "startAt": NOW_MS - week_ms - 1, "endAt": NOW_MS})
    start_ms = paper.desks[0].trades[-1].at_ms - week_ms // 2

    def times(window: dict[str, int]) -> list[int]:
        return [item["createdAt"] for item in ask({"symbol": "ETH-USDT"} | rows | window)["data"]["items"]]

    both = times({"startAt": start_ms, "endAt": start_ms + week_ms})
    assert both == times({"startAt": start_ms}) == times({"endAt": start_ms + week_ms})
    assert both
    trades = paper.desks[0].trades
    assert times({}) == [trade.at_ms for trade in reversed(trades) if trade.at_ms >= NOW_MS - 86_400_000]


@pytest.mark.parametrize(("api", "rows"), [("hf", {"limit": 101}), ("classic", {"pageSize": 501})])
def test_pages_are_no_longer_than_the_exchange_gives(paper: PaperExchange, api: str, rows: dict[str, int]) -> None:
    client = signing_client(paper)
    ask = client.privateGetHfFills if api == "hf" else client.privateGetFills
    with pytest.raises(ccxt.BadRequest, match="should not greater than"):
        ask({"symbol": "ETH-USDT"} | rows)
    client.session.close()


def signed_headers(
    target: str, *, at_ms: int, method: str = "GET", body: str = "", version: str = "2"
) -> dict[str, str]:
    def sign(message: str) -> str:
        return base64.b64encode(hmac.new(TRADING.secret.encode(), message.encode(), hashlib.sha256).digest()).decode()

    return {
        "kc-api-key": TRADING.key,
        "kc-api-sign": sign(f"{at_ms}{method}{target}{body}"),
        "kc-api-timestamp": str(at_ms),
        "kc-api-passphrase": TRADING.passphrase if version == "1" else sign(TRADING.passphrase),
        "kc-api-key-version": version,
    }


def get(paper: PaperExchange, target: str, headers: dict[str, str]) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(paper.base_url("kucoin") + target, headers=headers, timeout=5)


@pytest.mark.parametrize("version", ["1", "2", "3"])
def test_signature_of_every_key_version_is_taken(paper: PaperExchange, version: str) -> None:
    target = "/api/v1/accounts?currency=ETH"
    answer = get(paper, target, signed_headers(target, at_ms=NOW_MS, version=version))
    assert [entry["balance"] for entry in answer.json()["data"]] == ["3"]


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        *[({name: ""}, "400001") for name in HEADERS],
        ({"kc-api-timestamp": "soon"}, "400002"),
        ({"kc-api-key": "another"}, "400003"),
        ({"kc-api-passphrase": "another"}, "400004"),
        ({"kc-api-sign": "another"}, "400005"),
    ],
)
def test_wrong_header_is_refused_by_its_own_code(paper: PaperExchange, changed: dict[str, str], code: str) -> None:
    target = "/api/v1/accounts"
    answer = get(paper, target, signed_headers(target, at_ms=NOW_MS) | changed)
    assert (answer.status_code, answer.json()["code"]) == (401, code)


@pytest.mark.parametrize(("off_ms", "code"), [(-5000, "400002"), (-4999, "200000"), (4999, "200000"), (5000, "400002")])
def test_timestamp_is_taken_within_five_seconds(paper: PaperExchange, off_ms: int, code: str) -> None:
    target = "/api/v1/accounts"
    assert get(paper, target, signed_headers(target, at_ms=NOW_MS + off_ms)).json()["code"] == code


def test_signature_covers_method_query_and_body(paper: PaperExchange) -> None:
    signed = "/api/v1/fills?symbol=ETH-USDT"
    headers = signed_headers(signed, at_ms=NOW_MS)
    assert get(paper, signed, headers).json()["code"] == "200000"
    assert get(paper, f"{signed}&side=buy", headers).json()["code"] == "400005"
    body = json.dumps({"clientOid": "c", "symbol": "ETH-USDT", "type": "market", "side": "sell", "size": "1"})
    target = "/api/v1/orders"
    with requests.Session() as session:
        session.trust_env = False
        forged = session.post(
            paper.base_url("kucoin") + target,
            data=body.replace('"1"', '"3"'),
            headers=signed_headers(target, at_ms=NOW_MS, method="POST", body=body),
            timeout=5,
        )
    assert forged.json()["code"] == "400005"
    assert paper.desks[0].orders == []


def test_key_without_the_permission_cannot_trade(paper: PaperExchange) -> None:
    client = signing_client(paper, READING)
    with pytest.raises(ccxt.AuthenticationError, match=r"400007.*require more permission"):
        client.create_order(SYMBOL, "market", "sell", 1.0)
    assert client.privateGetUserApiKey()["data"]["permission"] == "General"
    client.session.close()


def test_pool_of_an_account_is_limited_and_says_when_it_resets() -> None:
    limit = RateLimit(limit=5, window_s=0.2)
    with paper_with(trading_account(), seed=SEED, kucoin_spot_limit=limit) as paper:
        target = "/api/v1/hf/fills?symbol=ETH-USDT"
        answers = [get(paper, target, signed_headers(target, at_ms=NOW_MS)) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[2].json()["code"] == "429000"
        assert answers[2].headers["gw-ratelimit-limit"] == "5"
        time.sleep(int(answers[2].headers["gw-ratelimit-reset"]) / 1000 + 0.01)
        assert get(paper, target, signed_headers(target, at_ms=NOW_MS)).status_code == 200


def _shape(value: Any) -> Any:
    """The JSON types of a value; a text that is not told counts as text."""
    if isinstance(value, dict):
        return {name: _shape(field) for name, field in value.items()}
    if isinstance(value, list):
        return [_shape(value[0])] if value else []
    return "str" if value is None else type(value).__name__


@pytest.mark.parametrize(
    ("file", "method", "path", "query"),
    [
        ("sdk_account.json", "GET", "/api/v1/accounts", ""),
        ("sdk_account.json", "GET", "/api/v1/accounts/ledgers", "?currency=USDT"),
        ("sdk_account.json", "GET", "/api/v1/hf/accounts/ledgers", "?currency=USDT"),
        ("sdk_spot_orders_hf.json", "GET", "/api/v1/hf/fills", "?symbol=ETH-USDT"),
        ("sdk_spot_orders_hf.json", "GET", "/api/v1/hf/orders/active", "?symbol=ETH-USDT"),
        ("sdk_spot_orders_hf.json", "GET", "/api/v1/hf/orders/done", "?symbol=ETH-USDT"),
        ("sdk_spot_orders_classic.json", "GET", "/api/v1/fills", "?symbol=ETH-USDT"),
        ("sdk_spot_orders_classic.json", "GET", "/api/v1/orders", "?status=active"),
    ],
)
def test_answers_have_the_recorded_fields_and_types(
    recorded_data: Path, file: str, method: str, path: str, query: str
) -> None:
    samples = json.loads((recorded_data / "kucoin_wire" / file).read_text())
    recorded = next(entry for entry in samples if (entry["method"], entry["path"]) == (method, path))
    api = OrderApi.HF if "/hf/" in path else OrderApi.CLASSIC
    now = STARTED + timedelta(hours=1)
    with paper_with(trading_account(traded_grid(SEED), api=api), seed=SEED, at=now) as paper:
        headers = signed_headers(path + query, at_ms=paper.clock.now_ms())
        answer = get(paper, path + query, headers).json()
    assert _shape(answer) == _shape(recorded["response"]["body"])
