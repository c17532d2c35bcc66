"""Positions and results of an operator are nobody else's: what lies below the home is the owner's alone."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mm_pipeline.adapters.config.home import keep_private, open_to_others, tighten
from mm_pipeline.adapters.journal import Journal, sqlite_url
from mm_pipeline.cli import main
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.settings import load_settings

MM = Path(sys.executable).with_name("mm")


def modes(folder: Path) -> dict[str, int]:
    """Permission bits by path below the folder, itself included."""
    paths = [folder, *folder.rglob("*")]
    return {str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode) for path in paths}


def wide_home(folder: Path) -> Path:
    """A home as releases before this rule left it: 0755 and 0644."""
    home = folder / "home"
    for name in ("frames/candles/kucoin_ETH-USDT/2025-01.parquet", "paper/journal.db", "dagster/storage/runs.db"):
        file = home / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    for path in [home, *home.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return home


@pytest.fixture
def _usual_umask() -> object:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_usual_umask")
def test_whatever_is_made_after_the_start_is_the_owners_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    keep_private(home)
    (home / "frames").mkdir(parents=True)
    (home / "frames" / "a.parquet").write_bytes(b"x")
    with Journal(sqlite_url(home / "journal.db")):
        pass
    assert all(mode & 0o077 == 0 for mode in modes(home).values()), modes(home)


@pytest.mark.usefixtures("_usual_umask")
def test_command_on_an_open_home_closes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = wide_home(tmp_path)
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"exchange: paper\ngrids: {tmp_path}/grids\n")
    done = subprocess.run(
        [str(MM), "grids", "check", "--settings", str(settings)],
        env=os.environ | {"MM_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert all(mode & 0o077 == 0 for mode in modes(home).values()), modes(home)


def test_files_that_a_user_asked_for_elsewhere_are_left_alone(tmp_path: Path) -> None:
    home = wide_home(tmp_path)
    beside = tmp_path / "report.html"
    beside.write_text("x")
    beside.chmod(0o644)
    (home / "elsewhere").symlink_to(beside)
    tighten(home)
    assert stat.S_IMODE(beside.stat().st_mode) == 0o644


def test_folder_that_many_share_is_not_closed_only_what_is_ours_in_it(tmp_path: Path) -> None:
    home = wide_home(tmp_path)
    home.chmod(0o1777)
    (home / "of-somebody-else").write_text("x")
    (home / "of-somebody-else").chmod(0o644)
    tighten(home)
    found = modes(home)
    assert found["."] == 0o1777
    assert found["of-somebody-else"] == 0o644
    assert found["frames"] == 0o700
    assert found["paper/journal.db"] == 0o600


def test_doctor_names_what_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = wide_home(tmp_path)
    monkeypatch.setenv("MM_HOME", str(home))
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"exchange: paper\npaper_url: http://127.0.0.1:9\ngrids: {tmp_path}/grids\n")
    assert open_to_others(home)[0] == home
    told = CliRunner().invoke(main, ["doctor", "--settings", str(settings)]).output
    assert "can be read by every user" in told
    tighten(home)
    assert open_to_others(home) == []


def test_real_exchange_without_a_heartbeat_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mm_pipeline.cli.up.command import check_is_missed

    chat = "channels: [{name: chat, kind: apprise, url_env: MM_TEST_CHAT_URL}]"
    real, paper = tmp_path / "real.yaml", tmp_path / "paper.yaml"
    real.write_text(f"exchange: kucoin\n{chat}\n")
    paper.write_text(f"exchange: paper\n{chat}\n")
    monkeypatch.delenv("MM_HEARTBEAT_URL", raising=False)
    with pytest.raises(ConfigError, match=r"MM_HEARTBEAT_URL.*--without-heartbeat"):
        check_is_missed(load_settings(real))
    check_is_missed(load_settings(paper))
    monkeypatch.setenv("MM_HEARTBEAT_URL", "https://heart.example/x")
    check_is_missed(load_settings(real))


def test_up_on_a_real_exchange_without_a_heartbeat_starts_nothing(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("exchange: kucoin\nchannels: [{name: chat, kind: apprise, url_env: MM_TEST_CHAT_URL}]\n")
    environment = {name: value for name, value in os.environ.items() if name != "MM_HEARTBEAT_URL"}
    done = subprocess.run(
        [str(MM), "up", "--port", "0", "--settings", str(settings)],
        env=environment | {"MM_HOME": str(tmp_path / "home"), "MM_TEST_CHAT_URL": "json://127.0.0.1:9"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2
    assert "heartbeat" in done.stderr
    assert not (tmp_path / "home" / "dagster").exists()
