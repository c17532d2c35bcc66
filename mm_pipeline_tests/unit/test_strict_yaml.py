"""Strict YAML: what each plain scalar means, and how a model's complaints name their keys."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from mm_pipeline.adapters.config.strict_yaml import load_mapping, parse_mapping, validation_errors
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.domain.policy import Duration, Policy, threshold


class Inner(Policy):
    max_age: Duration
    share: float = threshold(unit="0..1", source="test", ge=0, le=1)


class Outer(Policy):
    data: Inner
    names: tuple[str, ...]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("3070", 3070),
        ("-1", -1),
        ("0", 0),
        ("0.001", 0.001),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e5", 100_000.0),
        ("1E-3", 0.001),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("35min", "35min"),
        ("kucoin:ETH/USDT", "kucoin:ETH/USDT"),
        ('"yes"', "yes"),
        ("'12:30'", "12:30"),
        ("2025-01-31T00:00:00Z", datetime(2025, 1, 31, tzinfo=UTC)),
        ("2025-01-31 01:30:00.250+01:30", datetime(2025, 1, 31, 0, 0, 0, 250_000, tzinfo=UTC)),
        ("[1, {a: 2}]", [1, {"a": 2}]),
        ("2025-01-01-of-a-grid", "2025-01-01-of-a-grid"),
    ],
)
def test_plain_scalar_is_read_as_written(written: str, meant: object) -> None:
    value = parse_mapping(f"key: {written}", file="x.yaml")["key"]
    assert value == meant
    assert type(value) is type(meant)


@pytest.mark.parametrize(
    "written",
    [
        "yes",
        "No",
        "ON",
        "off",
        "y",
        "True",
        "FALSE",
        "12:30",
        "190:20:30.15",
        "0123",
        "0o17",
        "0x1F",
        "0b1",
        "1_000",
        "1,000",
        ".inf",
        "-.INF",
        ".NaN",
        "nan",
        "infinity",
        "1e400",
        "9" * 30,
        "2025.01.01",
        "2025-01-01",
        "2025-01-01T00:00:00",
        "2025-1-1T00:00:00Z",
        "2025-01-01T25:00:00Z",
        "9999-12-31T23:59:59-14:00",
    ],
)
def test_scalar_that_could_be_read_in_two_ways_is_refused_with_its_key(written: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_mapping(f"a:\n  b:\n  - {written}", file="x.yaml")
    assert (refused.value.file, refused.value.key) == ("x.yaml", "a.b[0]")
    assert "(line 3)" in refused.value.problem
    assert refused.value.hint


def test_nested_duplicate_key_is_refused_by_its_dotted_name() -> None:
    with pytest.raises(ConfigError) as refused:
        parse_mapping("a: {b: 1, c: 2, b: 3}", file="x.yaml")
    assert refused.value.key == "a.b"


def test_keys_are_text_even_where_they_look_like_something_else() -> None:
    assert parse_mapping("on: 1\n7: 2\nnull: 3", file="x.yaml") == {"on": 1, "7": 2, "null": 3}


def test_missing_file_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load_mapping(tmp_path / "absent.yaml")
    assert refused.value.file.endswith("absent.yaml")
    assert "no such file" in refused.value.problem


def complaint(content: dict[str, object]) -> ConfigError:
    with pytest.raises(ValidationError) as refused:
        Outer.model_validate(content)
    return validation_errors("settings.yaml", refused.value, Outer)


def test_nested_complaint_names_dotted_key_and_mend() -> None:
    error = complaint({"data": {"max_age": "35 minutes", "share": 0.5}, "names": ()})
    assert (error.file, error.key) == ("settings.yaml", "data.max_age")
    assert error.problem.endswith("'35 minutes' is not a duration.")
    assert error.hint == "Write it like 90s, 35min, 4h or 7d."


def test_several_complaints_are_all_told() -> None:
    error = complaint({"data": {"max_age": "35min", "shares": 0.5}, "names": ("a", 7)})
    assert error.key == "data.share"
    assert "data.shares: is not a known key." in error.problem
    assert "data.shares: Write share if that is meant, or remove it." in error.hint
    assert "names[1]: Write text" in error.hint


def test_unlike_key_is_told_the_known_ones_of_its_level() -> None:
    error = complaint({"data": {"max_age": "35min", "share": 0.5, "zzz": 1}, "names": ()})
    assert error.hint == "Remove it; the known keys are max_age, share."
