"""``mm study policies``: exits on the same grids, opponents, pages and scores, and the command on a small market."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from mm_pipeline.application.studies.policies.baseline import Baseline
from mm_pipeline.application.studies.policies.catalogue import DROPPED, rules_of, studied_policies
from mm_pipeline.application.studies.policies.opponents import Draws, oracle_exits, random_exits
from mm_pipeline.application.studies.policies.outcomes import outcome_of_exits, paired_outcome
from mm_pipeline.application.studies.policies.pages import firm_penalties, onsets, pages_of
from mm_pipeline.application.studies.policies.samples import (
    Episodes,
    difference,
    resampled_mean,
    resampled_worst_tenth,
    worst_tenths,
)
from mm_pipeline.application.studies.policies.scores import p_value
from mm_pipeline.application.studies.policies.spa import spa_p_value, stationary_rows
from mm_pipeline.cli import main
from mm_pipeline.domain.programme import ProgrammeMarket, StudiedPolicy, run_programme, signals_of
from mm_pipeline_tests.effort import tries
from mm_pipeline_tests.markets import settings_of, simulated_candles
from mm_pipeline_tests.programme_samples import market_of, offers_of, simulated_market

WEEK_MS = 7 * 86_400_000
NO_SHIFT = np.zeros(1, dtype=np.int64)
approx = pytest.approx


def baseline_of(market: ProgrammeMarket) -> Baseline:
    seed, calibrated = (settings_of(name).exit_state for name in ("seed", "calibrated"))
    offers = replace(offers_of(market), is_offered=market.is_quiet(seed, calibrated))
    return Baseline.of(market, offers, seed)


def judged() -> tuple[StudiedPolicy, ...]:
    return studied_policies(settings_of().exit_state, settings_of("calibrated").exit_state)


@pytest.mark.parametrize("name", ["seed", "mandatory", "p_stop_0.5", "loss_1.0", "either_0.5_2.0", "total_4.0"])
def test_paired_policy_is_the_programme_with_entries_of_stop_flat(name: str) -> None:
    market = simulated_market()
    baseline = baseline_of(market)
    policy = next(policy for policy in judged() if policy.name == name)
    signals, rules = signals_of(market, policy), rules_of(policy, settings_of().exit_state)
    walked = run_programme(market, baseline.offers.only_at(baseline.programme.entry), signals, rules)
    left = baseline.left(policy, signals, NO_SHIFT)
    pnl, [drawdown] = baseline.value(left)
    is_placed = left[0] >= 0
    assert walked.entry.tolist() == baseline.programme.entry[is_placed].tolist()
    assert walked.last.tolist() == left[0][is_placed].tolist()
    np.testing.assert_allclose(walked.pnl_pct, pnl[0][is_placed], rtol=0, atol=1e-9)
    assert walked.drawdown_pct == approx(drawdown, abs=1e-9)
    assert outcome_of_exits(baseline, left).held_bars == walked.held_bars


def test_signals_shifted_round_are_those_of_a_rolled_market() -> None:
    market = simulated_market()
    baseline, policy = baseline_of(market), StudiedPolicy(name="p", p_stop=(None, 0.3))
    signals, shift = signals_of(market, policy), 1234
    rolled = replace(signals, reach=signals.reach.copy())
    rolled.reach[:, market.first :] = np.roll(signals.reach[:, market.first :], -shift, axis=1)
    shifted = baseline.left(policy, signals, np.array([shift]))
    assert shifted.tolist() == baseline.left(policy, rolled, NO_SHIFT).tolist()
    assert shifted.tolist() != baseline.left(policy, signals, NO_SHIFT).tolist()


def test_shifted_trigger_that_stands_at_entry_counts_once_it_was_off() -> None:
    market = simulated_market()
    baseline, policy = baseline_of(market), judged()[0]
    signals, shifts = signals_of(market, policy), np.array([997, 3001])
    span, first = len(market.closed_ms) - market.first, market.first
    programme, is_fact = baseline.programme, baseline.needs(policy).is_fact
    for shift, left in zip(shifts.tolist(), baseline.left(policy, signals, shifts).tolist(), strict=True):
        for entry, last, found in zip(programme.entry.tolist(), programme.last.tolist(), left, strict=True):
            is_on = [signals.is_on[1, first + (row + shift - first) % span] for row in range(entry, last)]
            off = is_on.index(False) if False in is_on else len(is_on)
            rows = (row for row in range(entry + 1, last) if is_fact[row] or (is_on[row - entry] and row - entry > off))
            assert found == min(next(rows, last) + 1, last)


def test_random_exits_are_as_frequent_as_the_policy_at_each_inventory() -> None:
    market = simulated_market()
    baseline, policy = baseline_of(market), StudiedPolicy(name="p", p_stop=(None, 0.3))
    left = baseline.left(policy, signals_of(market, policy), NO_SHIFT)
    found = random_exits(baseline, left[0], Draws.of(baseline, "a", 400))
    last = baseline.programme.last
    share, exits = np.mean(found < 0), np.mean((found >= 0) & (found < last))
    assert share == approx(np.mean(left < 0), abs=0.03)
    assert exits == approx(np.mean((left >= 0) & (left < last)), abs=0.1)
    again = random_exits(baseline, left[0], Draws.of(baseline, "a", 400))
    assert np.array_equal(found, again)


def test_oracle_leaves_each_grid_at_its_best() -> None:
    baseline = baseline_of(simulated_market())
    pnl, _ = baseline.value(oracle_exits(baseline))
    programme = baseline.programme
    best = [
        max(0.0, *programme.worth_pct[entry + 1 : last + 1])
        for entry, last in zip(programme.entry, programme.last, strict=True)
    ]
    np.testing.assert_allclose(pnl[0], best, atol=1e-12)


def test_pages_begin_a_state_four_hours_apart() -> None:
    is_on = np.zeros(60, dtype=np.bool_)
    is_on[[3, 4, 10, 22, 41, 42]] = True
    grid = np.where(np.arange(60) < 42, 0, 1)
    # 10 is within 16 bars of 3; 42 is on another grid than 41.
    assert onsets(is_on, grid).tolist() == [3, 22, 41, 42]


def test_lead_runs_from_the_first_page_of_the_last_day_to_the_stop() -> None:
    market = simulated_market()
    baseline, policy = baseline_of(market), StudiedPolicy(name="p", has_facts=False, p_stop=(0.2, 0.4))
    signals = signals_of(market, policy)
    found = pages_of(baseline, policy, signals)
    programme = baseline.programme
    stops = np.flatnonzero(programme.ending == 1)
    pages = onsets(baseline.is_said(policy, signals, 1), baseline.grid)
    assert len(found.lead_h) == len(stops) > 2
    for lead, k in zip(found.lead_h.tolist(), stops.tolist(), strict=True):
        last, entry = int(programme.last[k]), int(programme.entry[k])
        before = [page for page in pages.tolist() if max(entry, last - 97) < page < last]
        assert lead == approx((last - 1 - before[0]) / 4 if before else np.nan, nan_ok=True)
    assert found.latest == len(pages)
    event = baseline.losses_ahead(96)[pages] >= 1.5
    assert found.is_hit.tolist() == event.tolist()


def test_loss_ahead_is_against_leaving_at_the_next_close() -> None:
    baseline = baseline_of(simulated_market())
    programme, found = baseline.programme, baseline.losses_ahead(96)
    for entry, last in zip(programme.entry[:9].tolist(), programme.last[:9].tolist(), strict=True):
        for row in range(entry + 1, last + 1, 5):
            later = programme.worth_pct[row + 1 : min(row + 97, last) + 1]
            wanted = later[0] - later.min() if row < last - 1 else 0.0
            assert found[row] == approx(wanted, abs=1e-12)


def test_firm_penalties_of_a_golden_case() -> None:
    # By hand: at WARNING one miss and one false alarm, at LATEST one miss; a miss costs .7 / 2, a false alarm .3 / 2.
    total, peers = firm_penalties(np.array([0, 1, 2, 0, 2]), np.array([1, 0, 2, 0, 2]))
    assert total == approx(0.35 + 0.15)
    # Always NORMAL misses 3 and 2 events, always WARNING 2 and has 2 false alarms, always LATEST has 2 and 3.
    assert peers[:3].tolist() == approx([5 * 0.35, 2 * 0.15 + 2 * 0.35, 5 * 0.15])


def test_worst_tenth_counts_the_edge_in_part() -> None:
    values = np.arange(15.0)
    # A tenth of 15 is 1.5 values: 0, and a half of 1.
    assert worst_tenths(values[None, :])[0] == approx((0 + 0.5 * 1) / 1.5)
    week, times = np.arange(15) // 5, np.array([[1, 1, 1], [0, 3, 0]])
    assert resampled_worst_tenth(values, week, times).tolist() == approx([0.5 / 1.5, 5.0])
    assert resampled_mean(values, week, times).tolist() == approx([7.0, 7.0])


def test_difference_draws_the_same_weeks_for_both() -> None:
    random = np.random.default_rng(1)
    at_ms = np.repeat(np.arange(60) * WEEK_MS, 5)
    pnl = random.normal(size=300)
    ours, theirs = Episodes(at_ms, pnl + 0.25), Episodes(at_ms, pnl)
    for statistic in (resampled_mean, resampled_worst_tenth):
        found = difference(ours, theirs, statistic)
        assert [found.value, found.low, found.high] == approx([0.25] * 3)
    apart = difference(ours, Episodes(at_ms, random.normal(size=300)), resampled_mean)
    assert apart.low < apart.value < apart.high


def test_p_value_counts_ours_and_ties() -> None:
    assert p_value(np.array([1.0, 2.0, 3.0]), 2.0) == approx(3 / 4)
    assert p_value(np.array([1.0, 1.0]), 1.0 + 1e-12) == 1.0


# statsmodels, imported by arch, is built on decorators that this pandas deprecates
@pytest.mark.filterwarnings("ignore:(Substitution|Appender) is deprecated")
@pytest.mark.parametrize("gain", [-0.2, 0.0, 0.1])
def test_spa_is_that_of_arch(gain: float) -> None:
    from arch.bootstrap import SPA

    gains = np.random.default_rng(5).normal(size=(200, 6)) + np.array([gain, -1.0, 0.0, 0.0, -0.1, 0.05])
    # arch compares means as they are; of variants that spread alike the studentized ones are in the same order.
    gains /= np.std([gains[rows].mean(axis=0) for rows in stationary_rows(200, 4, 0)], axis=0)
    peer = SPA(np.zeros(200), -gains, block_size=4, reps=2000, bootstrap="stationary", seed=1)
    peer.compute()
    assert spa_p_value(gains) == approx(peer.pvalues["consistent"], abs=0.03)


def test_spa_of_nothing_is_not_known() -> None:
    assert np.isnan(spa_p_value(np.zeros((10, 3))))
    assert np.isnan(spa_p_value(np.zeros((1, 3))))


def test_shuffled_returns_beat_no_shifted_signals() -> None:
    policy, beaten = StudiedPolicy(name="p", p_stop=(0.2, 0.4)), 0
    seeds = tries(6)
    for seed in range(seeds):
        market = market_of(shuffled_candles(seed))
        baseline = baseline_of(market)
        outcome = paired_outcome(baseline, policy, signals_of(market, policy), Draws.of(baseline, "s", 20))
        assert outcome.shifted is not None
        beaten += p_value(outcome.shifted.pnl_pct.sum(axis=1), float(outcome.episodes.pnl_pct.sum())) <= 0.05
    # 3 of 20 seeds.
    assert beaten <= max(1, 3 * seeds // 20)


def shuffled_candles(seed: int):  # type: ignore[no-untyped-def]
    """Simulated candles in another order, chained anew: no volatility or direction that stays."""
    candles = simulated_candles(7, 120)
    opened, high, low, close = (np.log(candles[name].to_numpy()) for name in ("open", "high", "low", "close"))
    order = np.random.default_rng(seed).permutation(len(candles))
    moves = (close - opened)[order]
    start = opened[0] + np.append(0.0, np.cumsum(moves)[:-1])
    paths = {"open": start, "high": start + (high - opened)[order], "low": start + (low - opened)[order]}
    return candles.with_columns(**{name: np.exp(path) for name, path in paths.items()}, close=np.exp(start + moves))


def invoked(*arguments: str) -> Result:
    result = CliRunner().invoke(main, list(arguments), env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path, str]:
    """Arguments of the command, its folder, and what it printed when it wrote there."""
    folder = tmp_path_factory.mktemp("policies")
    path = folder / "kucoin_ETH-USDT_15m.parquet"
    simulated_candles(7, 100).with_columns(volume=1e6).write_parquet(path)
    settings = folder / "settings.yaml"
    settings.write_text("risk:\n  history_days: 20\n  min_history_days: 7\n  draw_every_bars: 13\n")
    options = ["--candles", str(path), "--settings", str(settings), "--random-draws", "50"]
    arguments = ["study", "policies", *options]
    return arguments, folder, invoked(*arguments, "--out", str(folder / "a")).stdout


def test_command_says_the_same_in_three_forms_and_twice(command: tuple[list[str], Path, str]) -> None:
    arguments, folder, table = command
    markdown = invoked(*arguments, "--markdown", "--out", str(folder / "b")).stdout
    data = json.loads(invoked(*arguments, "--json").stdout)
    for name in ("summary.json", "policies.md", "policies.png"):
        assert (folder / "a" / name).read_bytes() == (folder / "b" / name).read_bytes()
    assert json.loads((folder / "a" / "summary.json").read_text()) == data
    assert (folder / "a" / "policies.md").read_text() == markdown
    assert (folder / "a" / "policies.png").read_bytes().startswith(b"\x89PNG")
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 80
    cells = [line.strip("| ").split(" | ") for line in markdown.splitlines() if line.startswith("| ")]
    for row in cells:
        if "---" not in row[0]:
            assert all(cell.strip() in table for cell in row)
    paired = data["configurations"][0]["pooled"]["paired"]
    assert f"{paired['p_stop_0.5']['pnl_per_episode_pct']:.2f}" in table


def test_command_gives_every_figure_of_every_policy(command: tuple[list[str], Path, str]) -> None:
    data = json.loads((command[1] / "a" / "summary.json").read_text())
    assert set(data) == {"configurations", "variants_tried", "spa_p"}
    assert data["variants_tried"] == len(judged()) + DROPPED
    assert [found["name"] for found in data["configurations"]] == ["6 levels", "20 levels", "proposals"]
    for found in data["configurations"]:
        assert found["series"]["kucoin:ETH/USDT"] == found["pooled"]
        paired, free = found["pooled"]["paired"], found["pooled"]["free"]
        assert {"stop_only", "stop_flat", "tight_stop", "oracle"} <= set(paired)
        assert set(free) | {"oracle"} == set(paired)
        offered = paired["stop_flat"]["episodes"]
        for policy in (policy.name for policy in judged()):
            assert paired[policy]["episodes"] + paired[policy]["never_entered"] == offered
            assert set(paired[policy]) == set(free[policy])
            wanted = {"recall", "recall_chance", "pages_per_stop", "lead_h", "firm_skill", "lift", "z_random"}
            assert wanted | {"es10_minus_tight_stop_pct", "pnl_minus_random_pct"} <= set(paired[policy])
        assert paired["oracle"]["total_pnl_pct"] >= max(one["total_pnl_pct"] for one in paired.values())


def test_too_short_candles_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "kucoin_ETH-USDT_15m.parquet"
    simulated_candles(7, 120).head(2000).write_parquet(path)
    result = CliRunner().invoke(main, ["study", "policies", "--candles", str(path)])
    assert result.exit_code == 2
    assert "too short to study" in result.stderr
