"""``mm init``: settings, an example grid and an example study for a new home, from the package alone."""

from __future__ import annotations

import click


@click.command()
def init() -> None:
    """Write settings, an example grid and an example study into the home, so that a watch needs no checkout.

    The home is MM_HOME, else .mm beside the checkout, else your user's. Files that are there stay as they are.
    """
    from mm_pipeline.adapters.config.home import mm_home
    from mm_pipeline.settings.example import example_files

    home = mm_home()
    for name, content in example_files().items():
        file = home / name
        if file.exists():
            click.echo(f"kept     {file}")
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
        click.echo(f"written  {file}")
    click.echo("Next: mm grids check, then mm doctor, then mm up.")
