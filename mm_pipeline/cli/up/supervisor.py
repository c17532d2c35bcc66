"""Starts again what dies behind ``mm up``, within bounds; says so in the terminal, and by alarm when it repeats."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mm_pipeline.cli.up.services import CODE_SERVER, DAEMON, PAGE, Child, last_lines
from mm_pipeline.domain.errors import PipelineError
from mm_pipeline.domain.policy import print_duration
from mm_pipeline.domain.supervision import RestartBudget, SupervisionPolicy

if TYPE_CHECKING:
    from mm_pipeline.cli.up.alarms import Pager
    from mm_pipeline.cli.up.health import Signs
    from mm_pipeline.cli.up.terminal import Terminal

START_WITHIN_S: Final = 120.0
"""A process that has not answered since its start may take this long, whatever ``silent_for`` says."""
STOP_WITHIN_S: Final = 20.0
PAGE_WITHIN_S: Final = 45.0
_BACKOFF_S: Final = 2.0
"""Wait before the second restart of a window; doubles each time. The first comes at once."""


@dataclass
class _Watched:
    child: Child
    budget: RestartBudget
    is_up: bool = False
    is_given_up: bool = False
    start_at_s: float = 0.0


class Supervisor:
    """Code server, daemon, webserver and page, kept running; the watch goes on where the page alone cannot be.

    Raises
    ------
    PipelineError
        From :meth:`step`: one of them died more often than the settings allow, or before the watch was ever ready.
    """

    def __init__(
        self,
        children: Sequence[Child],
        policy: SupervisionPolicy,
        *,
        signs: Signs,
        terminal: Terminal,
        pager: Pager,
        log: Path,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watched = [_Watched(child, RestartBudget(policy)) for child in children]
        self._policy = policy
        self._signs = signs
        self._terminal = terminal
        self._pager = pager
        self._log = log
        self._clock_s = clock_s
        self._is_ready = False

    def is_ready(self) -> bool:
        """Whether all that are vital have answered once."""
        if not self._is_ready:
            vital = (watched.child for watched in self._watched if watched.child.is_vital)
            self._is_ready = all(self._signs.has_answered(child.name) for child in vital)
        return self._is_ready

    def step(self) -> None:
        """Look at each once, and start what is due; waits for nothing."""
        for watched in (one for one in self._watched if not one.is_given_up):
            name = watched.child.name
            if not watched.is_up:
                self._start_when_due(watched)
            elif not watched.child.is_running:
                self._plan_restart(watched, watched.child.end)
            elif self._is_silent(name):
                self._replace(watched, f"gave no sign of life for {self._signs.silent_s(name):.0f} s and was killed")
        if self.is_ready() and self._signs.tick.silent_s > self._policy.tick_gap.total_seconds():
            self._act_on_missing_tick()

    def end(self) -> None:
        """Ask all to end, and wait; what is left then is for :func:`mm_pipeline.cli.up.family.end`."""
        for watched in self._watched:
            watched.child.ask_to_end()
        end_s = time.monotonic() + STOP_WITHIN_S
        for watched in self._watched:
            watched.child.wait(end_s - time.monotonic())

    def _start_when_due(self, watched: _Watched) -> None:
        """The others follow the code server, whose definitions they load first, and need Dagster's storage.

        The page needs neither: it is what an operator looks at while they are away.
        """
        name = watched.child.name
        is_first = name in (CODE_SERVER, PAGE)
        is_served = self._is_ready or self._signs.has_answered(CODE_SERVER)
        may_start = is_first or (is_served and not self._signs.storage_is_away)
        if may_start and self._clock_s() >= watched.start_at_s:
            watched.child.start()
            watched.is_up = True
            self._signs.begin(name)

    def _is_silent(self, name: str) -> bool:
        allowed_s = self._policy.silent_for.total_seconds()
        if not self._signs.has_answered(name):
            allowed_s = max(allowed_s, START_WITHIN_S)
        return self._signs.silent_s(name) > allowed_s

    def _replace(self, watched: _Watched, why: str) -> None:
        watched.child.kill()
        self._plan_restart(watched, why)

    def _plan_restart(self, watched: _Watched, why: str) -> None:
        name, now_s = watched.child.name, self._clock_s()
        watched.is_up = False
        if not self._is_ready and watched.child.is_vital:
            raise PipelineError(f"the {name} {why} before all was ready. {last_lines(self._log)}", f"See {self._log}.")
        used, window = watched.budget.used(now_s), print_duration(self._policy.restart_window)
        if not watched.budget.spend(now_s):
            problem = f"the {name} {why}, after {used} restarts within {window}. {last_lines(self._log)}"
            if watched.child.is_vital:
                raise PipelineError(problem, f"See {self._log}.")
            self._give_up(watched, problem)
            return
        watched.start_at_s = now_s + (_BACKOFF_S * 2 ** (used - 1) if used else 0.0)
        line = f"{name} {why}; started again ({used + 1} of at most {self._policy.restarts} restarts in {window})"
        self._terminal.say_at(line)
        if used:
            self._pager.alarm(
                f"{name} dies again", f"WATCH: the {name} dies again and again", f"{line}.\nLook into {self._log}."
            )

    def _give_up(self, watched: _Watched, problem: str) -> None:
        """Go on without it: to end the watch for it would be the worse fault."""
        watched.is_given_up = True
        name = watched.child.name
        self._terminal.say_at(f"{name} is given up, the watch goes on without it; see {self._log}")
        text = f"{problem}\nThe watch goes on, and pages as before. mm status tells how it stands."
        self._pager.alarm(f"{name} is given up", f"WATCH: the {name} cannot be kept running", text)

    def _act_on_missing_tick(self) -> None:
        """Its beats say that the daemon lives; a fresh one has lost what kept the old one from asking for a tick."""
        gap = print_duration(self._policy.tick_gap)
        text = f"no evaluation was asked for in {gap}"
        self._signs.tick.begin(self._clock_s())
        self._pager.alarm(
            "no tick",
            "BLIND: no evaluation was asked for",
            f"{text[0].upper()}{text[1:]}. Is the schedule exit_evaluation switched off in the UI?",
        )
        for watched in self._watched:
            if watched.child.name == DAEMON and watched.is_up:
                self._replace(watched, f"was replaced, for {text}")
