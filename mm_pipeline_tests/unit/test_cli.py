"""The ``mm`` command itself: help everywhere, fast, and errors told in one way with the right exit code."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import click
import pytest
from click.testing import CliRunner

from mm_pipeline import __version__
from mm_pipeline.cli import COMMANDS, main
from mm_pipeline.cli.lazy_group import LazyGroup
from mm_pipeline.cli.options import UTC_TIME
from mm_pipeline.domain.errors import CandleFileError, ConfigError, StorageError


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of a command and all below it."""
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, (*path, name))


@pytest.mark.parametrize("path", list(commands(main)), ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*path, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")
    described = [line for line in result.output.splitlines() if line.startswith("  ")]
    assert described[0].strip()


@pytest.mark.parametrize("path", [path for path in commands(main) if path], ids=" ".join)
def test_unknown_option_is_bad_usage(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*path, "--no-such-option"])
    assert result.exit_code == 2
    assert "Usage: " in result.stderr


def test_version_is_told() -> None:
    assert CliRunner().invoke(main, ["--version"]).output == f"mm, version {__version__}\n"


def test_misspelt_command_names_the_near_one() -> None:
    result = CliRunner().invoke(main, ["repaly"])
    assert result.exit_code == 2
    assert "Did you mean replay?" in result.stderr


def test_help_loads_nothing_heavy() -> None:
    program = """
import sys
from click.testing import CliRunner
from mm_pipeline.cli import main
assert CliRunner().invoke(main, ["--help"]).exit_code == 0
heavy = {"dagster", "polars", "numpy", "ccxt", "matplotlib", "rich", "sqlalchemy", "pydantic"} & set(sys.modules)
sys.exit(", ".join(sorted(heavy)) or 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_commands_are_listed_in_the_order_given() -> None:
    output = CliRunner().invoke(main, ["--help"]).output
    listed = [line.split()[0] for line in output.partition("Commands:")[2].splitlines() if line.startswith("  ")]
    assert [name for name in listed if name in COMMANDS] == list(COMMANDS)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("is wrong.", "Mend it.", file="a.yaml", key="b"), 2),
        (CandleFileError("is no candle file.", "Write it again."), 2),
        (StorageError("cannot be written.", "Free space."), 1),
    ],
)
def test_error_is_told_with_its_mend_and_without_traceback(error: Exception, code: int) -> None:
    @click.command("raising")
    def raising() -> None:
        raise error

    group = LazyGroup("mm", commands_at={"raising": "unused:unused"})
    group.get_command = lambda ctx, name: raising  # type: ignore[method-assign]
    result = CliRunner().invoke(group, ["raising"])
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr == f"error: {error.problem}\n  {error.hint}\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-01-31", datetime(2025, 1, 31, tzinfo=UTC)),
        ("2025-01-31T12:15", datetime(2025, 1, 31, 12, 15, tzinfo=UTC)),
        ("2025-01-31T12:15:00Z", datetime(2025, 1, 31, 12, 15, tzinfo=UTC)),
        ("2025-01-31T12:15+02:00", datetime(2025, 1, 31, 10, 15, tzinfo=UTC)),
    ],
)
def test_time_without_offset_is_utc(text: str, expected: datetime) -> None:
    assert UTC_TIME.convert(text, None, None) == expected


@pytest.mark.parametrize("text", ["yesterday", "2025-13-01", "", "1735689600", "2025-01-31T12:15:00.0001Z"])
def test_unclear_time_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        UTC_TIME.convert(text, None, None)


@pytest.mark.parametrize("text", ["0001-01-01", "1970-01-01", "2009-12-31T23:59Z", "2100-01-01", "9999-12-31"])
def test_a_time_of_another_century_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="not between 2010 and 2099"):
        UTC_TIME.convert(text, None, None)


@pytest.mark.parametrize("arguments", [("evaluate", "--at", "1970-01-01"), ("flat", "eth", "--at", "0001-01-01")])
def test_a_command_refuses_such_a_time_as_bad_usage(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == 2
    assert "check the year" in result.stderr


@pytest.mark.parametrize("command", ["status", "journal", "kpi"])
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://u:hush@127.0.0.1:port/db", "its port is not a number"),
        ("hush", "it is not a database address"),
        ("mysql://u:hush@127.0.0.1/db", "neither sqlite nor postgresql"),
    ],
)
def test_a_journal_address_that_cannot_be_used_is_named_without_its_password(
    command: str, url: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MM_JOURNAL_URL", url)
    result = CliRunner().invoke(main, [command])
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code != 0
    assert words in result.stderr
    assert "hush" not in result.output


def test_settings_file_is_taken_from_the_environment(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "settings.yaml"
    file.write_text("policy: seed\n")
    monkeypatch.setenv("MM_SETTINGS", str(file))
    result = CliRunner().invoke(main, ["doctor", "--show-settings", "--json"])
    values = {setting["key"]: setting["value"] for setting in json.loads(result.stdout)}
    assert values["policy"] == "seed"
    assert values["exit_state.latest.min_triggers"] == 1
