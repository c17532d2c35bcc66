"""Every threshold of ``risk`` has a bound, and a figure changes when it does."""

from typing import Any

import pytest
from pydantic import ValidationError

from mm_pipeline.domain.risk import RISK_SCHEMA, RiskHistory, risk_rows
from mm_pipeline.settings import describe, load_settings
from mm_pipeline_tests.markets import version_of
from mm_pipeline_tests.risk_samples import grid_in, known_ms, risk_policy, simulated_bars

TABLES = [
    {"valid_from": f"{year}-01-01T00:00:00Z", "day": day, "week": 0.3, "month": 0.2}
    for year, day in ((2022, 0.4), (2024, 0.5))
]
BASE: dict[str, Any] = {"history_days": 80, "min_history_days": 30, "draw_every_bars": 13}
CHANGED: dict[str, Any] = {
    "history_days": 90,
    "min_history_days": 40,
    "draw_every_bars": 11,
    "capital_at_risk_quantile": 0.1,
    "volatility": TABLES,
}
"""Another value for each."""


def figures(*, day: int = 100, **changes: Any) -> tuple[float | None, ...]:
    """Figures of a grid that started on this day of a simulated market, a day later."""
    policy, bars = risk_policy(**(BASE | changes)), simulated_bars()
    versions = version_of(grid_in(bars, day * 96, width=0.3))
    row = risk_rows(versions, RiskHistory.of(bars, policy), known_ms(bars, day * 96 + 96), policy)
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
        assert before[5:] == after[5:]
        assert all(less < more for less, more in zip(after[:5], before[:5], strict=True))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"draw_every_bars": 6}, "draw_every_bars shares a factor with the 96 bars of a day"),
        ({"volatility": TABLES[::-1]}, "volatility is not in order of valid_from"),
        ({"volatility": []}, "at least 1 item"),
        ({"history_days": 50, "min_history_days": 30}, "min_history_days is more than half of history_days"),
        ({"capital_at_risk_quantile": 0.5}, "less than 0.5"),
        ({"draw_every_bars": 96}, "less than or equal to 95"),
    ],
)
def test_threshold_out_of_bounds_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        risk_policy(**changes)


def test_risk_decides_states() -> None:
    """P(stop) is a trigger: what it is drawn from is in the hash of what decides a state."""
    settings = load_settings()
    changed = settings.model_copy(update={"risk": risk_policy(draw_every_bars=11)})
    assert changed.hash != settings.hash
