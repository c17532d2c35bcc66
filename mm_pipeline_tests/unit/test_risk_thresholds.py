"""Every threshold of ``risk`` has a bound, and a figure changes when it does."""

from typing import Any

import pytest
from pydantic import ValidationError

from mm_pipeline.domain.risk import RISK_SCHEMA, StandardisedBars, risk_rows
from mm_pipeline.settings import describe, load_settings
from mm_pipeline_tests.markets import version_of
from mm_pipeline_tests.risk_samples import grid_in, known_ms, risk_policy, simulated_bars

START, END = 60 * 96, 60 * 96 + 100
BASE: dict[str, Any] = {"history_days": 40, "min_history_days": 30, "paths": 400}
CHANGED: dict[str, Any] = {
    "history_days": 55,
    "min_history_days": 40,
    "volatility_window": "6h",
    "block": "30min",
    "paths": 500,
    "capital_at_risk_quantile": 0.1,
}
"""Another value for each; 40 days of bars are a few less than 40 days without gaps."""


def figures(**changes: Any) -> tuple[float | None, ...]:
    policy = risk_policy(**(BASE | changes))
    bars = simulated_bars()
    row = risk_rows(
        version_of(grid_in(bars, START, width=0.3)), StandardisedBars.of(bars, policy), known_ms(bars, END), policy
    )
    return row.select(name for name in RISK_SCHEMA if name.startswith(("capital_at_risk", "giveback"))).row(0)


def test_every_threshold_of_risk_is_tried() -> None:
    keys = {info.key.removeprefix("risk.") for info in describe(load_settings()) if info.key.startswith("risk.")}
    assert keys == set(CHANGED)


@pytest.mark.parametrize("name", CHANGED)
def test_threshold_changed_changes_a_figure(name: str) -> None:
    before, after = figures(), figures(**{name: CHANGED[name]})
    assert None not in before
    assert before != after
    if name == "min_history_days":
        assert set(after) == {None}
    if name == "capital_at_risk_quantile":
        # Of all figures only the capital at risk, which is less in the worst tenth than in the worst twentieth.
        assert before[3:] == after[3:]
        assert all(less < more for less, more in zip(after[:3], before[:3], strict=True))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"volatility_window": "130min"}, "volatility_window is not a whole number of 15min bars"),
        ({"block": "20min"}, "block is not a whole number of 15min bars"),
        ({"history_days": 20, "min_history_days": 30}, "min_history_days is more than history_days"),
        ({"capital_at_risk_quantile": 0.5}, "less than 0.5"),
        ({"paths": 99}, "greater than or equal to 100"),
    ],
)
def test_threshold_out_of_bounds_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        risk_policy(**changes)


def test_risk_decides_no_state() -> None:
    """The hash of what decides a state is the same, whatever is drawn."""
    settings = load_settings()
    changed = settings.model_copy(update={"risk": risk_policy(paths=500)})
    assert changed.hash == settings.hash
