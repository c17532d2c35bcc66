"""Random stories of several grids and an operator on one account: the truth is told, or it is said not to be known."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import combinations
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mm_pipeline.adapters.account import AccountReading
from mm_pipeline.application.account_books import books_of
from mm_pipeline.application.account_positions import position_in
from mm_pipeline.application.read_accounts import Accounts
from mm_pipeline.domain.account import AccountPosition, Side, dust_base
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.instants import from_ms
from mm_pipeline_tests.account_bots import MINUTE_MS, STEP, Bot
from mm_pipeline_tests.account_samples import MARKET, account_policy
from mm_pipeline_tests.account_stories import Story
from mm_pipeline_tests.effort import tries
from mm_pipeline_tests.grid_samples import hundreds_grid

POLICY = account_policy()
FEES = st.sampled_from(["USDT", "USDT", "ETH", "KCS"])
HARMLESS = {"own trades", "own coins", "sold by hand", "grids with an interval in common"}
"""What happened beside the grids and can be told from what they did."""


@dataclass
class Watchdog:
    """What is made of readings, one after the other; ``short``: grids of which the last showed too little base."""

    short: dict[str, bool] = field(default_factory=dict)

    def look(self, story: Story, grids: dict[str, Grid], reading: AccountReading) -> dict[str, AccountPosition]:
        """Each grid's position."""
        accounts = Accounts(readings={MARKET: reading})
        booked = books_of(
            grids,
            accounts,
            POLICY,
            earlier=story.earlier,
            was_short=lambda grid: self.short.get(grid.id, False),
        )
        found = {name: position_in(grid, booked[name], reading, POLICY)[0] for name, grid in grids.items()}
        assert not accounts.problems
        self.short = {
            name: (told.uncovered_base or 0.0) > dust_base(grids[name], POLICY) or told.sold_by_balance_base > 0.0
            for name, told in found.items()
        }
        return found


@dataclass
class Telling:
    """A story while it happens, and who looks at it."""

    story: Story
    watchdog: Watchdog = field(default_factory=Watchdog)

    def read(self, gaps: tuple[int, int, int]) -> None:
        """Read, and hold what is said against the truth; nobody looks before a grid has started."""
        story = self.story
        running = {name: bot for name, bot in story.bots.items() if bot.holds}
        reading, places = story.read(gaps)
        grids = {name: bot.grid for name, bot in running.items()}
        found = self.watchdog.look(story, grids, reading)
        newest, first = len(story.moments) - 1, min(places)
        unlisted = [one for one in story.fills if one.listed > places[2] and one.moment <= newest]
        missing = {one.fill.order_id for one in unlisted}  # an order of which a part is listed may not be known yet
        (balance,) = (one.total for one in reading.balances)
        dust = {name: dust_base(grid, POLICY) + STEP * 10 for name, grid in grids.items()}
        said = {name: told.inventory_base for name, told in found.items() if not told.doubts}
        assert sum(said.values()) <= balance + sum(dust.values()), "the balance disproves it"
        for name, base in said.items():
            assert base >= -dust[name]
            if story.doubt <= HARMLESS:
                changes = [one.change_base for one in story.fills if one.owner == name and one.fill.order_id in missing]
                stale = {sum(some) for size in range(len(changes) + 1) for some in combinations(changes, size)}
                true = [moment.held[name] - less for moment in story.moments[first:] for less in stale]
                assert any(abs(base - one) <= dust[name] for one in true), (name, base, true, story.doubt)
        if story.doubt <= {"grids with an interval in common"} and first == newest and not unlisted:
            unknown = {name: found[name].doubts for name in grids if name not in said and not story.is_open(name)}
            assert unknown == {}, "the balance tells all"

    def read_twice(self) -> None:
        """What a sale by hand was of is known once two readings show the balance."""
        self.read((0, 0, 0))
        seen = set(self.story.doubt)
        if seen == {"sold by hand"}:
            self.story.doubt.clear()
        self.read((0, 0, 0))
        self.story.doubt = seen


def ladder(name: str, **changes: Any) -> Grid:
    return hundreds_grid(**({"id": name, "exchange": "kucoin", "fee": 0.001, "levels": 4} | changes))


LADDERS = (
    {"levels": 4, "capital": 300.0},
    {"levels": 4, "capital": 390.0},  # the same levels, other quantities
    {"levels": 4, "capital": 600.0},
    {"levels": 7, "capital": 960.0},  # every second level the same
    {"lower": 103.0, "upper": 127.0, "levels": 4, "capital": 750.0},
    {"lower": 140.0, "upper": 170.0, "stop_loss": 130.0, "levels": 4, "capital": 330.0},
    {"lower": 104.0, "upper": 112.0, "levels": 9, "capital": 800.0},  # quantities that differ less than the tolerance
    {"levels": 7, "capital": 600.0},  # the same intervals as the first has at the same levels
)


def _event(kind: str, **parts: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.tuples(st.just(kind), st.fixed_dictionaries(parts))


NUMBERS = st.integers(0, 2)
BEGINNINGS = st.fixed_dictionaries(
    {
        "ladder": st.integers(0, len(LADDERS) - 1),
        "minutes": st.sampled_from([1, 20, 90]),
        "since": st.sampled_from([0, 0, 5]),
        "price": st.sampled_from([99.0, 107.5, 117.5, 131.0]),
        "fee_in": FEES,
        "is_one_order": st.booleans(),
    }
)
TRADE = _event(
    "ladder",
    name=NUMBERS,
    place=st.integers(0, 9),
    parts=st.sampled_from([(), (), (0.5,), (0.2, 0.7)]),
    fee_in=FEES,
    late=st.sampled_from([0, 0, 0, 1, 3]),
    better=st.sampled_from([0.0, 0.0, 0.002]),
)
READ = _event("read", gaps=st.sampled_from([(0, 0, 0), (0, 0, 0), (1, 0, 0), (0, 1, 0), (2, 1, 1), (0, 0, 1)]))
OWN = _event(
    "own",
    side=st.sampled_from(list(Side)),
    price=st.sampled_from([100.0, 107.31, 110.0, 110.01, 116.4, 120.0, 125.0]),
    quantity=st.one_of(st.floats(0.001, 6.0), st.sampled_from([0.9, 1.0, 3.3])),
    fee_in=FEES,
    minutes=st.sampled_from([1.0, 90.0]),
)
LEAVE = _event(
    "leave",
    names=st.sampled_from([[0], [0], [1], [2], [0, 1, 2]]),
    shares=st.sampled_from([[1.0], [1.0], [0.5], [0.5, 1.0]]),
    price=st.sampled_from([98.37, 110.0, 111.2, 131.9]),
    decimals=st.integers(2, 4),
)
RESTART = _event(
    "restart",
    name=NUMBERS,
    price=st.sampled_from([107.5, 117.5]),
    shift=st.sampled_from([0.0, 4.0]),
    fee_in=FEES,
    minutes=st.sampled_from([1.0, 60.0]),
)
CONVERT = _event("convert", share=st.sampled_from([0.3, 1.0]))
DEPOSIT = _event("deposit", quantity=st.sampled_from([0.05, 1.0]))
EVENTS = st.lists(st.one_of(TRADE, TRADE, TRADE, READ, OWN, LEAVE, RESTART, CONVERT, DEPOSIT), max_size=14)
QUIET = st.lists(st.one_of(TRADE, TRADE, TRADE, READ, LEAVE, RESTART), max_size=14)
"""Without coins that are no grid's: here the balance tells all, and nothing may be left in doubt."""


def twins(beginnings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same beginnings, all with the ladder of the first."""
    return [one | {"ladder": beginnings[0]["ladder"]} for one in beginnings]


SEVERAL = st.lists(BEGINNINGS, min_size=1, max_size=3)
SOME_TWINS = st.one_of(SEVERAL, SEVERAL, SEVERAL.map(twins))


def tell(beginnings: list[dict[str, Any]], own: float, events: list[tuple[str, dict[str, Any]]]) -> None:
    """Play a story, and hold every reading against the truth."""
    names = [f"grid-{place}" for place in range(len(beginnings))]
    bots = {name: Bot(ladder(name, **LADDERS[one["ladder"]])) for name, one in zip(names, beginnings, strict=True)}
    story = Story(bots, own, doubt={"own coins"} if own else set())
    for name, one in zip(names, beginnings, strict=True):
        story.now_ms += MINUTE_MS * one["minutes"]
        started = from_ms(story.now_ms) - timedelta(minutes=one["since"])
        bots[name].grid = Grid.model_validate(bots[name].grid.model_dump() | {"started_at": started})
        story.start(name, one["price"], one["fee_in"], is_one_order=one["is_one_order"])
    telling = Telling(story)
    for kind, parts in events:
        known = dict(parts)
        if "name" in known:
            known["name"] = names[known["name"] % len(names)]
        if "names" in known:
            known["names"] = sorted({names[place % len(names)] for place in known["names"]})
        getattr(telling if kind == "read" else story, kind)(**known)
    telling.read_twice()


@settings(max_examples=tries(100), deadline=None)
@given(SOME_TWINS, st.sampled_from([0.0, 0.5, 7.0]), EVENTS)
def test_several_grids_beside_an_operator_are_told_truly_or_not_known(
    beginnings: list[dict[str, Any]], own: float, events: list[tuple[str, dict[str, Any]]]
) -> None:
    tell(beginnings, own, events)


@settings(max_examples=tries(100), deadline=None)
@given(SOME_TWINS, QUIET)
def test_several_grids_with_no_coins_beside_them_are_known(
    beginnings: list[dict[str, Any]], events: list[tuple[str, dict[str, Any]]]
) -> None:
    tell(beginnings, 0.0, events)
