"""``mm up``: the watch with its Dagster UI, daemon and schedules, until it is stopped."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mm_pipeline.cli.options import settings_option

if TYPE_CHECKING:
    from mm_pipeline.settings import Deployment, Settings

UI_PORT = 3000

_MOST_STUDIED: Final = 10
"""Simulated markets for studies: each takes a second of the start of a watch."""


@click.command()
@settings_option
@click.option(
    "--without-pages", is_flag=True, help="Start although no channel reaches anybody who is not at this machine."
)
@click.option(
    "--without-heartbeat", is_flag=True, help="Start although nobody outside this machine would miss the watch."
)
@click.option("--port", type=click.IntRange(0, 65535), default=UI_PORT, show_default=True, help="Of the UI; 0: free.")
def up(*, settings_file: Path | None, without_pages: bool, without_heartbeat: bool, port: int) -> None:
    """Run the Dagster UI, daemon, schedules and the operator's page until stopped.

    Where the settings say `exchange: paper`, the paper exchange is started too, with every market that a grid trades.
    A real exchange is not watched while pages could reach nobody, or while nobody would miss a dead watch.
    The page needs MM_PAGE_TOKEN (mm page --help). Everything listens on loopback alone. Each evaluation is told in one
    line as the journal gets it. A process that dies or hangs is started again, within the bounds of the settings. One
    runs on a home. Ctrl-C, SIGTERM or SIGHUP stops it all; a tick in progress is ended, and made up for at the next
    start.
    """
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.adapters.config.home import mm_home
    from mm_pipeline.cli.up.family import only_one
    from mm_pipeline.cli.up.page import page_socket
    from mm_pipeline.cli.up.processes import Stop, listen
    from mm_pipeline.cli.up.watch import watch_until_stopped
    from mm_pipeline.domain.errors import ConfigError
    from mm_pipeline.settings import load_deployment

    deployment = load_deployment(settings_file)
    try:
        deployment.check_first_month(SystemClock().now())
    except ConfigError as error:  # a clock that is years behind is put right while the watch runs
        click.echo(f"warning: {error}", err=True)
    if not without_pages:
        check_reaches_somebody(deployment.settings)
    if not without_heartbeat:
        check_is_missed(deployment.settings)
    if not deployment.settings.is_paper:
        check_key(deployment.settings)
    home = mm_home()
    with ExitStack() as running:
        stop = running.enter_context(Stop())
        killed = running.enter_context(only_one(home))
        _end_leftovers(home)
        listening = running.enter_context(listen(port))
        page = running.enter_context(page_socket(deployment.settings))
        if deployment.settings.is_paper:
            write_example_study(home)
            _serve_paper(deployment, home, running)
        watch_until_stopped(deployment, home, listening, stop, page=page, killed=killed)


def _end_leftovers(home: Path) -> None:
    """An earlier one that was killed may have left processes, where nothing could end them then."""
    from mm_pipeline.cli.up.family import end

    ended = end(home)
    if ended:
        numbers = ", ".join(str(member.pid) for member in ended)
        click.echo(f"ended what an earlier mm up had left running on this home: processes {numbers}")


def check_reaches_somebody(settings: Settings) -> None:
    """Refuse to watch a real exchange when pages would stay on this machine.

    Raises
    ------
    ConfigError
        When every channel is a console or a file, and the markets are real.
    """
    from mm_pipeline.domain.errors import ConfigError

    if settings.is_paper or any(channel.kind not in ("console", "file") for channel in settings.channels):
        return
    raise ConfigError(
        f"markets are real ({settings.exchange}), but pages would reach nobody who is not at this machine.",
        "Add a pushover or apprise channel, or start with --without-pages.",
        key="channels",
    )


def check_is_missed(settings: Settings) -> None:
    """Refuse to watch a real exchange when a dead machine or network would be noticed by nobody.

    Raises
    ------
    ConfigError
        When no heartbeat URL is set, and the markets are real.
    """
    import os

    from mm_pipeline.domain.errors import ConfigError

    variable = settings.heartbeat_url_env
    if settings.is_paper or os.environ.get(variable, "").strip():
        return
    raise ConfigError(
        f"markets are real ({settings.exchange}), but {variable} is not set: a dead watch would be silent.",
        "Set it to the URL of a service that tells you when it was not asked, or start with --without-heartbeat.",
        key="heartbeat_url_env",
    )


def check_key(settings: Settings) -> None:
    """Refuse an account key that may do more than read, before anything is read with it.

    Raises
    ------
    ConfigError
        Naming what it may do and the hint. A key that cannot be asked about now is asked about by each run.
    """
    from mm_pipeline.cli.account_access import open_account
    from mm_pipeline.domain.errors import ExchangeError

    account = open_account(settings)
    if account is None:
        return
    try:
        key = account.check_key()
    except ExchangeError as error:
        click.echo(f"note: the account cannot be read now: {error}", err=True)
    else:
        click.echo(f"account     {key.account}, permissions {', '.join(sorted(key.permissions))}")


def write_example_study(home: Path) -> None:
    """Give the UI of simulated markets a study to look at, where the home has no folder of studies."""
    from mm_pipeline.adapters.config.home import studies_dir
    from mm_pipeline.settings.example import example_files

    folder = studies_dir(home)
    try:
        if folder.exists():
            return
        folder.mkdir(parents=True)
        for name, content in example_files().items():
            if name.startswith(f"{folder.name}/"):
                (home / name).write_text(content, encoding="utf-8")
                click.echo(f"study       {home / name} (an example)")
    except OSError as error:  # no study keeps a watch from starting
        click.echo(f"note: no example of a study can be written: {error.strerror or error}", err=True)


def _serve_paper(deployment: Deployment, home: Path, running: ExitStack) -> None:
    """Start the paper exchange where ``paper_url`` says, or use the one that is already there."""
    from urllib.parse import urlsplit

    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.cli.paper_exchange import DEFAULT_MARKETS, simulated_markets
    from mm_pipeline.cli.up.processes import is_paper_exchange
    from mm_pipeline.domain.errors import PipelineError
    from mm_pipeline.paper.exchange import PaperExchange

    url = deployment.settings.paper_url
    if is_paper_exchange(url):
        click.echo(f"paper exchange {url} (was already running)")
        return
    served = [name for name in _markets(deployment, home) if name.partition(":")[0] in ("kucoin", "binance")]
    markets = simulated_markets(served or DEFAULT_MARKETS, seed=0, at=SystemClock().now())
    address = urlsplit(url)
    try:
        running.enter_context(PaperExchange(markets=markets, port=address.port or 0, host=str(address.hostname)))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise PipelineError(
            f"the paper exchange cannot listen on {url} ({reason}).", "Stop what uses the port, or set paper_url."
        ) from error
    click.echo(f"paper exchange {url}: {', '.join(str(paper.market) for paper in markets)}")


def _markets(deployment: Deployment, home: Path) -> list[str]:
    from mm_pipeline.adapters.config.grid_files import load_grids

    traded = {str(grid.market) for grid in load_grids(deployment.grids_folder).grids}
    return sorted(traded | studied_markets(home) | set(deployment.settings.extra_markets))


def studied_markets(home: Path) -> set[str]:
    """Markets that studies ask an exchange for."""
    from mm_pipeline.adapters.config.home import studies_dir
    from mm_pipeline.adapters.config.study_files import load_studies
    from mm_pipeline.settings import policy_names

    studies = load_studies(studies_dir(home), policy_names()).studies
    files = {(study.name, str(file.market)) for study in studies for file in study.candles}
    named = {(study.name, market) for study in studies for market in study.declaration.markets}
    asked = sorted({market for _, market in named - files})
    if len(asked) > _MOST_STUDIED:
        click.echo(f"note: studies ask for {len(asked)} markets; the first {_MOST_STUDIED} are simulated", err=True)
    return set(asked[:_MOST_STUDIED])
