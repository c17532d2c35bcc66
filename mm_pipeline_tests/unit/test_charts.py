"""Charts are PNGs that show what they are given: judged by their pixels."""

import io
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from matplotlib.image import imread
from numpy.typing import NDArray

from mm_pipeline.application.studies.verdicts import TRUTHS, ConfusionTable
from mm_pipeline.domain.candles import fill_gaps
from mm_pipeline.domain.grid import Grid
from mm_pipeline.rendering.charts.verdicts import confusion_chart_png
from mm_pipeline.reporting.charts import STATE_COLOURS, state_chart_png
from mm_pipeline.reporting.grid_report import SEVERITY
from mm_pipeline_tests.markets import simulated_candles

BARS = fill_gaps(simulated_candles(days=20), quarantined_ms=None)
END = BARS["close_time"][-1]
PRICE = float(BARS["close"][-1])


def states(*names: str) -> pl.DataFrame:
    """Evaluations of the last eight days, shared out evenly between states."""
    at = [END - timedelta(minutes=15 * k) for k in range(767, -1, -1)]
    return pl.DataFrame(
        {"evaluated_at": at, "state": [names[k * len(names) // 768] for k in range(768)]},
        schema_overrides={"evaluated_at": pl.Datetime("ms", "UTC")},
    )


def grid(*, enabled: bool = True) -> Grid:
    return Grid.model_validate(
        {
            "id": "eth",
            "exchange": "kucoin",
            "symbol": "ETH/USDT",
            "enabled": enabled,
            "lower": PRICE * 0.97,
            "upper": PRICE * 1.03,
            "levels": 6,
            "spacing": "arithmetic",
            "stop_loss": PRICE * 0.94,
            "capital": 1000.0,
            "fee": 0.001,
            "started_at": datetime(2024, 1, 2, tzinfo=UTC),
        }
    )


def pixels(png: bytes) -> NDArray[np.float64]:
    assert png.startswith(b"\x89PNG\r\n")
    image: NDArray[np.float64] = imread(io.BytesIO(png))[..., :3].astype(np.float64)
    return image


def share_of(png: bytes, state: str) -> float:
    """Share of the pixels that have the colour of a state's band (75 % over white)."""
    colour = np.array([int(STATE_COLOURS[state][k : k + 2], 16) / 255 for k in (1, 3, 5)])
    band = 0.75 * colour + 0.25
    return float((np.abs(pixels(png) - band).max(axis=-1) < 0.01).mean())


def test_every_state_has_its_own_colour() -> None:
    assert set(STATE_COLOURS) == set(SEVERITY)
    assert len(set(STATE_COLOURS.values())) == len(SEVERITY)


def test_bands_show_the_states_and_their_shares() -> None:
    png = state_chart_png(BARS, states("NORMAL", "MANDATORY_EXIT"), grid=grid())
    normal, mandatory = share_of(png, "NORMAL"), share_of(png, "MANDATORY_EXIT")
    assert share_of(png, "WARNING") == 0
    assert normal > 0.2
    assert mandatory > 0.2
    # 768 evaluations, half of each; the chart shows the last 7 of 8 days.
    assert mandatory / normal == pytest.approx(4 / 3, rel=0.15)


def test_silence_after_the_newest_bar_is_shown() -> None:
    cut = END - timedelta(days=2)
    png = state_chart_png(BARS.filter(pl.col("close_time") <= cut), states(*["NORMAL"] * 3, "UNKNOWN"), grid=grid())
    assert share_of(png, "UNKNOWN") > 0.1


def test_picture_is_small_enough_to_attach() -> None:
    png = state_chart_png(BARS, states("NORMAL"), grid=grid())
    height, width, _ = pixels(png).shape
    assert (700 < width < 1100, 300 < height < 600) == (True, True)
    assert len(png) < 200_000


def test_stop_is_drawn_for_an_enabled_grid_alone() -> None:
    def reds(png: bytes) -> int:
        red = np.array([0xB3, 0x20, 0x2C]) / 255
        return int((np.abs(pixels(png) - red).max(axis=-1) < 0.05).sum())

    assert reds(state_chart_png(BARS, states("NORMAL"), grid=grid(), title="x")) > 200
    assert reds(state_chart_png(BARS, states("WAIT"), grid=grid(enabled=False), title="x")) == 0


def test_same_input_gives_the_same_bytes() -> None:
    assert state_chart_png(BARS, states("NORMAL")) == state_chart_png(BARS, states("NORMAL"))


def test_known_range_is_drawn() -> None:
    metrics = pl.DataFrame(
        {"known_at": BARS["close_time"], "range_high": [PRICE * 1.01] * len(BARS), "range_low": [PRICE] * len(BARS)}
    )
    with_range = state_chart_png(BARS, states("NORMAL"), metrics_1h=metrics)
    assert with_range != state_chart_png(BARS, states("NORMAL"))


@pytest.mark.parametrize(("bars", "rows"), [(BARS.clear(), states("UNKNOWN")), (BARS, states("UNKNOWN").clear())])
def test_market_without_bars_or_states_still_gives_a_picture(bars: pl.DataFrame, rows: pl.DataFrame) -> None:
    assert pixels(state_chart_png(bars, rows, grid=grid())).size > 0


def test_confusion_chart_is_darkest_where_most_hours_are() -> None:
    blocks = np.zeros((1, 3, 4), dtype=np.int64)
    blocks[0] = [[90, 10, 0, 0], [0, 0, 100, 0], [0, 0, 0, 100]]
    table = ConfusionTable(TRUTHS, ("RANGE_OK", "RANGE_WEAK", "TRANSITION", "TREND"), blocks)
    image = pixels(confusion_chart_png(table, title="300 hours"))
    dark = (np.abs(image - np.array([0x1F, 0x4E, 0x79]) / 255).max(axis=-1) < 0.02).mean(axis=0)
    columns = np.flatnonzero(dark > 0.1)
    assert columns.size > 0
    assert columns.min() > image.shape[1] / 2, "TRANSITION and TREND hold full cells, RANGE_WEAK none"
