"""What every picture starts with and ends as."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK: Final = "#1b2a3a"
_DPI = 110


def canvas(width_in: float, height_in: float) -> tuple[Figure, Axes]:
    """A figure of this size, and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def png(figure: Figure) -> bytes:
    """The figure as PNG, the same bytes for the same figure."""
    written = io.BytesIO()
    figure.savefig(written, dpi=_DPI, format="png", metadata={"Software": None})
    return written.getvalue()
