"""The picture beside a page is small, readable on a telephone, and shows what it is given: judged by its pixels."""

import io
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from matplotlib.image import imread
from numpy.typing import NDArray

from mm_pipeline.domain.candles import fill_gaps
from mm_pipeline.domain.grid import Grid
from mm_pipeline.reporting.charts import STATE_COLOURS
from mm_pipeline.reporting.pages.chart import page_chart_png
from mm_pipeline_tests.markets import grid_around, simulated_candles

BARS = fill_gaps(simulated_candles(days=5), quarantined_ms=None)
END = BARS["close_time"][-1]
PRICE = float(BARS["close"][-1])
INK, BLUE, RED = "#1b2a3a", "#1f6fb4", "#b3202c"


def rows(*names: str, **columns: Any) -> pl.DataFrame:
    """Evaluations of the last two days, shared out evenly between states."""
    at = [END - timedelta(minutes=15 * k) for k in range(191, -1, -1)]
    states = pl.DataFrame(
        {"evaluated_at": at, "state": [names[k * len(names) // 192] for k in range(192)]},
        schema_overrides={"evaluated_at": pl.Datetime("ms", "UTC")},
    )
    return states.with_columns(**{name: pl.lit(value) for name, value in columns.items()})


def grid(**changes: object) -> Grid:
    return grid_around(PRICE, BARS["open_time"][0], **changes)


def pixels(png: bytes) -> NDArray[np.float64]:
    image: NDArray[np.float64] = imread(io.BytesIO(png))[..., :3].astype(np.float64)
    return image


def has_colour(png: bytes, colour: str, *, alpha: float = 1.0, tolerance: float = 0.01) -> NDArray[np.bool_]:
    """Which pixels have a colour laid over white."""
    wanted = alpha * np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]) + 1 - alpha
    is_it: NDArray[np.bool_] = np.abs(pixels(png) - wanted).max(axis=-1) < tolerance
    return is_it


def runs(png: bytes, state: str) -> tuple[float, int]:
    """Share of the picture that is a state's band, and its width in pixels."""
    band = has_colour(png, STATE_COLOURS[state], alpha=0.75)
    return float(band.mean()), int((band.mean(axis=0) > 0.3).sum())


@pytest.mark.parametrize(
    ("names", "changes"),
    [
        (["NORMAL"], {}),
        (["NORMAL", "WARNING", "LATEST_ACCEPTABLE_EXIT", "MANDATORY_EXIT", "UNKNOWN"], {"levels": 50}),
        (["NORMAL"], {"id": "w" * 40, "symbol": f"{'B' * 20}/{'Q' * 20}"}),
    ],
)
def test_picture_is_of_telephone_size_and_small(names: Sequence[str], changes: dict[str, Any]) -> None:
    png = page_chart_png(BARS, rows(*names), grid(**changes))
    height, width, _ = pixels(png).shape
    assert (800 < width <= 900, 500 < height <= 600) == (True, True)
    assert len(png) < 200_000


def test_states_are_shown_by_their_shares() -> None:
    png = page_chart_png(BARS, rows("NORMAL", "NORMAL", "NORMAL", "WARNING"), grid())
    assert runs(png, "NORMAL")[1] / runs(png, "WARNING")[1] == pytest.approx(3, rel=0.1)
    assert runs(png, "MANDATORY_EXIT") == (0, 0)


def test_state_that_began_at_the_newest_evaluation_is_seen() -> None:
    begun = pl.concat([rows("NORMAL").head(191), rows("MANDATORY_EXIT").tail(1)])
    assert runs(page_chart_png(BARS, begun, grid()), "MANDATORY_EXIT")[1] >= 1


def test_long_names_leave_the_picture_its_width() -> None:
    long = page_chart_png(BARS, rows("NORMAL"), grid(id="w" * 40, symbol=f"{'B' * 20}/{'Q' * 20}"))
    short = page_chart_png(BARS, rows("NORMAL"), grid())
    assert runs(long, "NORMAL")[1] == pytest.approx(runs(short, "NORMAL")[1], rel=0.05)


def test_bounds_and_stop_are_drawn_across_the_picture() -> None:
    png = page_chart_png(BARS, rows("NORMAL"), grid())
    lines = {
        colour: int((has_colour(png, colour, tolerance=0.1).mean(axis=1) > share).sum())
        for colour, share in ((BLUE, 0.6), (RED, 0.3))
    }
    assert lines[BLUE] >= 2
    assert lines[RED] >= 1


def test_days_decide_how_far_back_it_goes() -> None:
    half = page_chart_png(BARS, rows("NORMAL", "WARNING"), grid(), days=1.0)
    assert runs(half, "NORMAL")[1] == 0
    assert runs(half, "WARNING")[1] > 500


def test_last_price_is_written_at_the_right_edge() -> None:
    flat = BARS.with_columns(pl.lit(PRICE).alias(name) for name in ("open", "high", "low", "close"))
    is_ink = has_colour(page_chart_png(flat, rows("NORMAL"), grid()), INK, tolerance=0.1)
    height, width = is_ink.shape
    title, label = is_ink[: height // 6], is_ink[height // 6 : height * 3 // 4, width * 4 // 5 :]
    assert title.sum() > 500
    written = np.flatnonzero(label.any(axis=1))
    assert 12 <= written.max() - written.min() <= 40, "one line of large letters"


def test_proposed_range_is_drawn_for_a_disabled_grid() -> None:
    proposal = {
        "proposed_lower": PRICE * 0.99,
        "proposed_upper": PRICE * 1.01,
        "proposed_levels": 8,
        "proposed_stop_loss": PRICE * 0.98,
    }
    off = grid(enabled=False)
    with_proposal = page_chart_png(BARS, rows("ENTER", **proposal), off)
    nothing = {name: pl.lit(None, pl.Float64) for name in proposal}
    without = page_chart_png(BARS, rows("ENTER").with_columns(**nothing), off)
    assert has_colour(with_proposal, RED, tolerance=0.1).sum() > 200
    assert has_colour(without, RED, tolerance=0.1).sum() == 0
    assert without == page_chart_png(BARS, rows("ENTER"), off)


@pytest.mark.parametrize(
    ("bars", "states"),
    [(BARS.clear(), rows("UNKNOWN")), (BARS, rows("UNKNOWN").clear()), (BARS.clear(), rows("UNKNOWN").clear())],
)
@pytest.mark.parametrize("is_readable", [True, False])
def test_market_without_bars_or_states_still_gives_a_picture(
    bars: pl.DataFrame, states: pl.DataFrame, is_readable: bool
) -> None:
    assert pixels(page_chart_png(bars, states, grid() if is_readable else None)).size > 0


def test_same_input_gives_the_same_bytes() -> None:
    assert page_chart_png(BARS, rows("NORMAL"), grid()) == page_chart_png(BARS, rows("NORMAL"), grid())
