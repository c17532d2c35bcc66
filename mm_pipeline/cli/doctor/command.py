"""``mm doctor``: whether everything that a run needs is there, and what to do about what is not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mm_pipeline.cli.lazy_group import REFUSED
from mm_pipeline.cli.options import json_option, policy_option, settings_option

if TYPE_CHECKING:
    from rich.table import Table

    from mm_pipeline.cli.doctor.findings import Finding
    from mm_pipeline.settings import Deployment

_STYLES = {"ok": "green", "warn": "bold black on yellow", "fail": "bold white on red"}


@click.command()
@settings_option
@policy_option
@click.option("--show-settings", is_flag=True, help="Print every setting with value, unit, bounds and source instead.")
@json_option
@click.pass_context
def doctor(
    ctx: click.Context, *, settings_file: Path | None, policy: str | None, show_settings: bool, as_json: bool
) -> None:
    """Check home, disk, settings, grids, journal, frames, exchanges and clock.

    Asks every exchange for its time and the newest candles of every market. Exit code 1 when anything fails; a warning
    is no failure.
    """
    from mm_pipeline.settings import load_deployment

    deployment = load_deployment(settings_file, policy=policy)
    if show_settings:
        _show_settings(deployment, as_json=as_json)
        return
    findings = _examine(deployment)
    _tell(findings, as_json=as_json)
    if any(finding.status == "fail" for finding in findings):
        ctx.exit(REFUSED)


def _examine(deployment: Deployment) -> list[Finding]:
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.cli.doctor.checks import checks, run
    from mm_pipeline.cli.output import steps

    due = checks(deployment, SystemClock())
    findings: list[Finding] = []
    with steps(len(due)) as advance:
        for name, check in due:
            advance(name)
            findings += run(name, check)
    return findings


def _tell(findings: list[Finding], *, as_json: bool) -> None:
    from rich.text import Text

    from mm_pipeline.cli.output import print_json, stdout

    if as_json:
        failed = sum(finding.status == "fail" for finding in findings)
        print_json({"failed": failed, "findings": [vars(finding) for finding in findings]})
        return
    console = stdout()
    for finding in findings:
        mark = Text(f" {finding.status.value:^4} ", style=_STYLES[finding.status])
        console.print(Text.assemble(mark, "  ", (f"{finding.check:<20}", "bold"), finding.seen), soft_wrap=True)
        if finding.hint:
            console.print(Text(f"{'':28}{finding.hint}"), soft_wrap=True)


def _show_settings(deployment: Deployment, *, as_json: bool) -> None:
    from mm_pipeline.cli.output import print_json, stdout
    from mm_pipeline.settings import describe

    settings = list(describe(deployment.settings))
    if as_json:
        print_json([vars(setting) for setting in settings])
        return
    console = stdout()
    console.print(f"{deployment.file or 'packaged defaults'}, policy {deployment.settings.policy}", soft_wrap=True)
    console.print(_settings_table(deployment))


def _settings_table(deployment: Deployment) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from mm_pipeline.settings import describe

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("setting", no_wrap=True)
    table.add_column("value")
    for heading in ("unit", "bounds", "source"):
        table.add_column(heading, style="dim")
    for setting in describe(deployment.settings):
        table.add_row(
            setting.key, Text(str(setting.value), style="bold"), setting.unit, setting.bounds, Text(setting.source)
        )
    return table
