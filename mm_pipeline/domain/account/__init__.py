"""What an account's fills, orders and balances say of a grid, and how that compares with the model.

Reading an exchange or a file does not belong here.
"""

from mm_pipeline.domain.account.attribution import FillRole, GridFills, base_behind, fills_of_grid, orders_of_grid
from mm_pipeline.domain.account.books import GridBook, close_books
from mm_pipeline.domain.account.bounds import EARLIEST_MS, FeeBounds, is_name
from mm_pipeline.domain.account.closing import held_base, is_closed, is_emptied, traded_again_ms
from mm_pipeline.domain.account.fees import fee_in_base, fee_in_quote, inventory_change_base, third_currencies
from mm_pipeline.domain.account.fill_store import FillStore, ReadSpan
from mm_pipeline.domain.account.flows import net_flows_of
from mm_pipeline.domain.account.following import LadderOrders, ladder_orders
from mm_pipeline.domain.account.frames import (
    ACCOUNT_FILLS_SCHEMA,
    ACCOUNT_FLOWS_SCHEMA,
    fills_frame,
    fills_of_frame,
    flows_frame,
    flows_of_frame,
)
from mm_pipeline.domain.account.ladder import dust_base
from mm_pipeline.domain.account.older import gap_before, with_older
from mm_pipeline.domain.account.policy import AccountPolicy, OrderApi, OrderApis
from mm_pipeline.domain.account.position import AccountPosition, base_total, position_by, position_of
from mm_pipeline.domain.account.reconciliation import Drift, reconcile
from mm_pipeline.domain.account.rounds import unround_of
from mm_pipeline.domain.account.settling import MADE_ID, SettledFill, settled
from mm_pipeline.domain.account.sharing import EarlierRange, Share, shares_of
from mm_pipeline.domain.account.steps import steps_told
from mm_pipeline.domain.account.summary import AccountSummary, account_summary, capital_utilization
from mm_pipeline.domain.account.tellings import Telling, content_of, tellings_of_kept
from mm_pipeline.domain.account.values import (
    AccountFill,
    AccountFlow,
    Balance,
    Increments,
    NetFlow,
    OpenOrder,
    PositionSource,
    Side,
    flows_in_order,
    in_order,
)

__all__ = [
    "ACCOUNT_FILLS_SCHEMA",
    "ACCOUNT_FLOWS_SCHEMA",
    "EARLIEST_MS",
    "MADE_ID",
    "AccountFill",
    "AccountFlow",
    "AccountPolicy",
    "AccountPosition",
    "AccountSummary",
    "Balance",
    "Drift",
    "EarlierRange",
    "FeeBounds",
    "FillRole",
    "FillStore",
    "GridBook",
    "GridFills",
    "Increments",
    "LadderOrders",
    "NetFlow",
    "OpenOrder",
    "OrderApi",
    "OrderApis",
    "PositionSource",
    "ReadSpan",
    "SettledFill",
    "Share",
    "Side",
    "Telling",
    "account_summary",
    "base_behind",
    "base_total",
    "capital_utilization",
    "close_books",
    "content_of",
    "dust_base",
    "fee_in_base",
    "fee_in_quote",
    "fills_frame",
    "fills_of_frame",
    "fills_of_grid",
    "flows_frame",
    "flows_in_order",
    "flows_of_frame",
    "gap_before",
    "held_base",
    "in_order",
    "inventory_change_base",
    "is_closed",
    "is_emptied",
    "is_name",
    "ladder_orders",
    "net_flows_of",
    "orders_of_grid",
    "position_by",
    "position_of",
    "reconcile",
    "settled",
    "shares_of",
    "steps_told",
    "tellings_of_kept",
    "third_currencies",
    "traded_again_ms",
    "unround_of",
    "with_older",
]
