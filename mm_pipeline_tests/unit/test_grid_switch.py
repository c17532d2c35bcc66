"""Disabling a grid changes its one word, and no other byte of the file; where it cannot, the file stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from mm_pipeline.adapters.config.grid_files import check_grid_file
from mm_pipeline.adapters.config.grid_switch import disable_grid
from mm_pipeline.domain.errors import ConfigError, StorageError

TEXT = """# my first grid: do not touch
id: eth
exchange: kucoin
symbol: ETH/USDT
enabled: true   # since Monday; "enabled: true" is what I wrote
lower: 2700.0
upper: 3300.0

levels: 7
spacing: arithmetic
stop_loss: 2600.0
capital: 1000.0
fee: 0.001
started_at: 2025-03-01T00:00:00Z
"""


def file_of(folder: Path, text: str = TEXT, name: str = "my grid.yaml") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("word", ["true", "true # x", "true\t"])
def test_one_word_is_changed_and_no_other_byte(tmp_path: Path, end: str, word: str) -> None:
    before = TEXT.replace("true   #", f"{word}   #").replace("\n", end)
    path = file_of(tmp_path, before)
    path.chmod(0o640)
    assert disable_grid(tmp_path, "eth") == path
    after = path.read_bytes().decode()
    old = word.split(maxsplit=1)[0]
    assert after == before.replace(f"enabled: {old}", "enabled: false", 1)
    assert not check_grid_file(path).enabled
    assert path.stat().st_mode & 0o777 == 0o640
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_grid_that_is_disabled_already_is_left_alone(tmp_path: Path) -> None:
    path = file_of(tmp_path, TEXT.replace("true   #", "false #"))
    before = path.stat().st_mtime_ns
    assert disable_grid(tmp_path, "eth") == path
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("line", ["enabled: yes", "enabled:\n  true", '"enabled": true', "enabled: !!bool true"])
def test_word_that_is_written_otherwise_is_refused_and_the_file_stays(tmp_path: Path, line: str) -> None:
    path = file_of(tmp_path, TEXT.replace("enabled: true   #", f"{line}   #"))
    before = path.read_bytes()
    with pytest.raises(ConfigError):
        disable_grid(tmp_path, "eth")
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_other_grid_unknown_grid_twins_and_links_are_refused(tmp_path: Path) -> None:
    path = file_of(tmp_path)
    with pytest.raises(ConfigError, match="declares the grid btc"):
        disable_grid(tmp_path, "btc")
    file_of(tmp_path, name="twin.yaml")
    with pytest.raises(ConfigError, match="declares the grid eth"):
        disable_grid(tmp_path, "eth")
    (tmp_path / "twin.yaml").unlink()
    kept = tmp_path / "kept"
    path.rename(kept)
    path.symlink_to(kept)
    with pytest.raises(ConfigError, match="is a link"):
        disable_grid(tmp_path, "eth")
    assert kept.read_text() == TEXT


def test_file_that_cannot_be_written_is_named_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file_of(tmp_path)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        disable_grid(tmp_path, "eth")
    assert path.read_text() == TEXT
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
