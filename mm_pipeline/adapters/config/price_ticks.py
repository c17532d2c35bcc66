"""The price step of each market as its exchange told it last, kept beside the frames: backfills use what runs knew."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import polars as pl

from mm_pipeline.adapters.config.grid_files import GridFolder, GridProblem, usable
from mm_pipeline.adapters.frames.files import FrameFiles
from mm_pipeline.domain.errors import ConfigError, StorageError
from mm_pipeline.domain.grid import below_tick
from mm_pipeline.domain.market import Market

_FILE: Final = "price_ticks/price_ticks.parquet"
_SCHEMA: Final = {"market": pl.String(), "price_tick": pl.Float64()}
_logger = logging.getLogger(__name__)


class PriceTicks:
    """Price steps in one Parquet file, by market; a market that no exchange told of has none.

    Parameters
    ----------
    root
        Of the frames: a local path or an fsspec URL.
    """

    def __init__(self, root: str) -> None:
        self._files = FrameFiles(root)

    def known(self) -> dict[Market, float]:
        """Quote by market. Of a file that cannot be read nothing is known: ladders stay as they were declared."""
        try:
            frame = self._files.read(_FILE)
        except StorageError as error:
            _logger.warning("price steps are not known: %s", error)
            return {}
        rows = () if frame is None else frame.select(list(_SCHEMA)).rows()
        return {Market.parse(market): price_tick for market, price_tick in rows}

    def keep(self, told: Mapping[Market, float]) -> bool:
        """Keep what exchanges tell now; whether any of it is new. What cannot be written is told the next time."""
        known = self.known()
        merged = known | dict(told)
        if merged == known:
            return False
        rows = sorted((str(market), price_tick) for market, price_tick in merged.items())
        try:
            self._files.write({_FILE: pl.DataFrame(rows, schema=_SCHEMA, orient="row")}, metadata={})
        except StorageError as error:
            _logger.warning("price steps are not kept: %s", error)
            return False
        return True


def without_too_fine(folder: GridFolder, ticks: Mapping[Market, float]) -> GridFolder:
    """The folder, with grids that their exchange cannot trade as problems: by its price step, or for it at a loss.

    A disabled grid is none: switching a grid off must always be possible.
    """
    grids, problems = [], list(folder.problems)
    for grid in folder.grids:
        if not grid.enabled:
            grids.append(grid)
            continue
        tick, file = ticks.get(grid.market), folder.files.get(grid.id, "")
        try:
            why = None if tick is None else below_tick(grid, tick)
            if why is not None:
                write = "Declare fewer levels or wider bounds."
                raise ConfigError(f"{why}.", write, **{"file": file, "key": "levels"} if file else {})
            usable(grid.at_tick(tick), file)
        except ConfigError as error:
            problems.append(GridProblem(file, grid.id, error))
        else:
            grids.append(grid)
    return replace(folder, grids=tuple(grids), problems=tuple(problems))
