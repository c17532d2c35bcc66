"""The running of ``mm up``: everything is wired together here, kept going, and ended in order."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mm_pipeline.adapters.home import logs_dir
from mm_pipeline.cli.journal_access import journal_url
from mm_pipeline.cli.up_alarms import Pager
from mm_pipeline.cli.up_family import end
from mm_pipeline.cli.up_health import (
    Signs,
    StorageLook,
    answers,
    code_server_answers,
    count_answers,
    look_regularly,
)
from mm_pipeline.cli.up_services import (
    CODE_SERVER,
    WEBSERVER,
    Child,
    code_server_socket,
    environment_of,
    services,
)
from mm_pipeline.cli.up_supervisor import PAGE_WITHIN_S, Supervisor
from mm_pipeline.cli.up_terminal import Conditions, Terminal
from mm_pipeline.cli.up_ticks import JournalLook
from mm_pipeline.domain.errors import PipelineError

if TYPE_CHECKING:
    from mm_pipeline.cli.up_processes import Stop
    from mm_pipeline.settings import Deployment

_STEP_S: Final = 0.5
_REAPED_WITHIN_S: Final = 15.0


def watch_until_stopped(deployment: Deployment, home: Path, listening: socket.socket, stop: Stop) -> None:
    """Run code server, daemon and UI until a signal comes.

    Raises
    ------
    PipelineError
        When one of them cannot be kept running; that was paged.
    StorageError
        When the home or Dagster's storage cannot be used at the start.
    """
    from mm_pipeline.runs import dagster_instance

    terminal = Terminal()
    conditions = Conditions(terminal)
    pager = Pager(deployment.settings, journal_url(deployment), conditions)
    log = _fresh_log(home)
    with dagster_instance(home):
        pass  # its storage is made before webserver and daemon both would
    url = "http://{}:{}".format(*listening.getsockname())
    with _family(home, deployment.file) as (folder, environment):
        started = services(folder, listening, deployment.settings.ui.allowed_hosts)
        children = [Child(service, environment=environment, log=log) for service in started]
        signs, policy = Signs(), deployment.settings.supervision
        supervisor = Supervisor(children, policy, signs=signs, terminal=terminal, pager=pager, log=log)
        looks: dict[str, Callable[[], None]] = {
            "code server": count_answers(
                signs.of(CODE_SERVER)[0], lambda: code_server_answers(code_server_socket(folder))
            ),
            "webserver": count_answers(signs.of(WEBSERVER)[0], lambda: answers(f"{url}/server_info")),
            "Dagster's storage": StorageLook(home, policy, signs, conditions=conditions, pager=pager),
            "journal": JournalLook(journal_url(deployment), terminal),
        }
        for name, look in looks.items():
            look_regularly(stop, look, name=name, conditions=conditions)
        terminal.say(f"starting Dagster, log in {log} ...")
        greeting = f"UI          {url}\nhome        {home}\ngrids       {deployment.grids_folder}"
        try:
            _supervise(supervisor, stop, terminal, greeting)
        except PipelineError as error:
            pager.alarm("mm up ended", "BLIND: mm up has ended", f"{error.problem}\nStart it again: mm up.")
            pager.flush(PAGE_WITHIN_S)
            raise
        finally:
            stop.ask()
            terminal.say("stopping ...")
            supervisor.end()
    terminal.say("stopped")


def _supervise(supervisor: Supervisor, stop: Stop, terminal: Terminal, greeting: str) -> None:
    is_greeted = False
    while not stop.is_asked_within(_STEP_S):
        supervisor.step()
        if not is_greeted and supervisor.is_ready():
            is_greeted = True
            terminal.say(f"{greeting}\nEvaluations come at 1, 16, 31 and 46 past the hour (UTC); Ctrl-C stops.")


@contextmanager
def _family(home: Path, settings: Path | None) -> Iterator[tuple[Path, dict[str, str]]]:
    """A private folder and an environment for children; at the end, however it comes, none of them is left."""
    folder = Path(tempfile.mkdtemp(prefix="mm-up-"))
    environment = environment_of(home, settings)
    reaper = subprocess.Popen(  # noqa: S603 - our own interpreter, fixed arguments
        [sys.executable, "-m", "mm_pipeline.cli.up_reaper", str(home), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    try:
        yield folder, environment
    finally:
        if reaper.stdin is not None:
            reaper.stdin.close()
        try:
            reaper.wait(_REAPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            reaper.kill()
            reaper.wait()
        end(home, of=os.getpid())
        shutil.rmtree(folder, ignore_errors=True)


def _fresh_log(home: Path) -> Path:
    """The log of this start; that of the start before stays beside it, for it may say why that one ended."""
    log = logs_dir(home) / "dagster.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_name("dagster.log.1"))
    return log
