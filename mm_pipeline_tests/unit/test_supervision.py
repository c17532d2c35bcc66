"""When ``mm up`` steps in: silence, restarts within bounds, missing ticks, and that each setting moves the moment."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mm_pipeline.cli.up.health import Signs, StorageLook
from mm_pipeline.cli.up.services import CODE_SERVER, DAEMON, PAGE, WEBSERVER
from mm_pipeline.cli.up.supervisor import START_WITHIN_S, Supervisor
from mm_pipeline.cli.up.terminal import Conditions
from mm_pipeline.domain.errors import PipelineError
from mm_pipeline.domain.supervision import Freshness, RestartBudget, SupervisionPolicy
from mm_pipeline.orchestration.run_queue import pool_problem
from mm_pipeline.settings import load_settings

POLICY = load_settings().supervision


def changed(**values: Any) -> SupervisionPolicy:
    return POLICY.model_copy(update=values)


class FakeChild:
    """A service that runs until a test ends it."""

    end = "was killed by signal 9"

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_vital = name != PAGE
        self.is_running = False
        self.started = 0
        self.killed = 0

    def start(self) -> None:
        self.is_running = True
        self.started += 1

    def kill(self) -> None:
        self.is_running = False
        self.killed += 1


class Recorder:
    """Stands for terminal and pager."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.alarms: list[str] = []

    def say_at(self, line: str) -> None:
        self.lines.append(line)

    def alarm(self, subject: str, title: str, text: str) -> None:
        self.alarms.append(subject)


class House:
    """A supervisor over fake services, with a clock that a test moves."""

    def __init__(self, policy: SupervisionPolicy = POLICY) -> None:
        self.now_s = 1000.0
        self.children = {name: FakeChild(name) for name in (CODE_SERVER, DAEMON, WEBSERVER, PAGE)}
        self.seen = Recorder()
        self.signs = Signs(lambda: self.now_s)
        self.beats = 0
        fakes: Any = (list(self.children.values()), self.seen)
        self.supervisor = Supervisor(
            fakes[0],
            policy,
            signs=self.signs,
            terminal=fakes[1],
            pager=fakes[1],
            log=Path("/nowhere/dagster.log"),
            clock_s=lambda: self.now_s,
        )

    def live(self, seconds: float, *, but: str | None = None, ticks: bool = True) -> None:
        """Time passes; everything that runs gives signs of life, except one."""
        for _ in range(max(int(seconds), 1)):
            self.now_s += 1
            self.beats += 1
            for name, child in self.children.items():
                for sign in self.signs.of(name):
                    is_heard = child.is_running and name != but
                    sign.observe(self.beats if is_heard else sign.value, self.now_s)
            self.signs.tick.observe(self.beats if ticks else "none", self.now_s)
            self.supervisor.step()

    def ready(self) -> House:
        """All started."""
        self.supervisor.step()
        self.live(10)
        assert self.supervisor.is_ready()
        return self


def test_others_start_once_the_code_server_answers() -> None:
    house = House()
    house.supervisor.step()
    assert [child.started for child in house.children.values()] == [1, 0, 0, 1]
    house.live(5)
    assert [child.started for child in house.children.values()] == [1, 1, 1, 1]


@pytest.mark.parametrize("name", [CODE_SERVER, DAEMON, WEBSERVER, PAGE])
def test_process_that_dies_is_started_again_and_said_and_alarmed_when_it_repeats(name: str) -> None:
    house = House().ready()
    house.children[name].is_running = False
    house.live(2)
    assert house.children[name].started == 2
    assert f"{name} was killed by signal 9; started again (1 of at most 5 restarts in 10min)" in house.seen.lines[0]
    assert house.seen.alarms == []
    house.children[name].is_running = False
    house.live(10)
    assert house.children[name].started == 3
    assert house.seen.alarms == [f"{name} dies again"]


def test_page_that_cannot_be_kept_running_is_given_up_and_alarmed_and_the_watch_goes_on() -> None:
    house = House(changed(restarts=2)).ready()
    for _ in range(4):
        house.children[PAGE].is_running = False
        house.live(40)
    assert house.children[PAGE].started == 3
    assert f"{PAGE} is given up, the watch goes on without it" in house.seen.lines[-1]
    assert house.seen.alarms == [f"{PAGE} dies again", f"{PAGE} is given up"]
    house.children[DAEMON].is_running = False
    house.live(5)
    assert house.children[DAEMON].started == 2


def test_watch_is_ready_without_the_page() -> None:
    house = House(changed(restarts=0))
    house.supervisor.step()
    house.children[PAGE].is_running = False
    house.live(10, but=PAGE)
    assert house.supervisor.is_ready()


def test_page_is_started_again_while_dagster_s_storage_is_away() -> None:
    house = House().ready()
    house.signs.storage_is_away = True
    for name in (PAGE, DAEMON):
        house.children[name].is_running = False
    house.live(5)
    assert (house.children[PAGE].started, house.children[DAEMON].started) == (2, 1)


@pytest.mark.parametrize("restarts", [0, 2, 5])
def test_restarts_bounds_how_often_a_process_is_started_again(restarts: int) -> None:
    house = House(changed(restarts=restarts)).ready()
    for _ in range(restarts):
        house.children[DAEMON].is_running = False
        house.live(40)
    assert house.children[DAEMON].started == restarts + 1
    house.children[DAEMON].is_running = False
    with pytest.raises(PipelineError, match=f"after {restarts} restarts within 10min"):
        house.live(40)


@pytest.mark.parametrize(("window_min", "left"), [(1, 1), (10, 0)])
def test_restart_window_forgets_old_restarts(window_min: int, left: int) -> None:
    budget = RestartBudget(changed(restarts=1, restart_window=timedelta(minutes=window_min)))
    assert budget.spend(0.0)
    assert budget.spend(90.0) is bool(left)


@pytest.mark.parametrize(("silent_min", "killed"), [(1, 1), (3, 0)])
@pytest.mark.parametrize("name", [CODE_SERVER, DAEMON, WEBSERVER, PAGE])
def test_silent_for_decides_when_a_process_that_hangs_is_killed(name: str, silent_min: int, killed: int) -> None:
    house = House(changed(silent_for=timedelta(minutes=silent_min))).ready()
    house.live(100, but=name)
    assert house.children[name].killed == killed


def test_process_that_starts_slowly_is_given_time() -> None:
    house = House(changed(silent_for=timedelta(minutes=1))).ready()
    house.children[DAEMON].is_running = False
    house.live(2)
    house.live(START_WITHIN_S - 10, but=DAEMON)
    assert house.children[DAEMON].killed == 0
    house.live(20, but=DAEMON)
    assert house.children[DAEMON].killed == 1


@pytest.mark.parametrize(("gap_min", "killed"), [(16, 1), (20, 0)])
def test_tick_gap_alarms_and_replaces_the_daemon(gap_min: int, killed: int) -> None:
    house = House(changed(tick_gap=timedelta(minutes=gap_min))).ready()
    house.live(18 * 60, ticks=False)
    assert house.children[DAEMON].killed == killed
    assert house.seen.alarms == ["no tick"] * killed


@pytest.mark.parametrize(("queued_min", "alarms"), [(1, 1), (2, 0)])
def test_queued_for_decides_when_a_waiting_tick_is_an_alarm(queued_min: int, alarms: int, tmp_path: Path) -> None:
    seen: Any = Recorder()
    policy = changed(queued_for=timedelta(minutes=queued_min))
    look = StorageLook(tmp_path, policy, Signs(), conditions=Conditions(seen), pager=seen)
    for now_s in (0.0, 90.0):
        look.judge_waiting(["run-1"], now_s)
    assert seen.alarms == ["a tick is queued"] * alarms
    assert len(seen.lines) == alarms


def test_waiting_is_counted_for_each_run_alone(tmp_path: Path) -> None:
    seen: Any = Recorder()
    look = StorageLook(tmp_path, POLICY, Signs(), conditions=Conditions(seen), pager=seen)
    for now_s in range(0, 1000, 60):
        look.judge_waiting([f"run-{now_s}"], float(now_s))
    assert seen.alarms == []


def test_death_before_all_was_ready_ends_it_at_once() -> None:
    house = House()
    house.supervisor.step()
    house.children[CODE_SERVER].is_running = False
    with pytest.raises(PipelineError, match="the code server was killed by signal 9 before all was ready"):
        house.supervisor.step()


def test_nothing_is_started_while_its_storage_is_away() -> None:
    house = House().ready()
    house.signs.storage_is_away = True
    house.children[DAEMON].is_running = False
    house.live(60)
    assert house.children[DAEMON].started == 1
    house.signs.storage_is_away = False
    house.live(1)
    assert house.children[DAEMON].started == 2


def test_silence_does_not_grow_while_nobody_can_look() -> None:
    sign = Freshness(0.0)
    sign.observe("a", 1.0)
    assert sign.silent_s == 0.0
    assert not sign.has_changed  # the first value may be an old one
    sign.observe("a", 60.0)
    assert sign.silent_s == 59.0
    sign.excuse(600.0)
    assert sign.silent_s == 0.0
    sign.observe("b", 601.0)
    assert sign.has_changed


@pytest.mark.parametrize(("limit", "word"), [(0, "no evaluation can run"), (2, "side by side"), (None, "none")])
def test_pool_limit_other_than_one_is_a_problem_that_names_its_command(limit: int | None, word: str) -> None:
    problem = pool_problem(limit)
    assert problem is not None
    assert word in problem
    assert "dagster instance concurrency set frames 1" in problem
    assert pool_problem(1) is None
