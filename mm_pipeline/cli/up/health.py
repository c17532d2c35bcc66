"""Signs of life behind ``mm up``: what each process answers, and what Dagster's storage says of the ticks.

Each look runs in a thread of its own and changes nothing; ``up_supervisor`` acts on what they found. Time is
measured by a clock that nobody sets, so that a clock put right neither hides a silence nor makes one up.
"""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mm_pipeline.cli.up.services import CODE_SERVER, DAEMON, PAGE, WEBSERVER
from mm_pipeline.domain.supervision import Freshness, SupervisionPolicy

if TYPE_CHECKING:
    import dagster as dg

    from mm_pipeline.application.storage_guard import StorageGuard
    from mm_pipeline.cli.up.alarms import Pager
    from mm_pipeline.cli.up.processes import Stop
    from mm_pipeline.cli.up.terminal import Conditions

BEATING: Final = ("SENSOR", "QUEUED_RUN_COORDINATOR", "MONITORING")
"""Daemons that beat all the time. The scheduler beats once a minute; its sign of life is the last tick."""
LOOK_EVERY_S: Final = 2.0
GUARD_EVERY_S: Final = 15.0
"""How often journal and disk are tried with a write, which costs more than a look."""
_ANSWER_WITHIN_S: Final = 5.0
_START_ANSWER_WITHIN_S: Final = 60
"""As long as Dagster waits for a run to begin. Each question that gets no answer keeps one of the code server's few
threads, so that shorter ones would leave none to its sensors."""

# A proxy of the environment must not stand between two processes of one machine.
_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Signs:
    """When each process was last heard of; written by the looks, read by the supervisor."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        now_s = clock_s()
        self.storage_is_away = False
        self.tick = Freshness(now_s)
        self._of: dict[str, tuple[Freshness, ...]] = {
            CODE_SERVER: (Freshness(now_s),),
            WEBSERVER: (Freshness(now_s),),
            PAGE: (Freshness(now_s),),
            DAEMON: tuple(Freshness(now_s) for _ in BEATING),
        }

    def of(self, name: str) -> tuple[Freshness, ...]:
        """Each sign of life that this process gives."""
        return self._of[name]

    def silent_s(self, name: str) -> float:
        """How long the quietest sign of this process has been missing."""
        return max(sign.silent_s for sign in self._of[name])

    def has_answered(self, name: str) -> bool:
        """Whether every sign of this process was seen since it was started."""
        return all(sign.has_changed for sign in self._of[name])

    def begin(self, name: str) -> None:
        """The process was started."""
        for sign in self._of[name]:
            sign.begin(self._clock_s())


def look_regularly(
    stop: Stop, look: Callable[[], None], *, name: str, conditions: Conditions, every_s: float = LOOK_EVERY_S
) -> None:
    """Look every few seconds in a thread of its own until stopped; no error ends it, each is said once."""

    def run() -> None:
        while True:
            try:
                look()
            except Exception as error:  # a look that fails must be tried again, whatever it was
                conditions.begin(name, f"{name} cannot be watched: {type(error).__name__}: {_first_line(error)}")
            else:
                conditions.end(name, f"{name} can be watched again")
            if stop.is_asked_within(every_s):
                return

    threading.Thread(target=run, name=name, daemon=True).start()


def answers(url: str) -> bool:
    """Whether a server answers there with status 200, soon."""
    try:
        with _http.open(url, timeout=_ANSWER_WITHIN_S) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False


def code_server_answers(socket: Path) -> bool:
    """Whether the code server on this socket could begin a run now.

    Asked to end a run whose process does not react (stopped, or waiting for a disk), it waits for that process with
    the lock held under which every run begins. It answers everything else meanwhile, so a question that needs this
    lock is asked: about a run that there is not.
    """
    from dagster._core.errors import DagsterUserCodeUnreachableError
    from dagster._grpc.client import DagsterGrpcClient
    from dagster._grpc.types import CanCancelExecutionRequest

    client = DagsterGrpcClient(socket=str(socket))
    try:
        return bool(client.can_cancel_execution(CanCancelExecutionRequest(run_id="none"), _START_ANSWER_WITHIN_S))
    except DagsterUserCodeUnreachableError:
        return False


def count_answers(sign: Freshness, is_answering: Callable[[], bool]) -> Callable[[], None]:
    """A look whose sign changes with each good answer."""
    count = 0

    def look() -> None:
        nonlocal count
        count += is_answering()
        sign.observe(count, time.monotonic())

    return look


def check_storage(guard: StorageGuard) -> None:
    """Try journal and disk; an outage that lasts is told without either.

    Raises
    ------
    PipelineError
        What is wrong now.
    """
    problem = guard.check()
    if problem is not None:
        raise problem


class StorageLook:
    """What Dagster's storage says: the daemon's beats, ticks that wait, the pool's limit and the last tick."""

    def __init__(
        self, home: Path, policy: SupervisionPolicy, signs: Signs, *, conditions: Conditions, pager: Pager
    ) -> None:
        self._home = home
        self._policy = policy
        self._signs = signs
        self._conditions = conditions
        self._pager = pager
        self._waiting_since_s: dict[str, float] = {}
        self._read_s = time.monotonic()
        self._opened = ExitStack()
        self._instance: dg.DagsterInstance | None = None

    def __call__(self) -> None:
        """Look once."""
        from mm_pipeline.orchestration.runs import dagster_instance

        try:
            if self._instance is None:
                self._instance = self._opened.enter_context(dagster_instance(self._home))
            self._look(self._instance)
        except Exception:  # SQLAlchemy's, Dagster's, the file system's: nothing was seen, so it is held against nobody
            self._signs.storage_is_away = True
            for sign in (*self._signs.of(DAEMON), self._signs.tick):
                sign.excuse(time.monotonic())
            self._tell_long_outage()
            self._instance = None
            with suppress(Exception):
                self._opened.close()
            raise
        self._signs.storage_is_away = False
        self._read_s = time.monotonic()

    def _look(self, instance: dg.DagsterInstance) -> None:
        from mm_pipeline.orchestration.jobs import EVALUATION_JOB
        from mm_pipeline.orchestration.run_queue import last_tick, pool_limit, pool_problem, waiting_ticks

        now_s = time.monotonic()
        beats = instance.get_daemon_heartbeats()
        for name, sign in zip(BEATING, self._signs.of(DAEMON), strict=True):
            sign.observe(beats[name].timestamp if name in beats else 0.0, now_s)
        self._signs.tick.observe(last_tick(instance, EVALUATION_JOB) or "none", now_s)
        self.judge_waiting([tick.run_id for tick in waiting_ticks(instance)], now_s)
        self._judge_pool(pool_problem(pool_limit(instance)))

    def judge_waiting(self, runs: list[str], now_s: float) -> None:
        """Alarm about those of these runs that have been seen waiting for too long."""
        from mm_pipeline.orchestration.run_queue import QUEUED_SUBJECT, queued_alarm

        self._waiting_since_s = {run: self._waiting_since_s.get(run, now_s) for run in runs}
        limit_s = self._policy.queued_for.total_seconds()
        late = [run for run, since_s in self._waiting_since_s.items() if now_s - since_s > limit_s]
        if not late:
            self._conditions.end("queue", "no evaluation waits too long any more")
            return
        title, text = queued_alarm(late, self._policy.queued_for)
        self._conditions.begin("queue", f"{title}. {text}")
        self._pager.alarm(QUEUED_SUBJECT, title, text)

    def _judge_pool(self, problem: str | None) -> None:
        from mm_pipeline.orchestration.run_queue import POOL_SUBJECT, pool_alarm

        if problem is None:
            self._conditions.end("pool", "the limit of the pool is right again")
            return
        self._conditions.begin("pool", problem)
        self._pager.alarm(POOL_SUBJECT, *pool_alarm(problem))

    def _tell_long_outage(self) -> None:
        from mm_pipeline.orchestration.run_queue import LOOK_YOURSELF

        away = timedelta(seconds=round(time.monotonic() - self._read_s))
        if away > self._policy.silent_for:
            text = f"It could not be read for {away}: no evaluation can begin.\n{LOOK_YOURSELF}"
            self._pager.alarm("Dagster's storage", "BLIND: Dagster's storage is away", text)


def _first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    lines = str(cause).strip().splitlines()
    return lines[0] if lines else ""
