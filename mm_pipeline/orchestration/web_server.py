"""Dagster's UI behind the check of Host and Origin, as a process: ``python -m mm_pipeline.orchestration.web_server``.

The check and the webserver are one process, so there is no address at which the webserver answers without it. It takes
the socket on which it listens from whoever starts it, so that nobody else can listen there while it starts again.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import click

STATEMENT_TIMEOUT_MS: Final = 15_000
POOL_RECYCLE_S: Final = 3600
POOL_OVERFLOW: Final = 20
LIVE_DATA_MS: Final = 2000
"""These four are the defaults of ``dagster-webserver``, and of ``dagster dev``."""
END_WITHIN_S: Final = 3


@click.command()
@click.option("--fd", type=int, required=True, help="Open socket to listen on.")
@click.option("--workspace", type=click.Path(path_type=Path), required=True, help="Where the code server is.")
@click.option("--allowed-host", "allowed_hosts", multiple=True, help="A name beside loopback's own.")
def main(*, fd: int, workspace: Path, allowed_hosts: tuple[str, ...]) -> None:
    """Serve the UI of the home's Dagster until SIGTERM."""
    import uvicorn
    from dagster import DagsterInstance, __version__
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget
    from dagster_webserver.app import create_app_from_workspace_process_context

    from mm_pipeline.adapters.config.home import mm_home
    from mm_pipeline.adapters.dagster_folder import opening
    from mm_pipeline.adapters.ui_guard import UiGuard, loopback_hosts

    listening = socket.socket(fileno=fd)
    hosts = (*loopback_hosts(listening.getsockname()[1]), *allowed_hosts)
    with ExitStack() as stack:
        with opening(mm_home()) as folder:
            instance = stack.enter_context(DagsterInstance.from_config(str(folder)))
        instance.optimize_for_webserver(STATEMENT_TIMEOUT_MS, POOL_RECYCLE_S, POOL_OVERFLOW)
        target = WorkspaceFileTarget(paths=[str(workspace)])
        context = stack.enter_context(
            WorkspaceProcessContext(instance, version=__version__, workspace_load_target=target)
        )
        app = create_app_from_workspace_process_context(context, live_data_poll_rate=LIVE_DATA_MS)
        config = uvicorn.Config(
            UiGuard(app, hosts=hosts),
            log_level="warning",
            proxy_headers=False,  # what a client says about itself decides nothing here
            timeout_graceful_shutdown=END_WITHIN_S,
        )
        uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
