"""The ``mm`` command: one module a subcommand, each loaded only when it is asked for.

Exit code 0: done; 1: the answer is no (a problem, an UNKNOWN grid); 2: wrong usage or configuration.
"""

from __future__ import annotations

import click

from mm_pipeline import __version__
from mm_pipeline.cli.lazy_group import LazyGroup

COMMANDS = {
    "demo": "mm_pipeline.cli.demo.command:demo",
    "init": "mm_pipeline.cli.init:init",
    "up": "mm_pipeline.cli.up.command:up",
    "evaluate": "mm_pipeline.cli.evaluate:evaluate",
    "status": "mm_pipeline.cli.operator.status:status",
    "watch": "mm_pipeline.cli.operator.watch:watch",
    "page": "mm_pipeline.cli.page.command:page",
    "why": "mm_pipeline.cli.operator.why:why",
    "history": "mm_pipeline.cli.operator.history:history",
    "ack": "mm_pipeline.cli.operator.answer:ack",
    "flat": "mm_pipeline.cli.operator.answer:flat",
    "reopen": "mm_pipeline.cli.operator.answer:reopen",
    "journal": "mm_pipeline.cli.operator.journal:journal",
    "kpi": "mm_pipeline.cli.operator.kpi:kpi",
    "notify": "mm_pipeline.cli.operator.notify:notify",
    "archive": "mm_pipeline.cli.operator.archive:archive",
    "import-fills": "mm_pipeline.cli.operator.import_fills:import_fills",
    "backfill": "mm_pipeline.cli.history.backfill:backfill",
    "frames": "mm_pipeline.cli.history.frames:frames",
    "housekeep": "mm_pipeline.cli.history.housekeep:housekeep",
    "replay": "mm_pipeline.cli.history.replay:replay",
    "simulate": "mm_pipeline.cli.history.simulate:simulate",
    "calibrate": "mm_pipeline.cli.history.calibrate:calibrate",
    "study": "mm_pipeline.cli.study.command:study",
    "grids": "mm_pipeline.cli.grids:grids",
    "doctor": "mm_pipeline.cli.doctor.command:doctor",
    "paper-exchange": "mm_pipeline.cli.paper_exchange:paper_exchange",
}
"""Subcommands in the order in which a newcomer needs them."""


@click.group(cls=LazyGroup, commands_at=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mm")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Watch crypto grid-trading bots: regime, exit and entry states with their reasons, every 15 minutes.

    Every command has --help. Exit code: 0 done, 1 the answer is no, 2 wrong usage or configuration.
    """
    _keep_private(is_doctor=ctx.invoked_subcommand == "doctor")


def _keep_private(*, is_doctor: bool) -> None:
    """Close the home to other users; the doctor changes nothing, it names what is open."""
    import os
    from contextlib import suppress

    from mm_pipeline.adapters.config.home import OTHERS, keep_private, mm_home
    from mm_pipeline.domain.errors import ConfigError

    if is_doctor:
        os.umask(OTHERS)
        return
    with suppress(ConfigError):  # the command itself says what is wrong with MM_HOME
        keep_private(mm_home())
