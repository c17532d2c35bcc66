"""Pages as warnings of the stop, on grids that are held whatever is said (SPEC 10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mm_pipeline.application.studies.policies.baseline import Baseline
from mm_pipeline.application.studies.resampling import Estimate, Weeks
from mm_pipeline.domain.arrays import Bools, Floats, Integers, Times
from mm_pipeline.domain.programme import Ending, Signals, StudiedPolicy

COOL_DOWN_BARS: Final = 16
"""SPEC 10: 4 h."""
WARNED_BARS: Final = 96
"""SPEC 10: a page warns of what comes within 24 h."""
EVENT_PCT: Final = (0.75, 1.5)
"""Loss by holding on, % of the capital, that WARNING and LATEST are to warn of: SPEC 10 has the latter; half of it."""
FIRM_RISK: Final = 0.7
"""A miss costs 7 where a false alarm costs 3 (Taggart, Loveday and Griffiths 2022)."""
_STRATA: Final = 5
_BAR_H: Final = 0.25


@dataclass(frozen=True, eq=False)
class Pages:
    """Pages of one policy over the grids of one series.

    Attributes
    ----------
    latest, warning
        How many onsets of LATEST or worse, and of WARNING or worse, 4 h apart.
    held_bars
        Closes at which one could come.
    stop_wait_bars
        Shape ``(stops,)``: closes within 24 h before the stop at which something was held.
    lead_h
        Shape ``(stops,)``: from the first LATEST page within 24 h to the open of the stop's bar; NaN without one.
    hit_at_ms, is_hit, expected
        Of each LATEST page: when; whether holding on cost ``EVENT_PCT`` or more; the share of closes with the same
        inventory and ATR (fifths each) at which it did.
    firm, firm_peers
        Sum of FIRM penalties over held closes; of always NORMAL, WARNING, LATEST, and of the same states at random.
    """

    latest: int
    warning: int
    held_bars: int
    stop_wait_bars: Integers
    lead_h: Floats
    hit_at_ms: Times
    is_hit: Bools
    expected: Floats
    firm: float
    firm_peers: Floats


def pages_of(baseline: Baseline, policy: StudiedPolicy, signals: Signals) -> Pages:
    """Count and judge the pages of a policy."""
    warning, latest = (baseline.is_said(policy, signals, degree) for degree in range(2))
    is_held, grid = baseline.is_held, baseline.grid
    rows = onsets(latest, grid)
    loss = baseline.losses_ahead(WARNED_BARS)
    is_event = loss >= EVENT_PCT[1]
    stops = np.flatnonzero(baseline.programme.ending == Ending.STOPPED)
    waits, leads = _leads(rows, baseline, stops)
    penalties, peers = firm_penalties(
        (warning.astype(np.int64) + latest)[is_held], np.digitize(loss, EVENT_PCT)[is_held]
    )
    return Pages(
        latest=len(rows),
        warning=len(onsets(warning, grid)),
        held_bars=int(is_held.sum()),
        stop_wait_bars=waits,
        lead_h=leads,
        hit_at_ms=baseline.market.closed_ms[rows],
        is_hit=is_event[rows],
        expected=_given_inventory_and_atr(baseline, is_event)[rows],
        firm=penalties,
        firm_peers=peers,
    )


def onsets(is_on: Bools, grid: Integers) -> Integers:
    """Rows at which a state begins on a grid, none within ``COOL_DOWN_BARS`` of the one before on the same grid."""
    begins = is_on.copy()
    begins[1:] &= ~(is_on[:-1] & (grid[:-1] == grid[1:]))
    kept: list[int] = []
    for row in np.flatnonzero(begins).tolist():
        if not kept or grid[kept[-1]] != grid[row] or row - kept[-1] >= COOL_DOWN_BARS:
            kept.append(row)
    return np.array(kept, dtype=np.int64)


def _leads(pages: Integers, baseline: Baseline, stops: Integers) -> tuple[Integers, Floats]:
    """Closes within 24 h before each stop at which something was held, and the lead of the first page among them, h."""
    programme, is_held = baseline.programme, baseline.is_held
    waits, leads = np.zeros(len(stops), dtype=np.int64), np.full(len(stops), np.nan)
    for place, k in enumerate(stops.tolist()):
        last = int(programme.last[k])
        begun = max(int(programme.entry[k]) + 1, last - WARNED_BARS)
        waits[place] = is_held[begun:last].sum()
        first = int(np.searchsorted(pages, begun))
        if first < len(pages) and pages[first] < last:
            leads[place] = (last - 1 - int(pages[first])) * _BAR_H
    return waits, leads


def _given_inventory_and_atr(baseline: Baseline, is_event: Bools) -> Floats:
    """Shape ``(n,)``: share of events among held closes of the same fifths of inventory and ATR; 0 elsewhere."""
    is_held = baseline.is_held
    found = np.zeros(len(is_held))
    if not is_held.any():
        return found
    inventory, atr = baseline.programme.held_share[is_held], baseline.market.atr_share[is_held]
    stratum = _fifth(inventory) * _STRATA + _fifth(atr)
    counts = np.bincount(stratum, minlength=_STRATA**2)
    events = np.bincount(stratum, weights=is_event[is_held], minlength=_STRATA**2)
    found[is_held] = (events / np.maximum(counts, 1))[stratum]
    return found


def _fifth(values: Floats) -> Integers:
    return np.digitize(values, np.quantile(values, np.arange(1, _STRATA) / _STRATA))


def firm_penalties(said: Integers, came: Integers) -> tuple[float, Floats]:
    """Sum of FIRM penalties (0 NORMAL, 1 WARNING, 2 LATEST), and of its peers.

    At each of the two thresholds, weighted alike, a miss costs ``FIRM_RISK`` and a false alarm one less it. Peers are
    each state always, and the states as often as they were said, at random.
    """
    total, peers = 0.0, np.zeros(4)
    for threshold in (1, 2):
        is_event, is_alarm, rows = came >= threshold, said >= threshold, max(len(said), 1)
        events, alarms, hits = (int(np.count_nonzero(each)) for each in (is_event, is_alarm, is_event & is_alarm))
        miss, false = FIRM_RISK / 2, (1 - FIRM_RISK) / 2
        total += float(miss * (events - hits) + false * (alarms - hits))
        always = [miss * events if state < threshold else false * (rows - events) for state in range(3)]
        share = alarms / rows
        peers += np.array([*always, miss * events * (1 - share) + false * (rows - events) * share])
    return total, peers


@dataclass(frozen=True)
class PageScore:
    """How good pages were, over one or more series.

    Attributes
    ----------
    recall, recall_chance
        Share of stop-outs with a LATEST page within 24 h; that of as many pages at random.
    latest_per_stop, warning_per_stop
        Pages per stop-out; NaN without one.
    lead_median_h, lead_p10_h
        Of the stop-outs that were warned of.
    firm_skill
        One less the penalty over that of the best peer.
    lift
        Events after LATEST pages over those that their inventory and ATR let expect.
    """

    recall: float
    recall_chance: float
    latest_per_stop: float
    warning_per_stop: float
    lead_median_h: float
    lead_p10_h: float
    firm_skill: float
    lift: Estimate


def page_score(parts: Sequence[Pages]) -> PageScore:
    """Judge the pages of one policy."""
    leads, waits = (np.concatenate([getattr(part, name) for part in parts]) for name in ("lead_h", "stop_wait_bars"))
    latest, held = sum(part.latest for part in parts), sum(part.held_bars for part in parts)
    warned, stops = leads[np.isfinite(leads)], len(leads)
    median, p10 = np.quantile(warned, [0.5, 0.1]).tolist() if len(warned) else (np.nan, np.nan)
    peer = np.min(np.sum([part.firm_peers for part in parts], axis=0))
    hits, expected = (np.concatenate([getattr(part, name) for part in parts]) for name in ("is_hit", "expected"))
    at_ms = np.concatenate([part.hit_at_ms for part in parts])
    return PageScore(
        recall=len(warned) / stops if stops else np.nan,
        recall_chance=float(np.mean(1 - (1 - latest / held) ** waits)) if stops and held else np.nan,
        latest_per_stop=latest / stops if stops else np.nan,
        warning_per_stop=sum(part.warning for part in parts) / stops if stops else np.nan,
        lead_median_h=median,
        lead_p10_h=p10,
        firm_skill=1 - sum(part.firm for part in parts) / peer if peer > 0 else np.nan,
        lift=Weeks.of(at_ms).ratio(hits.astype(float), expected),
    )
