"""How far an account's grid lies from the modelled one, and whether that is further than the policy allows."""

from __future__ import annotations

from dataclasses import dataclass

from mm_pipeline.domain.account.policy import AccountPolicy
from mm_pipeline.domain.account.position import AccountPosition
from mm_pipeline.domain.position import GridSimulation


@dataclass(frozen=True, kw_only=True)
class Drift:
    """One quantity of account and model.

    Attributes
    ----------
    name
        ``inventory``, ``fills`` or ``pnl``.
    account, model
        In the quantity's own unit: base, filled ladder orders, quote.
    drift, limit, unit
        ``|account - model|`` in the limit's unit, and the limit.
    """

    name: str
    account: float
    model: float
    drift: float
    limit: float
    unit: str

    @property
    def is_within(self) -> bool:
        """Whether the drift is no more than the limit."""
        return self.drift <= self.limit


def reconcile(position: AccountPosition, model: GridSimulation, policy: AccountPolicy) -> tuple[Drift, ...]:
    """Compare an account's grid with the same grid simulated up to the same moment.

    Of fills only the ladder's are compared: an account may buy its start in one order where the model buys interval by
    interval. Drifts of inventory and PnL are shares of the capital at the position's bid; PnL is
    compared where the account's is known.
    """
    capital, summary = model.grid.capital, model.summary
    model_pnl = summary.cash + summary.inventory * position.bid - capital
    inventory_drift = abs(position.inventory_base - summary.inventory) * position.bid
    fills, model_fills = position.ladder_buys + position.ladder_sells, _ladder_fills(model)
    pnl = position.total_pnl_quote
    drifts = (
        Drift(
            name="inventory",
            account=position.inventory_base,
            model=summary.inventory,
            drift=_share(inventory_drift, capital),
            limit=policy.max_inventory_drift,
            unit="share of capital",
        ),
        Drift(
            name="fills",
            account=fills,
            model=model_fills,
            drift=abs(fills - model_fills),
            limit=policy.max_fill_drift,
            unit="filled ladder orders",
        ),
    )
    if pnl is None:
        return drifts
    return (
        *drifts,
        Drift(
            name="pnl",
            account=pnl,
            model=model_pnl,
            drift=_share(abs(pnl - model_pnl), capital),
            limit=policy.max_pnl_drift,
            unit="share of capital",
        ),
    )


def _ladder_fills(model: GridSimulation) -> int:
    """Fills of the model but its purchases at the start and its sales at the stop."""
    if model.bars.is_empty():
        return 0
    intervals = model.grid.interval_count
    begun = intervals - model.ladder.rung_at(float(model.bars["open"][0]))
    return len(model.trades.bar) - begun - (intervals if model.trades.stopped_bar >= 0 else 0)


def _share(amount_quote: float, capital: float) -> float:
    return amount_quote / capital if capital > 0 else 0.0
