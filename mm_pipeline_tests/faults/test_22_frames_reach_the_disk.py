"""Row 22: a frame is on the disk before its name says so, and the name is on the disk before the write returns."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from mm_pipeline.adapters.frames.store import FrameStore

pytestmark = pytest.mark.fault

JAN, FEB = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
FRAME = pl.DataFrame({"open_time": [JAN], "close": [1.0]}).cast({"open_time": pl.Datetime("ms", "UTC")})


def test_22_power_cut_after_a_write_finds_the_new_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls that make it so, in their order: the content is synced, then renamed, then the folder is synced."""
    asked: list[tuple[str, Path, int]] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        asked.append(("fsync", path, path.stat().st_size))
        fsync(descriptor)

    def renamed(source: str, target: str) -> None:
        asked.append(("rename", Path(source), Path(source).stat().st_size))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    FrameStore(str(tmp_path / "frames")).write("candles", "kucoin_ETH-USDT", FRAME, start=JAN, end=FEB)

    folder = tmp_path / "frames" / "candles" / "kucoin_ETH-USDT"
    assert (folder / "2024-01.parquet").is_file()
    renames = [(number, path, size) for number, (what, path, size) in enumerate(asked) if what == "rename"]
    assert renames
    for number, path, size in renames:
        assert size > 0
        assert ("fsync", path, size) in asked[:number], f"{path.name} was renamed before its content was on the disk"
        after = [name for what, name, _ in asked[number:] if what == "fsync"]
        assert path.parent in after, f"the new name of {path.name} was not on the disk when the write returned"
