"""Properties of a declared grid: its levels, its hash, and that what is written is what is read."""

import json
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mm_pipeline.adapters.config.strict_yaml import parse_mapping
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.domain.grid import Grid, GridVersion, Spacing

FOUNDING: dict[str, Any] = {
    "id": "eth-v3",
    "exchange": "kucoin",
    "symbol": "ETH/USDT",
    "enabled": False,
    "lower": 3070.0,
    "upper": 3185.0,
    "levels": 6,
    "spacing": "arithmetic",
    "stop_loss": 2990.0,
    "capital": 0.0,
    "fee": 0.001,
    "started_at": datetime(2025, 1, 1, tzinfo=UTC),
}

prices = st.floats(min_value=1e-6, max_value=1e6)


@st.composite
def grids(draw: st.DrawFn, spacing: Spacing | None = None) -> Grid:
    lower = draw(prices)
    return Grid.model_validate(
        {
            **FOUNDING,
            "id": draw(st.from_regex(r"[a-z0-9][a-z0-9-]{0,39}", fullmatch=True)),
            "enabled": draw(st.booleans()),
            "lower": lower,
            "upper": lower * draw(st.floats(min_value=1.001, max_value=100)),
            "levels": draw(st.integers(2, 1000)),
            "spacing": spacing or draw(st.sampled_from(Spacing)),
            "stop_loss": lower * draw(st.floats(min_value=0.01, max_value=0.999)),
            "capital": draw(st.floats(min_value=0, max_value=1e9)),
            "fee": draw(st.floats(min_value=0, max_value=0.05)),
            "started_at": FOUNDING["started_at"] + timedelta(milliseconds=draw(st.integers(-(10**11), 10**11))),
        }
    )


@given(grids())
def test_levels_rise_from_exactly_lower_to_exactly_upper(grid: Grid) -> None:
    levels = grid.level_prices()
    assert levels.shape == (grid.levels,)
    assert (levels[0], levels[-1]) == (grid.lower, grid.upper)
    assert (np.diff(levels) > 0).all()


@given(grids(Spacing.ARITHMETIC))
def test_arithmetic_levels_differ_by_one_amount(grid: Grid) -> None:
    steps = np.diff(grid.level_prices())
    np.testing.assert_allclose(steps, (grid.upper - grid.lower) / grid.interval_count, atol=grid.upper * 1e-13, rtol=0)


@given(grids(Spacing.GEOMETRIC))
def test_geometric_levels_differ_by_one_ratio(grid: Grid) -> None:
    levels = grid.level_prices()
    expected = (grid.upper / grid.lower) ** (1 / grid.interval_count)
    np.testing.assert_allclose(levels[1:] / levels[:-1], expected, rtol=1e-12)


@given(grids())
def test_grid_written_as_yaml_reads_back_equal_with_equal_hash(grid: Grid) -> None:
    content = grid.model_dump(mode="json")
    started_at = content.pop("started_at")
    # JSON values are YAML 1.2 values; a time alone must stand without quotes.
    lines = [*(f"{key}: {json.dumps(value)}" for key, value in content.items()), f"started_at: {started_at}"]
    text = "\n".join(lines)
    read = Grid.model_validate(parse_mapping(text, file="x.yaml"))
    assert read == grid
    assert read.version_hash == grid.version_hash
    assert Grid.model_validate_json(grid.model_dump_json()) == grid


@pytest.mark.parametrize(
    "change",
    [
        {"id": "eth-v4"},
        {"enabled": True},
        {"upper": 3185.5},
        {"levels": 7},
        {"spacing": "geometric"},
        {"capital": 1.0},
        {"fee": 0.002},
        {"stop_loss": 2991.0},
        {"started_at": datetime(2025, 1, 2, tzinfo=UTC)},
    ],
)
def test_any_changed_key_changes_the_hash(change: dict[str, Any]) -> None:
    assert Grid.model_validate({**FOUNDING, **change}).version_hash != Grid.model_validate(FOUNDING).version_hash


def test_hash_is_the_same_in_every_release() -> None:
    # Journalled versions are recognised by it: a change of this value makes every grid a new version.
    assert Grid.model_validate(FOUNDING).version_hash == "d743fc235c195c14"


def test_start_in_another_offset_is_the_same_grid() -> None:
    started_at = datetime(2025, 1, 1, 9, tzinfo=timezone(timedelta(hours=9)))
    grid = Grid.model_validate({**FOUNDING, "started_at": started_at})
    assert grid == Grid.model_validate(FOUNDING)
    assert grid.started_at.tzinfo is UTC
    assert grid.started_at_ms == 1_735_689_600_000


@pytest.mark.parametrize(
    "change",
    [
        {"lower": 3185.0},
        {"stop_loss": 3070.0},
        {"levels": 1},
        {"levels": True},
        {"levels": 6.0},
        {"capital": -0.01},
        {"lower": float("nan")},
        {"upper": float("inf")},
        {"lower": True},
        {"fee": 0.051},
        {"leverage": 2},
        {"id": ""},
        {"lower": -1.0},
        {"lower": 0.0},
        {"stop_loss": 0.0},
        {"symbol": "eth/usdt"},
        {"id": "a" * 41},
        {"id": "-a"},
        {"started_at": datetime.fromisoformat("2025-01-01T00:00:00")},
        {"started_at": 1_735_689_600},
        {"enabled": "true"},
        {"upper": "3185"},
    ],
)
def test_declaration_that_cannot_be_meant_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Grid.model_validate({**FOUNDING, **change})


def test_market_intervals_and_version_follow_from_the_declaration() -> None:
    grid = Grid.model_validate({**FOUNDING, "capital": 1000.0})
    assert str(grid.market) == "kucoin:ETH/USDT"
    assert (grid.interval_count, grid.interval_capital_quote) == (5, 200.0)
    assert all(a < b for a, b in pairwise(grid.level_prices()))
    version = GridVersion(grid, grid.started_at)
    with pytest.raises(AttributeError):
        version.valid_from = grid.started_at  # type: ignore[misc]


_PIECES = st.sampled_from(
    [
        "a",
        "id",
        "lower",
        ": ",
        ":\n",
        "\n",
        "  ",
        "\t",
        "- ",
        "? ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "&a ",
        "*a",
        "!!int ",
        "! ",
        "<<",
        "|\n",
        ">-\n",
        '"',
        "'",
        "\\",
        "#",
        "%YAML 1.2\n",
        "---\n",
        "...\n",
        "1e5",
        ".nan",
        "12:30",
        "2025-01-01",
        "\ufeff",
    ]
)


@given(st.one_of(st.text(), st.lists(_PIECES, max_size=30).map("".join)))
def test_any_text_is_either_read_or_refused_with_a_mend(text: str) -> None:
    refusal = None
    try:
        content = parse_mapping(text, file="x.yaml")
    except ConfigError as error:
        refusal = error
    if refusal is None:
        assert all(key.isprintable() for key in content)
    else:
        assert (refusal.file, bool(refusal.hint)) == ("x.yaml", True)
