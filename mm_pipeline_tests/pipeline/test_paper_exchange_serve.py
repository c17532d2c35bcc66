"""``serve`` in a process of its own: on loopback, until told to end."""

import signal
import socket
import subprocess
import sys

import pytest
import requests

from mm_pipeline.paper.exchange import PaperConfig, PaperExchange
from mm_pipeline.paper.http.http_server import HttpServer
from mm_pipeline.paper.http.wire import Answer

PROGRAM = """
from datetime import UTC, datetime
from mm_pipeline.domain.market import Market
from mm_pipeline.paper.exchange import PaperConfig, serve
from mm_pipeline.paper.markets.markets import PaperMarket, SimulatedMarket
source = SimulatedMarket(seed=1, start=datetime(2025, 1, 1, tzinfo=UTC), bars=10)
markets = [PaperMarket(market=Market("kucoin", "ETH/USDT"), source=source)]
serve(PaperConfig(markets=markets), on_ready=lambda paper: print(paper.url, flush=True))
print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_served_until_the_signal_and_ended_in_good_order(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with requests.Session() as http:
            http.trust_env = False
            assert http.get(f"{url}/kucoin/api/v1/status", timeout=5).json()["data"]["status"] == "open"
        process.send_signal(number)
        assert process.wait(timeout=10) == 0
        assert process.stdout.read() == "ended\n"


def test_server_listens_on_loopback_alone() -> None:
    with PaperExchange(markets=[]) as paper:
        assert paper.url.startswith("http://127.0.0.1:")
        assert PaperConfig(markets=[]).host == "127.0.0.1"


def test_connection_is_kept_over_requests_of_any_method() -> None:
    seen: list[tuple[str, str, bytes]] = []

    def respond(method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        seen.append((method, headers.get("kc-api-key", ""), body))
        return Answer(payload={"target": target})

    server = HttpServer("127.0.0.1", 0, respond)
    server.start()
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=5) as connection:
        for _ in range(2):
            connection.sendall(b"POST /a HTTP/1.1\r\nHost: x\r\nKC-API-KEY: k\r\nContent-Length: 2\r\n\r\nhi")
            answer = connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(b'{"target":"/a"}')
    server.stop()
    assert seen == [("POST", "k", b"hi")] * 2
