"""``mm paper-exchange`` as a process: it says where it is, answers ccxt as its snippet tells, and ends when told."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import requests

from mm_pipeline_tests.markets import simulated_candles

MM = Path(sys.executable).with_name("mm")


@contextmanager
def served(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The running command, and what it printed until it was ready."""
    command = [str(MM), "paper-exchange", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = ""
        for line in process.stdout:
            printed += line
            if line.startswith("Ctrl-C"):
                break
        try:
            yield process, printed
        finally:
            process.terminate()


def url_in(printed: str) -> str:
    return printed.split()[3].rstrip(",")


def state_of(printed: str) -> dict[str, object]:
    with requests.Session() as http:
        http.trust_env = False
        answer: dict[str, object] = http.get(f"{url_in(printed)}/paper/state", timeout=5).json()
        return answer


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_snippet_runs_as_printed_and_a_signal_ends_it(number: signal.Signals) -> None:
    with served("--market", "kucoin:ETH/USDT") as (process, printed):
        snippet = "\n".join(line.strip() for line in printed.partition("try it:")[2].splitlines() if line[:2] == "  ")
        ran = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.count("[") == 4, "three candles"
        process.send_signal(number)
        assert process.wait(timeout=10) == 0
        assert process.stdout is not None
        assert process.stdout.read() == "stopped\n"


def test_time_stands_where_told() -> None:
    with served("--market", "kucoin:ETH/USDT", "--at", "2025-03-01T12:00Z", "--seed", "4") as (_, printed):
        state = state_of(printed)
        assert (state["now"], state["speed"]) == ("2025-03-01T12:00:00+00:00", 0.0)


def test_recording_is_moved_so_that_history_lies_before_now(tmp_path: Path) -> None:
    path = tmp_path / "binance_ETH-USDT_15m.parquet"
    simulated_candles(days=30).write_parquet(path)
    with served("--candles", str(path)) as (_, printed):
        [market] = state_of(printed)["markets"]  # type: ignore[misc]
        now_ms = datetime.now(UTC).timestamp() * 1000
        left = timedelta(milliseconds=market["end_ms"] - now_ms)
        assert market["market"] == "binance:ETH/USDT"
        assert timedelta(hours=19) < left < timedelta(hours=25), "all but the last day lies before now"


def test_recording_keeps_its_own_time_where_the_clock_stands(tmp_path: Path) -> None:
    path = tmp_path / "kucoin_ETH-USDT_15m.parquet"
    candles = simulated_candles(days=30)
    candles.write_parquet(path)
    with served("--candles", str(path), "--at", "2024-01-20") as (_, printed):
        [market] = state_of(printed)["markets"]  # type: ignore[misc]
        before = candles.filter(pl.col("open_time") < datetime(2024, 1, 20, tzinfo=UTC))
        assert market["last_price"] == before["close"][-1]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--market", "ETH"], 2, "names no exchange"),
        (["--market", "kraken:ETH/USDT"], 2, "no paper dialect"),
        (["--at", "2025-01-01", "--speed", "5"], 2, "give it or --speed"),
        (["--speed", "-1"], 2, "--speed"),
    ],
)
def test_wrong_argument_is_told(arguments: list[str], code: int, said: str) -> None:
    done = subprocess.run([str(MM), "paper-exchange", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert said in done.stderr


def test_port_in_use_is_told_with_its_mend() -> None:
    with served("--market", "kucoin:ETH/USDT") as (_, printed):
        port = url_in(printed).rpartition(":")[2]
        command = [str(MM), "paper-exchange", "--port", port, "--market", "kucoin:ETH/USDT"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert f"port {port} cannot be listened on" in done.stderr
        assert "another --port" in done.stderr
