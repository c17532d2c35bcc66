"""Every threshold of ``risk`` has a bound, and a figure changes when it does."""

from typing import Any

import pytest
from pydantic import ValidationError

from mm_pipeline.domain.risk import RISK_SCHEMA, StandardisedBars, risk_rows
from mm_pipeline.settings import describe, load_settings
from mm_pipeline_tests.markets import version_of
from mm_pipeline_tests.risk_samples import grid_in, known_ms, risk_policy, simulated_bars

BASE: dict[str, Any] = {"history_days": 80, "min_history_days": 30, "paths": 400}
CHANGED: dict[str, Any] = {
    "history_days": 90,
    "min_history_days": 40,
    "volatility_window": "6h",
    "block": "30min",
    "paths": 500,
    "capital_at_risk_quantile": 0.1,
}
"""Another value for each."""


def figures(*, day: int = 100, **changes: Any) -> tuple[float | None, ...]:
    """Figures of a grid that started on this day of a simulated market, a day later."""
    policy, bars = risk_policy(**(BASE | changes)), simulated_bars()
    versions = version_of(grid_in(bars, day * 96, width=0.3))
    row = risk_rows(versions, StandardisedBars.of(bars, policy), known_ms(bars, day * 96 + 96), policy)
    return row.select(name for name in RISK_SCHEMA if name.startswith(("capital_at_risk", "giveback"))).row(0)


def test_every_threshold_of_risk_is_tried() -> None:
    keys = {info.key.removeprefix("risk.") for info in describe(load_settings()) if info.key.startswith("risk.")}
    assert keys == set(CHANGED)


@pytest.mark.parametrize("name", CHANGED)
def test_threshold_changed_changes_a_figure(name: str) -> None:
    day = 36 if name == "min_history_days" else 100
    before, after = figures(day=day), figures(day=day, **{name: CHANGED[name]})
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
        ({"history_days": 50, "min_history_days": 30}, "min_history_days is more than half of history_days"),
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
