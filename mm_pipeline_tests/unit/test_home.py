from pathlib import Path

import pytest

from mm_pipeline.adapters.config.home import dagster_dir, data_home, frames_dir, journal_file, logs_dir, mm_home
from mm_pipeline.domain.errors import ConfigError


@pytest.fixture
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MM_HOME", raising=False)


def test_variable_set_is_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MM_HOME", str(tmp_path / "elsewhere"))
    assert mm_home() == tmp_path / "elsewhere"


def test_variable_relative_is_refused_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MM_HOME", "mm")
    with pytest.raises(ConfigError, match="MM_HOME"):
        mm_home()


@pytest.mark.usefixtures("_no_variable")
def test_below_a_workspace_home_is_beside_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "workspace.yaml").touch()
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert mm_home() == tmp_path / ".mm"


@pytest.mark.usefixtures("_no_variable")
def test_two_workspaces_nearest_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "workspace.yaml").touch()
    (inner / "workspace.yaml").touch()
    monkeypatch.chdir(inner)
    assert mm_home() == inner / ".mm"


def test_no_workspace_is_never_the_working_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "operator"))
    monkeypatch.setenv("MM_HOME", "  ")
    monkeypatch.chdir(tmp_path)
    assert mm_home() == tmp_path / "operator" / ".local" / "share" / "mm_pipeline"


def test_parts_of_the_home_do_not_overlap() -> None:
    home = Path("/home/operator/.mm")
    parts = {frames_dir(home), journal_file(home), logs_dir(home), dagster_dir(home)}
    assert len(parts) == 4
    assert all(part.parent == home for part in parts)


def test_simulated_markets_never_share_frames_or_journal_with_real_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They bear the same names: a switch would otherwise judge simulated candles as real ones."""
    monkeypatch.setenv("MM_HOME", str(tmp_path))
    real, simulated = data_home(is_paper=False), data_home(is_paper=True)
    assert real == tmp_path
    assert simulated.is_relative_to(tmp_path)
    assert journal_file(simulated) != journal_file(real)
    assert frames_dir(simulated) != frames_dir(real)
