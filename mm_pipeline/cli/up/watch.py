"""The running of ``mm up``: everything is wired together here, kept going, and ended in order."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from mm_pipeline.adapters.config.home import logs_dir
from mm_pipeline.bootstrap import Overrides, installation
from mm_pipeline.cli.journal_access import journal_url
from mm_pipeline.cli.up.alarms import Pager
from mm_pipeline.cli.up.family import end
from mm_pipeline.cli.up.health import (
    GUARD_EVERY_S,
    Signs,
    StorageLook,
    answers,
    check_storage,
    code_server_answers,
    count_answers,
    look_regularly,
)
from mm_pipeline.cli.up.page import PageSocket
from mm_pipeline.cli.up.services import (
    CODE_SERVER,
    PAGE,
    WEBSERVER,
    Child,
    Service,
    code_server_socket,
    environment_of,
    page_service,
    services,
)
from mm_pipeline.cli.up.supervisor import PAGE_WITHIN_S, Supervisor
from mm_pipeline.cli.up.terminal import Conditions, Terminal, hush_libraries
from mm_pipeline.cli.up.ticks import JournalLook
from mm_pipeline.domain.errors import PipelineError, StorageError
from mm_pipeline.orchestration.runs import dagster_instance

if TYPE_CHECKING:
    from mm_pipeline.cli.up.processes import Stop
    from mm_pipeline.settings import Deployment

_STEP_S: Final = 0.5
_REAPED_WITHIN_S: Final = 15.0
_KILLED: Final = (
    "The mm up before, process {killed}, ended without a word: killed, out of memory, or the machine went down. "
    "Evaluations may be missing in between; the next one fills the gap."
)


def watch_until_stopped(
    deployment: Deployment,
    home: Path,
    listening: socket.socket,
    stop: Stop,
    *,
    page: PageSocket,
    killed: int | None,
) -> None:
    """Run code server, daemon, UI and page until a signal comes.

    Parameters
    ----------
    page
        Where the page listens, where it is served.
    killed
        Process id of an earlier ``mm up`` that ended without a word: an alarm.

    Raises
    ------
    PipelineError
        When one of them cannot be kept running; that was paged.
    StorageError
        When the home or Dagster's storage cannot be used at the start.
    """
    hush_libraries()
    terminal = Terminal()
    conditions = Conditions(terminal)
    pager = Pager(deployment.settings, journal_url(deployment), conditions)
    if killed is not None:
        pager.alarm("mm up was killed", "WATCH: mm up was killed and runs again", _KILLED.format(killed=killed))
    log = _fresh_log(home)
    url = "http://{}:{}".format(*listening.getsockname())
    places = [f"UI          {url}", *page.lines, f"home        {home}", f"grids       {deployment.grids_folder}"]
    try:
        _make_storage(home)
        with _Family(home, deployment.file) as family:
            supervisor = _wired(
                deployment,
                home,
                listening=listening,
                page=page,
                stop=stop,
                voices=(terminal, conditions, pager),
                family=family,
                log=log,
            )
            terminal.say(f"starting Dagster, log in {log} ...")
            try:
                _supervise(supervisor, family, stop, terminal, "\n".join(places))
            finally:
                stop.ask()
                terminal.say("stopping ...")
                supervisor.end()
    except PipelineError as error:
        pager.alarm("mm up ended", "BLIND: mm up has ended", f"{error.problem}\nStart it again: mm up.")
        if not pager.flush(PAGE_WITHIN_S):  # the journal is away too
            installation(Overrides(deployment=deployment)).storage_guard().resort.report(error, is_lasting=True)
        raise
    terminal.say("stopped")


def _make_storage(home: Path) -> None:
    """Dagster's storage is made here, before webserver and daemon both would."""

    try:
        with dagster_instance(home):
            pass
    except PipelineError:
        raise
    except Exception as error:  # SQLAlchemy's or Dagster's own: its text names what is wrong
        lines = str(getattr(error, "orig", None) or error).strip().splitlines()
        problem = f"Dagster's storage cannot be opened: {type(error).__name__}: {lines[0] if lines else ''}"
        raise StorageError(problem, "Check dagster/dagster.yaml in the home, and that its database runs.") from error


def _wired(
    deployment: Deployment,
    home: Path,
    *,
    listening: socket.socket,
    page: PageSocket,
    stop: Stop,
    voices: tuple[Terminal, Conditions, Pager],
    family: _Family,
    log: Path,
) -> Supervisor:
    """The supervisor of the children, with every look at them running."""
    terminal, conditions, pager = voices
    started = [*services(family.folder, listening, deployment.settings.ui.allowed_hosts), *_page_services(page)]
    children = [Child(service, environment=family.environment, log=log) for service in started]
    socket_path = code_server_socket(family.folder)
    signs, policy = Signs(), deployment.settings.supervision
    ui = "http://{}:{}/server_info".format(*listening.getsockname())
    looks: dict[str, Callable[[], None]] = {
        "code server": count_answers(signs.of(CODE_SERVER)[0], lambda: code_server_answers(socket_path)),
        "webserver": count_answers(signs.of(WEBSERVER)[0], lambda: answers(ui)),
        "Dagster's storage": StorageLook(home, policy, signs, conditions=conditions, pager=pager),
        "journal": JournalLook(journal_url(deployment), terminal),
    }
    if page.listening is not None:
        alive = "http://{}:{}/alive".format(*page.listening.getsockname())
        looks["page"] = count_answers(signs.of(PAGE)[0], lambda: answers(alive))
    for name, look in looks.items():
        look_regularly(stop, look, name=name, conditions=conditions)
    guard = installation(Overrides(deployment=deployment)).storage_guard()
    look_regularly(
        stop, lambda: check_storage(guard), name="journal or disk", conditions=conditions, every_s=GUARD_EVERY_S
    )
    return Supervisor(children, policy, signs=signs, terminal=terminal, pager=pager, log=log)


def _page_services(page: PageSocket) -> list[Service]:
    return [] if page.listening is None else [page_service(page.listening)]


def _supervise(supervisor: Supervisor, family: _Family, stop: Stop, terminal: Terminal, greeting: str) -> None:
    is_greeted = False
    while not stop.is_asked_within(_STEP_S):
        supervisor.step()
        family.keep_reaper()
        if not is_greeted and supervisor.is_ready():
            is_greeted = True
            terminal.say(f"{greeting}\nEvaluations come at 1, 16, 31 and 46 past the hour (UTC); Ctrl-C stops.")


class _Family:
    """A private folder, an environment and a reaper for children; at the end, however it comes, none of them is left.

    A context manager.
    """

    def __init__(self, home: Path, settings: Path | None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mm-up-"))
        self.environment = environment_of(home, settings)
        self._home = home
        self._reaper: subprocess.Popen[bytes] | None = None

    def keep_reaper(self) -> None:
        """Start the reaper where it does not run: it is what ends the children of a killed ``mm up``."""
        if self._reaper is not None and self._reaper.poll() is None:
            return
        if self._reaper is not None and self._reaper.stdin is not None:
            self._reaper.stdin.close()
        self._reaper = subprocess.Popen(  # noqa: S603 - our own interpreter, fixed arguments
            [sys.executable, "-m", "mm_pipeline.cli.up.reaper", str(self._home), str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self.environment,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        self.keep_reaper()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reaper is not None and self._reaper.stdin is not None:
            self._reaper.stdin.close()
            try:
                self._reaper.wait(_REAPED_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._reaper.kill()
                self._reaper.wait()
        end(self._home, of=os.getpid())
        shutil.rmtree(self.folder, ignore_errors=True)


def _fresh_log(home: Path) -> Path:
    """The log of this start; that of the start before stays beside it, for it may say why that one ended."""
    log = logs_dir(home) / "dagster.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_name("dagster.log.1"))
    return log
