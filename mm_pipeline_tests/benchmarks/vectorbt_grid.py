"""The grid of SPEC 7 as a flexible order function of vectorbt, which fills it order by order. Needs vectorbt."""

from __future__ import annotations

from typing import Any

import numpy as np
import vectorbt as vbt
from numba import njit
from vectorbt.portfolio import nb
from vectorbt.portfolio.enums import Direction

from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.position import GridLadder, PricePath

SPARE_QUOTE = 1.0
"""Cash beside the capital: all levels filled spend it to the last bit, and vectorbt refuses an order for rounding."""

_STEP, _INTERVAL, _IS_OVER = range(3)


def vectorbt_portfolio(grid: Grid, path: PricePath) -> Any:
    """Portfolio of the grid over bars: ``orders.records`` are its fills, ``total_profit()`` what they earned.

    Each interval is the two-state machine that SPEC 7 tells, as one writes it for this engine: every leg of the path
    asks every interval, and one call of the order function gives one order.
    """
    ladder = GridLadder.of(grid)
    return vbt.Portfolio.from_order_func(
        path.close,
        _next_order,
        ladder.levels,
        ladder.quantity_base,
        ladder.stop_loss,
        ladder.fee,
        *(np.ascontiguousarray(column) for column in path.columns),
        np.zeros(len(ladder.quantity_base), dtype=np.bool_),
        np.zeros(3, dtype=np.int64),
        flexible=True,
        init_cash=grid.capital + SPARE_QUOTE,
        max_orders=max(1000, 4 * len(path)),
        freq="15min",
    )


@njit
def _order(size: float, price: float, fee: float) -> Any:
    return nb.order_nb(
        size=size, price=price, fees=fee, direction=Direction.LongOnly, allow_partial=False, raise_reject=True
    )


@njit
def _next_order(  # noqa: PLR0917 - an order function takes its arguments in order
    c: Any,
    levels: Any,
    quantity: Any,
    stop_loss: float,
    fee: float,
    opens: Any,
    highs: Any,
    lows: Any,
    closes: Any,
    holds: Any,
    place: Any,
) -> Any:
    """The bar's next fill; column -1 when it has none left.

    ``place`` is where the bar's walk stands: the leg that ends at its n-th corner (0: the purchase at the start),
    the interval that is asked next, and whether the grid is over.
    """
    i, count = c.i, len(quantity)
    is_low_first = opens[i] - lows[i] <= highs[i] - opens[i]
    near, far = (lows[i], highs[i]) if is_low_first else (highs[i], lows[i])
    corners = (opens[0] if i == 0 else closes[i - 1], opens[i], near, far, closes[i])
    while place[_STEP] <= 4 and place[_IS_OVER] == 0:
        step = place[_STEP]
        end = corners[step]
        start = corners[step - 1] if step > 0 else end
        while place[_INTERVAL] < count:
            k = place[_INTERVAL] if end > start else count - 1 - place[_INTERVAL]
            place[_INTERVAL] += 1
            if step == 0:
                if i == 0 and levels[k] >= end:
                    holds[k] = True
                    return c.from_col, _order(quantity[k], end, fee)
            elif end > start:
                if holds[k] and start <= levels[k + 1] <= end:
                    holds[k] = False
                    return c.from_col, _order(-quantity[k], levels[k + 1], fee)
            elif not holds[k] and end <= levels[k] <= start:
                holds[k] = True
                return c.from_col, _order(quantity[k], levels[k], fee)
        if end <= stop_loss:
            for k in range(count):
                if holds[k]:
                    holds[k] = False
                    return c.from_col, _order(-quantity[k], min(stop_loss, opens[i]), fee)
            place[_IS_OVER] = 1
        place[_STEP] += 1
        place[_INTERVAL] = 0
    place[_STEP] = 0
    return -1, nb.order_nothing_nb()
