"""What ``mm doctor`` sees of the running watch: who supervises it, whether its daemon beats, whether a tick waits."""

from __future__ import annotations

from pathlib import Path

from mm_pipeline.adapters.clock import Clock
from mm_pipeline.adapters.config.home import dagster_dir, mm_home
from mm_pipeline.cli.doctor.findings import Finding, Findings, Status
from mm_pipeline.cli.up.family import holder
from mm_pipeline.cli.up.health import BEATING
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.policy import print_duration
from mm_pipeline.domain.supervision import SupervisionPolicy


def watch(policy: SupervisionPolicy, clock: Clock) -> Findings:
    """Look into Dagster's storage, where there is one; nothing is made."""
    home = mm_home()
    process = holder(home)
    seen = "mm up does not run on this home" if process is None else f"mm up runs, process {process}"
    yield Finding("watch", Status.OK, seen)
    if (dagster_dir(home) / "dagster.yaml").is_file():
        yield from _dagster(home, policy, clock, is_running=process is not None)


def _dagster(home: Path, policy: SupervisionPolicy, clock: Clock, *, is_running: bool) -> Findings:
    from mm_pipeline.orchestration.run_queue import pool_limit, pool_problem, waiting_ticks
    from mm_pipeline.orchestration.runs import dagster_instance

    now = clock.now()
    with dagster_instance(home) as instance:
        problem = pool_problem(pool_limit(instance))
        late = [tick for tick in waiting_ticks(instance) if now - tick.since > policy.queued_for]
        beats = instance.get_daemon_heartbeats()
    if problem is not None:
        yield Finding("pool", Status.FAIL, *_parted(problem))
    if late:
        limit = print_duration(policy.queued_for)
        seen = f"{len(late)} evaluation(s) have waited for more than {limit}, run {late[0].run_id}"
        yield Finding("queue", Status.FAIL, seen, "See in the UI what runs; end it there if it hangs.")
    due = now - policy.silent_for
    silent = [name for name in BEATING if name not in beats or from_ms(int(beats[name].timestamp * 1000)) < due]
    if is_running and silent:
        hint = "mm up replaces it; where this lasts, see the log."
        yield Finding("daemon", Status.FAIL, f"no sign of life from {', '.join(silent)}", hint)


def _parted(problem: str) -> tuple[str, str]:
    seen, _, hint = problem.partition(". ")
    return seen, hint
