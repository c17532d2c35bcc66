"""Figures of a policy beside its opponents, over one series or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mm_pipeline.application.studies.policies.outcomes import Outcome
from mm_pipeline.application.studies.policies.pages import PageScore, page_score
from mm_pipeline.application.studies.policies.samples import (
    Episodes,
    difference,
    resampled_mean,
    resampled_worst_tenth,
    smallest_effect,
    worst_tenths,
)
from mm_pipeline.application.studies.resampling import Estimate, Weeks
from mm_pipeline.domain.arrays import Floats

_ROUNDING: Final = 1e-9
"""% of the capital: sums that are equal but for the order in which they were added."""


@dataclass(frozen=True)
class RandomScore:
    """Against random exits: drawdown over their median and its p value, PnL per episode less theirs, z of the total."""

    drawdown_ratio: float
    drawdown_p: float
    pnl_minus_pct: Estimate
    z: float


@dataclass(frozen=True)
class ShiftedScore:
    """Against the policy's own signals shifted in time.

    Attributes
    ----------
    time_ratio, drawdown_ratio
        Time in the market, and drawdown, over the median of theirs.
    drawdown_p, es10_p, pnl_p
        One-sided: small where the policy is better.
    """

    time_ratio: float
    drawdown_ratio: float
    drawdown_p: float
    es10_p: float
    pnl_p: float


@dataclass(frozen=True)
class PolicyScore:
    """One policy, % of the capital throughout.

    Attributes
    ----------
    total_pnl_pct, pnl_per_episode_pct, es10_pct
        Sum; mean over the grids that were offered; mean of the worst tenth of them.
    episodes, exits, stops, never_entered
        Grids.
    time_in_market_ratio, drawdown_pct, drawdown_ratio_stop_flat
        Closes with inventory over those of ``stop_flat``; mean over series of the deepest drawdown, and over that of
        ``stop_flat``.
    es10_minus_tight_stop_pct, pnl_minus_stop_flat_pct, smallest_effect_pct
        Differences with their intervals; what the latter can see.
    """

    total_pnl_pct: float
    pnl_per_episode_pct: float
    episodes: int
    exits: int
    stops: int
    never_entered: int
    time_in_market_ratio: float
    drawdown_pct: float
    drawdown_ratio_stop_flat: float
    es10_pct: float
    es10_minus_tight_stop_pct: Estimate
    pnl_minus_stop_flat_pct: Estimate
    smallest_effect_pct: float
    random: RandomScore | None
    shifted: ShiftedScore | None
    pages: PageScore | None


def score(ours: Sequence[Outcome], stop_flat: Sequence[Outcome], tight_stop: Sequence[Outcome]) -> PolicyScore:
    """Judge one policy over some series, given in the same order each time."""
    episodes, flat, tight = (Episodes.joined([one.episodes for one in part]) for part in (ours, stop_flat, tight_stop))
    minus_flat = difference(episodes, flat, resampled_mean)
    pages = [one.pages for one in ours if one.pages is not None]
    return PolicyScore(
        total_pnl_pct=float(episodes.pnl_pct.sum()),
        pnl_per_episode_pct=episodes.mean_pct,
        episodes=sum(one.placed for one in ours),
        exits=sum(one.exits for one in ours),
        stops=sum(one.stops for one in ours),
        never_entered=sum(one.never_entered for one in ours),
        time_in_market_ratio=_ratio(*(sum(one.held_bars for one in part) for part in (ours, stop_flat))),
        drawdown_pct=_drawdown(ours),
        drawdown_ratio_stop_flat=_ratio(_drawdown(ours), _drawdown(stop_flat)),
        es10_pct=episodes.es10_pct,
        es10_minus_tight_stop_pct=difference(episodes, tight, resampled_worst_tenth),
        pnl_minus_stop_flat_pct=minus_flat,
        smallest_effect_pct=smallest_effect(minus_flat),
        random=_random_score(ours, episodes),
        shifted=_shifted_score(ours, episodes),
        pages=page_score(pages) if pages else None,
    )


def _random_score(ours: Sequence[Outcome], episodes: Episodes) -> RandomScore | None:
    peers = [one.random for one in ours if one.random is not None]
    if not peers:
        return None
    drawdowns = np.mean([peer.drawdowns_pct for peer in peers], axis=0)
    totals = np.sum([peer.totals_pct for peer in peers], axis=0)
    less = episodes.pnl_pct - np.concatenate([peer.mean_pct for peer in peers])
    spread = float(totals.std())
    return RandomScore(
        drawdown_ratio=_ratio(_drawdown(ours), float(np.median(drawdowns))),
        drawdown_p=p_value(-drawdowns, -_drawdown(ours)),
        pnl_minus_pct=Weeks.of(episodes.at_ms).mean(less),
        z=_ratio(float(episodes.pnl_pct.sum() - totals.mean()), spread),
    )


def _shifted_score(ours: Sequence[Outcome], episodes: Episodes) -> ShiftedScore | None:
    peers = [one.shifted for one in ours if one.shifted is not None]
    if not peers:
        return None
    drawdowns = np.mean([peer.drawdowns_pct for peer in peers], axis=0)
    pnl = np.concatenate([peer.pnl_pct for peer in peers], axis=1)
    held = np.sum([peer.held_bars for peer in peers], axis=0)
    return ShiftedScore(
        time_ratio=_ratio(sum(one.held_bars for one in ours), float(np.median(held))),
        drawdown_ratio=_ratio(_drawdown(ours), float(np.median(drawdowns))),
        drawdown_p=p_value(-drawdowns, -_drawdown(ours)),
        es10_p=p_value(worst_tenths(pnl), episodes.es10_pct),
        pnl_p=p_value(pnl.sum(axis=1), float(episodes.pnl_pct.sum())),
    )


def p_value(luck: Floats, ours: float) -> float:
    """Share of draws, ours counted among them, that are as good as ours or better: more is better."""
    return float((1 + np.sum(luck >= ours - _ROUNDING)) / (1 + len(luck)))


def _drawdown(outcomes: Sequence[Outcome]) -> float:
    return float(np.mean([one.drawdown_pct for one in outcomes]))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else np.nan
