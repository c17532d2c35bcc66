"""One run of the watch: what time it is, what was decided, and where candles come from."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from mm_pipeline.adapters.candles.candle_store import CandleStore, MarketBars
from mm_pipeline.adapters.candles.stored import CandleUpdate, StoredCandles
from mm_pipeline.adapters.candles.update import update_markets
from mm_pipeline.adapters.clock import Clock
from mm_pipeline.adapters.config.grid_files import GridFolder, load_grids
from mm_pipeline.adapters.config.price_ticks import PriceTicks, without_too_fine
from mm_pipeline.adapters.frames.store import FrameStore
from mm_pipeline.adapters.journal import Journal, JournalCircuits
from mm_pipeline.adapters.writing import Turns, turns_of
from mm_pipeline.application.delivery import send_heartbeat, stays_here
from mm_pipeline.application.exchange_time import CorrectedClock, ExchangeTime, ask_time
from mm_pipeline.application.grid_file_incidents import observe_folder
from mm_pipeline.application.installation import Installation
from mm_pipeline.application.month_stamp import hashes_by_key
from mm_pipeline.application.opening.channels import Delivery, delivery_of
from mm_pipeline.application.plan import Plan, WatchedGrid, make_plan
from mm_pipeline.application.silence import silence
from mm_pipeline.application.storage_guard import StorageGuard
from mm_pipeline.application.update_alone import update_alone
from mm_pipeline.domain.candles import AskedAgain, CandleSource, FetchRange, TickSource
from mm_pipeline.domain.instants import from_ms, to_ms
from mm_pipeline.domain.market import Market
from mm_pipeline.domain.pipeline import MarketPolicy
from mm_pipeline.domain.risk import StopOutlook
from mm_pipeline.settings import Deployment, Settings

_DAY_MS = 86_400_000


class Watch:
    """One run of an installation: its time, its plan, its candles, its turn among the writers.

    What is configured is the installation's; what is decided from candles is the domain's.
    """

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self._plans: dict[tuple[datetime, datetime, int, bool], Plan] = {}
        self._ticks: dict[Market, float] = {}
        self._losses: dict[Market, list[str]] = {}
        self._bars: dict[tuple[Market, int, int], MarketBars] = {}
        self._stops: dict[tuple[Market, int, int], StopOutlook] = {}
        self._hashes: dict[tuple[datetime, datetime, int, tuple[int, ...]], Mapping[str, str]] = {}
        self._turns: Turns | None = None
        self._journal: Journal | None = None
        self._time = ExchangeTime()
        self._sources: Mapping[str, CandleSource] = {}

    @property
    def deployment(self) -> Deployment:
        """Settings and the folder of grids."""
        return self.installation.deployment

    @property
    def settings(self) -> Settings:
        """The installation's settings."""
        return self.installation.settings

    @property
    def frames_root(self) -> str:
        """Path or URL of the frames."""
        return self.installation.frames_root

    @property
    def market_policy(self) -> MarketPolicy:
        """What a market is judged by."""
        return self.settings.market

    @property
    def since_window_ms(self) -> int:
        """How far back the beginning of a trigger is looked for."""
        return int(self.settings.exit_state.since_window.total_seconds() * 1000)

    def true_clock(self) -> Clock:
        """The configured clock, corrected where an exchange has told this run that it is wrong."""
        return CorrectedClock(self.installation.clock, self._time.offset_ms)

    def now(self) -> datetime:
        """The present moment, as far as it is known."""
        return self.true_clock().now()

    def ask_time(self, plan: Plan) -> ExchangeTime:
        """Ask the plan's exchanges for their time; from now on this run is made at it."""
        self._sources = self._open_sources(plan)
        self._time, self._sources = ask_time(self._sources, self.settings.exchange_access.max_clock_offset)
        return self._time

    def decisions(self) -> Journal:
        """The open journal; what it holds of a time that has not come counts as never made."""
        if self._journal is None:
            self._journal = self.installation.open_journal()
        self._journal.claim(is_paper=self.settings.is_paper)
        self._journal.keep_time(self.true_clock(), tolerance=self.settings.exchange_access.max_clock_offset)
        return self._journal

    def turns(self) -> Turns:
        """This run's part in the order of writers."""
        if self._turns is None:
            self._turns = turns_of(self.frames_root, self.installation.journal_url, self.settings.writing)
        return self._turns

    def close(self) -> None:
        """Let the frames go with the run, and close its journal."""
        if self._turns is not None:
            self._turns.end()
            self._turns = None
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def circuits(self) -> JournalCircuits:
        """Circuit states in the journal; changes bear this watch's settings and version."""
        journal = self.decisions()
        journal.sign(self.written_by)
        return journal.circuits

    def delivery(self) -> Delivery:
        """What takes pages to the channels, and answers back."""
        return delivery_of(
            self.decisions(),
            self.installation.channels.open(self.settings),
            settings=self.settings,
            clock=self.true_clock(),
            written_by=self.written_by,
        )

    def storage_guard(self) -> StorageGuard:
        """What tells of a failing journal or disk without either."""
        return self.installation.storage_guard()

    def beat(self, plan: Plan) -> str:
        """Beat the external heart if this tick was good: every watched grid evaluated, and no page overdue.

        Returns
        -------
        In words, whether it was, and why not.
        """
        url = self.installation.variable(self.settings.heartbeat_url_env)
        if not url:
            return f"not configured: {self.settings.heartbeat_url_env} is not set"
        if self.settings.is_paper and not stays_here(url):
            return "withheld: paper markets keep no watch, and the URL may be that of one which does"
        journal, now = self.decisions(), self.now()
        reason = silence(journal, self.delivery(), plan, now=now, settings=self.settings, clock=self._time.problem)
        if reason is not None:
            return f"withheld: {reason}"
        return "sent" if send_heartbeat(url) else "failed: the URL did not answer well"

    @property
    def archive_folder(self) -> Path:
        """Clone of the evaluation archive."""
        return self.installation.archive_folder

    def grid_folder(self) -> GridFolder:
        """The grid files as they are now; a grid that its exchange cannot trade is a problem, as far as is known."""
        return without_too_fine(load_grids(self.deployment.grids_folder), self.price_ticks().known())

    def plan(self, *, start: datetime, end: datetime, evaluated_ms: int, is_live: bool) -> Plan:
        """What a run over the months ``[start, end)`` has to do.

        Grids come from the journal. A file that it has not seen yet counts from its start, but only in a run that does
        not journal: a live one has observed the files before it plans. All stages of a run have the same plan.
        """
        asked = (start, end, evaluated_ms, is_live)
        if asked not in self._plans:
            self._plans[asked] = self._make_plan(start, end, evaluated_ms, is_live=is_live)
        return self._plans[asked]

    def _make_plan(self, start: datetime, end: datetime, evaluated_ms: int, *, is_live: bool) -> Plan:
        journal = self.decisions()
        known = journal.known_grids()
        grids = [WatchedGrid.from_history(grid_id, journal.grid_history(grid_id)) for grid_id in known]
        folder = self.grid_folder()
        grids += [WatchedGrid.undated(grid) for grid in folder.grids if grid.id not in known]
        if is_live:
            named = {problem.grid_id for problem in folder.problems if problem.grid_id is not None}
            grids += [WatchedGrid(grid_id, ()) for grid_id in sorted(named - {grid.grid_id for grid in grids})]
        ticks = self.price_ticks().known()
        return make_plan(
            start=start,
            end=end,
            evaluated_ms=evaluated_ms,
            is_live=is_live,
            grids=[grid.at_ticks(ticks) for grid in grids],
            extra_markets=[Market.parse(text) for text in self.settings.extra_markets],
            since_window_ms=self.since_window_ms,
            warm_up_ms=(self.settings.data.warm_up_days + 1) * _DAY_MS,
            risk_ms=self.settings.risk.lookback_ms,
        )

    def observe_grids(self, evaluated_ms: int) -> None:
        """Journal the grid files as they stand, for the evaluation at ``evaluated_ms`` and those after it.

        What was already decided stays: where that evaluation is journalled, a change counts from now.
        """
        self._plans.clear()
        observe_folder(self.decisions(), self.grid_folder(), from_ms(evaluated_ms), now=self.now())

    def fetch(self, plan: Plan, *, is_refetch: bool = False) -> dict[Market, CandleUpdate]:
        """Bring the candles of every market up to the plan's evaluation; nothing is stored.

        A run that is not live asks again for what no answer brought of its months; with ``is_refetch`` for all of them.
        """
        span = FetchRange(to_ms(plan.start), plan.bars_until_ms)
        again = None if plan.is_live else AskedAgain(span, is_whole=is_refetch)
        clock = self.installation.clock
        sources = self._open_sources(plan)
        ranges = {market: FetchRange(start, plan.bars_until_ms) for market, start in plan.candles_from_ms.items()}
        shelf = self.shelf()
        stored = [shelf.load(market, start_ms=span.start_ms, end_ms=span.end_ms) for market, span in ranges.items()]
        self._losses = shelf.losses

        def update(known: list[StoredCandles]) -> dict[Market, CandleUpdate]:
            policy = self.settings.exchange_access
            return update_markets(sources, known, wanted=ranges, now_ms=clock.now_ms(), policy=policy, again=again)

        try:
            return update(stored)
        except Exception:  # one by one, so that what no source foresaw stays with its own market
            return {known.market: update_alone(update, known) for known in stored}
        finally:
            for source in sources.values():
                self._ticks |= source.price_ticks if isinstance(source, TickSource) else {}

    def keep_ticks(self) -> bool:
        """Keep the price steps that exchanges told while candles were fetched; whether any is new."""
        return self.price_ticks().keep(self._ticks)

    def price_ticks(self) -> PriceTicks:
        """Where price steps are kept."""
        return PriceTicks(self.frames_root)

    def _open_sources(self, plan: Plan) -> Mapping[str, CandleSource]:
        """A source for every exchange of the plan; those that were asked for their time are kept for the run."""
        wanted = {market.exchange for market in plan.markets} - set(self._sources)
        opened = self.installation.sources.open(
            sorted(wanted), settings=self.settings, clock=self.installation.clock, circuits=self.circuits()
        )
        return {**self._sources, **opened}

    @property
    def losses(self) -> Mapping[Market, list[str]]:
        """What the last :meth:`fetch` found damaged or deleted of the stored candles, in words, by market."""
        return self._losses

    def bars(self, plan: Plan) -> dict[Market, MarketBars]:
        """Filled bars of every market that evaluations look at, as far as they are stored; read once a run."""
        return {market: self._stored(market, start, plan) for market, start in plan.bars_from_ms.items()}

    def candle_hashes(self, plan: Plan, starts: Mapping[Market, int] | None = None) -> Mapping[str, str]:
        """Hash of the bars that evaluations look at, by key of a frame; read once a run.

        ``starts`` names other open times (epoch ms) to begin from, by market.
        """
        since = plan.bars_from_ms if starts is None else starts
        asked = (plan.start, plan.end, plan.evaluated_ms, tuple(since.values()))
        if asked not in self._hashes:
            bars = {market: self._stored(market, start, plan) for market, start in since.items()}
            self._hashes[asked] = hashes_by_key(plan, bars)
        return self._hashes[asked]

    def past_bars(self, plan: Plan) -> dict[Market, MarketBars]:
        """Filled bars of every market back to where risk is drawn from; read once a run."""
        return {market: self._stored(market, start, plan) for market, start in plan.candles_from_ms.items()}

    def stops(self, plan: Plan) -> dict[Market, StopOutlook]:
        """Every market's past, for risk and the probability of a stop; its windows are found once a run."""
        for market, bars in self.past_bars(plan).items():
            asked = (market, plan.candles_from_ms[market], plan.bars_until_ms)
            self._stops.setdefault(asked, StopOutlook(bars.bars, self.settings.risk))
        return {
            market: self._stops[market, start, plan.bars_until_ms] for market, start in plan.candles_from_ms.items()
        }

    def _stored(self, market: Market, start_ms: int, plan: Plan) -> MarketBars:
        asked = (market, start_ms, plan.bars_until_ms)
        if asked not in self._bars:
            self._bars[asked] = self.shelf().bars(market, start_ms=start_ms, end_ms=plan.bars_until_ms)
        return self._bars[asked]

    def let_go(self) -> None:
        """Let go of the bars that were read: whoever goes over years needs them a month at a time."""
        self._bars.clear()
        self._stops.clear()

    def keep(self, plan: Plan, update: CandleUpdate) -> list[datetime]:
        """Store an update; months whose candles changed."""
        self.let_go()
        self._hashes.clear()
        market = update.after.market
        return self.shelf().save(
            update.after,
            start_ms=plan.candles_from_ms[market],
            end_ms=plan.bars_until_ms,
            metadata=self.written_by,
        )

    def shelf(self) -> CandleStore:
        """Where candles are kept."""
        return CandleStore(FrameStore(self.frames_root))

    @property
    def written_by(self) -> Mapping[str, str]:
        """What decides a state beside bars and grids: kept with every frame and journal row."""
        return self.installation.written_by
