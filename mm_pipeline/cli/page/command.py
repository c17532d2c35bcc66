"""``mm page``: the operator's page alone, until it is stopped."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from mm_pipeline.adapters.page.sessions import PageKeys
from mm_pipeline.cli.options import settings_option


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), help="Of the page; 0: free; default: page.port of the settings.")
@settings_option
def page(*, port: int | None, settings_file: Path | None) -> None:
    """Serve the operator's page to a browser on this machine, until Ctrl-C.

    It says how each grid stands, what was sent, and what is due; it acknowledges, and reports flat. The log-in token is
    read from MM_PAGE_TOKEN. Nothing is fetched or evaluated: mm up does that.
    """
    from mm_pipeline.cli.page.server import page_keys, serve
    from mm_pipeline.cli.up.processes import listen
    from mm_pipeline.settings import load_deployment

    keys, settings = page_keys(), load_deployment(settings_file).settings
    with listen(settings.page.port if port is None else port) as listening:
        for line in address_lines(keys, listening.getsockname()):
            click.echo(line)
        with suppress(KeyboardInterrupt):
            serve(listening, settings_file)
    click.echo("The page is closed. The watch itself runs on where it was started.")


def address_lines(keys: PageKeys, address: tuple[str, int]) -> list[str]:
    """Where the page is, and the link that may read alone."""
    url = "http://{}:{}".format(*address)
    return [f"page        {url}", f"read only   {url}/link/{keys.link}"]
