"""``python -m mm_pipeline_tests.frames_process FOLDER``: a home's months made by one run, as a hash of each frame."""

from __future__ import annotations

import hashlib
import io
import sys
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from mm_pipeline.contracts.stored import STORED
from mm_pipeline_tests.dagster_samples import ETH, FixedSources, Installation, ranging_candles

START, END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC)
AT = datetime(2025, 3, 3, 12, tzinfo=UTC)


def hashes(folder: Path) -> list[str]:
    """A line for each stored frame: its name, its key, and the SHA-256 of its columns."""
    candles = ranging_candles(datetime(2024, 11, 1, tzinfo=UTC), 125, quiet_share=0.02)
    made = Installation(folder, FixedSources({ETH: candles}))
    made.grid("eth", started_at="2025-01-20T00:00:00Z")
    made.grid("idle", started_at="2025-02-10T00:00:00Z", enabled=False)
    with dg.DagsterInstance.ephemeral() as instance:
        made.run(AT, instance, months=("2025-01", "2025-03"))
    found = []
    for name in STORED:
        for key in made.store.keys(name):
            content = io.BytesIO()
            made.store.read(name, key, start=START, end=END).write_ipc(content)
            found.append(f"{name} {key} {hashlib.sha256(content.getvalue()).hexdigest()}")
    return sorted(found)


if __name__ == "__main__":
    print("\n".join(hashes(Path(sys.argv[1]))))
