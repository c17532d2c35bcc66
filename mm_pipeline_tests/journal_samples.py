"""Grids and evaluations to journal in tests, and processes that journal them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mm_pipeline.adapters.journal import Evaluation
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.grid import Grid, Spacing

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
BAR = timedelta(minutes=15)

SAMPLE = Evaluation(
    grid="eth-v3",
    evaluated_at=NOON,
    kind=EvaluationKind.EXIT,
    input_hash="0f3a",
    state="NORMAL",
    price=3_100.25,
    fired=("volatility_expanded",),
    triggers={"volatility_expanded": {"value": 1.3, "threshold": 1.25, "margin": 0.05, "fired": True, "since": NOON}},
    reasons=(),
    grid_version="a1b2",
    settings_hash="c3d4",
    code_version="0.1.0",
    is_live=True,
    recorded_at=NOON + timedelta(seconds=63),
)


def evaluation(bar: int = 0, **changes: Any) -> Evaluation:
    """The sample, ``bar`` quarter hours later, with fields changed."""
    return replace(SAMPLE, evaluated_at=NOON + bar * BAR, **changes)


def grid(grid_id: str = "eth-v3", **changes: Any) -> Grid:
    """A valid grid that started at the first of March 2024, with fields changed."""
    declared: dict[str, Any] = {
        "id": grid_id,
        "exchange": "kucoin",
        "symbol": "ETH/USDT",
        "enabled": True,
        "lower": 3070.0,
        "upper": 3185.0,
        "levels": 6,
        "spacing": Spacing.ARITHMETIC,
        "stop_loss": 2990.0,
        "capital": 1000.0,
        "fee": 0.001,
        "started_at": datetime(2024, 3, 1, tzinfo=UTC),
    }
    return Grid(**(declared | changes))


def start_process(script: str, *arguments: str) -> subprocess.Popen[str]:
    """A real Python process with pipes; it should print ``ready`` and wait for a line before it races others."""
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def race(script: str, *arguments: str, processes: int) -> list[str]:
    """Start processes, let them go at the same moment, and return what each printed after that."""
    started = [start_process(script, *arguments) for _ in range(processes)]
    for process in started:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == "ready\n", process.communicate()[1]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = []
    for process in started:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        answers.append(out.strip())
    return answers
