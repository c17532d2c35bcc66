"""The page's server as a process: ``python -m mm_pipeline.cli.page.server``, and the same for ``mm page``.

It takes the socket on which it listens from whoever starts it, so that nobody else can listen there meanwhile.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mm_pipeline.adapters.page.sessions import TOKEN_VARIABLE, PageKeys
from mm_pipeline.cli.options import settings_option

if TYPE_CHECKING:
    import uvicorn

END_WITHIN_S: Final = 3


@click.command()
@click.option("--fd", type=int, required=True, help="Open socket to listen on.")
@settings_option
def main(*, fd: int, settings_file: Path | None) -> None:
    """Serve the operator's page until SIGTERM."""
    serve(socket.socket(fileno=fd), settings_file)


def serve(listening: socket.socket, settings_file: Path | None) -> None:
    """Serve the page on an open socket until a signal comes.

    Raises
    ------
    ConfigError
        When the token or the settings cannot be used.
    """
    page_server(listening, settings_file).run(sockets=[listening])


def page_server(listening: socket.socket, settings_file: Path | None) -> uvicorn.Server:
    """What serves the page on this socket once it is run."""
    import uvicorn

    from mm_pipeline import bootstrap
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.adapters.ui_guard import loopback_hosts
    from mm_pipeline.cli.page.app import OperatorPage, page_app
    from mm_pipeline.cli.page.logins import Logins

    deployment = bootstrap.following_deployment(settings_file)
    page = OperatorPage(Logins(deployment, page_keys(), SystemClock()))
    hosts = (*loopback_hosts(listening.getsockname()[1]), *deployment().settings.ui.allowed_hosts)
    config = uvicorn.Config(
        page_app(page, hosts=hosts),
        log_level="warning",
        proxy_headers=False,  # what a client says about itself decides nothing here
        server_header=False,
        timeout_graceful_shutdown=END_WITHIN_S,
    )
    return uvicorn.Server(config)


def page_keys() -> PageKeys:
    """What opens the page, by the environment.

    Raises
    ------
    ConfigError
        When there is no token, or one that could be guessed.
    """
    from mm_pipeline import bootstrap

    return PageKeys(bootstrap.variable(TOKEN_VARIABLE))


if __name__ == "__main__":
    main()
