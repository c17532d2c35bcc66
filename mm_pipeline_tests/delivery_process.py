"""Real processes that decide and deliver, and are killed where a test says: for the fault tests of paging.

One process imports everything once and forks the others, which cost a fraction of a second each. Hooks wrap what they
interrupt here; the pipeline's own code knows nothing of them.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

AT = datetime.fromisoformat("2026-03-02T12:00:00+00:00")
TOKEN, USER = "t0kEn" * 6, "uSeR9" * 6
KILLED_AT = ("before commit", "after commit", "after claim", "inside the provider", "after answer")
"""Steps between deciding and the record of what came of it; the provider itself kills at the fourth."""
ENVIRONMENT = {"MM_TEST_TOKEN": TOKEN, "MM_TEST_USER": USER}


class Processes:
    """Starts workers; a context manager."""

    def __init__(self, errors: Path) -> None:
        self._errors_file = errors
        self._errors = errors.open("w")
        self._parent: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, "-c", "from mm_pipeline_tests.delivery_process import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **ENVIRONMENT},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.close()
        self._parent.stdout.close()
        self._parent.wait(30)
        self._errors.close()

    def start(self, journal: str, pushover: str, at: datetime, **order: Any) -> int:
        """Start a worker that decides and delivers at a moment; its process id."""
        return self._ask({"journal": journal, "pushover": pushover, "at": at.isoformat(), **order})

    def wait(self, pid: int) -> int:
        """Its return code, negative where a signal ended it."""
        return self._ask({"wait": pid})

    def run(self, journal: str, pushover: str, at: datetime, **order: Any) -> int:
        """Start one and wait."""
        return self.wait(self.start(journal, pushover, at, **order))

    def errors(self) -> str:
        """What they wrote to standard error."""
        return self._errors_file.read_text()

    def _ask(self, order: Mapping[str, Any]) -> int:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(json.dumps(order) + "\n")
        self._parent.stdin.flush()
        answer = self._parent.stdout.readline()
        assert answer, self.errors()
        return int(answer)


def serve(orders: IO[str] = sys.stdin) -> None:
    """Fork a worker for each order, until there are none."""
    for module in ("adapters.channels.pushover", "adapters.journal", "application.opening.channels"):
        importlib.import_module(f"mm_pipeline.{module}")
    for line in orders:
        order = json.loads(line)
        if "wait" in order:
            print(os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1]), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            _work_and_exit(order)
        print(pid, flush=True)


def _work_and_exit(order: Mapping[str, Any]) -> None:
    try:
        work(order)
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def work(order: Mapping[str, Any]) -> None:
    """Decide about the one grid, which is in MANDATORY_EXIT, unless that is done; then deliver, and hear what came."""
    from mm_pipeline.adapters.clock import FixedClock
    from mm_pipeline.adapters.journal import Journal
    from mm_pipeline.application.opening.channels import ConfiguredChannels, delivery_of
    from mm_pipeline_tests.notification_samples import WRITTEN_BY

    settings = phone_settings(order["pushover"], **order.get("delivery", {}))
    channels = ConfiguredChannels(Path("/nonexistent")).open(settings)
    with Journal(order["journal"]) as journal:
        clock = FixedClock(datetime.fromisoformat(order["at"]))
        delivery = delivery_of(journal, channels, settings=settings, clock=clock, written_by=WRITTEN_BY)
        _prepare_kill(order.get("killed_at", ""), journal, channels["phone"])
        if clock.now() - AT <= settings.notify.max_lateness:
            _decide(journal, delivery, settings, clock.now())
        delivery.relay.run()
        delivery.answers.follow()


def phone_settings(pushover: str, *, secondary: tuple[str, ...] = (), **delivery: Any) -> Any:
    """The packaged settings with a Pushover channel named phone, and secondary ones of these names."""
    from mm_pipeline.adapters.channels import AppriseConfig, PushoverConfig
    from mm_pipeline_tests.notification_samples import settings_with

    others = [AppriseConfig(kind="apprise", name=name, url_env="MM_OTHER", is_secondary=True) for name in secondary]
    keys = dict(zip(("token_env", "user_env"), ENVIRONMENT, strict=True))
    phone = PushoverConfig(kind="pushover", name="phone", api_url=pushover, **keys)
    return settings_with(delivery=delivery).model_copy(update={"channels": (phone, *others)})


def _decide(journal: Any, delivery: Any, settings: Any, now: datetime) -> None:
    from mm_pipeline.domain.notifications import Judgement, decide_all
    from mm_pipeline_tests.notification_samples import a_decided, a_page

    judged = Judgement(
        grid="eth",
        kind="exit",
        evaluated_at=AT,
        started_at=AT - timedelta(days=1),
        state="MANDATORY_EXIT",
        mandatory=("stop_loss_breached",),
    )
    if journal.notifications.decisions("eth", since=AT):
        return
    history = journal.histories.before(judged, now=now, started_at={}, policy=settings.notify)
    (decision,) = decide_all([judged], {"eth": history}, settings.notify)
    page = a_page(decision.page, evaluated_at=AT, decided_at=now, image=b"\x89PNG of a chart")
    decided = a_decided(page, number=decision.number, triggers=decision.triggers)
    assert journal.notifications.commit([decided], [page], channels=delivery.ladder.first(), due_at=now)


def _die(*_: object, **__: object) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def _prepare_kill(killed_at: str, journal: Any, phone: Any) -> None:
    from mm_pipeline.adapters.journal import decisions as notifications

    match killed_at:
        case "before commit":
            notifications.add_page = _then_die(notifications.add_page)
        case "after commit":
            journal.outbox.claim = _die
        case "after claim":
            phone.send = _die
        case "after answer":
            phone.send = _then_die(phone.send)


def _then_die(function: Callable[..., Any]) -> Callable[..., Any]:
    def dying(*arguments: Any, **options: Any) -> Any:
        function(*arguments, **options)
        return _die()

    return dying
