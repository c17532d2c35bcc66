"""The composition root: what an installation is made of, and that it follows its settings file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mm_pipeline.adapters.config.home import HOME_VARIABLE
from mm_pipeline.bootstrap import Overrides, following, installation
from mm_pipeline.domain.errors import ConfigError


@pytest.fixture
def settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "settings.yaml"
    file.write_text("channels: [{name: old, kind: console}]\n")
    monkeypatch.setenv("MM_SETTINGS", str(file))
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    return file


def names(made: object) -> list[str]:
    return [channel.name for channel in made.settings.channels]  # type: ignore[attr-defined]


def rewrite(file: Path, text: str) -> None:
    file.write_text(text)
    later = file.stat().st_mtime_ns + 1_000_000_000  # a file system may count in whole seconds
    os.utime(file, ns=(later, later))


def test_long_lived_process_follows_the_settings_file(settings_file: Path) -> None:
    current = following()
    assert names(current()) == ["old"]
    assert current() is current()
    rewrite(settings_file, "channels: [{name: new, kind: console}]\n")
    assert names(current()) == ["new"]


def test_unreadable_settings_leave_the_last_in_force_until_they_are_put_right(settings_file: Path) -> None:
    current = following()
    rewrite(settings_file, "channels: [{name: new, kind: consol}]\n")
    assert names(current()) == ["old"]
    rewrite(settings_file, "channels: [{name: newest, kind: console}]\n")
    assert names(current()) == ["newest"]
    settings_file.unlink()
    assert names(current()) == ["newest"]


def test_unreadable_settings_at_the_start_are_an_error(settings_file: Path) -> None:
    rewrite(settings_file, "chanels: []\n")
    with pytest.raises(ConfigError, match="chanels"):
        following()


def test_what_a_caller_gives_is_followed_nowhere(settings_file: Path) -> None:
    given = installation().deployment
    current = following(Overrides(deployment=given))
    rewrite(settings_file, "channels: [{name: new, kind: console}]\n")
    assert current().deployment is given
