"""``mm notify``: whether pages would reach you."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mm_pipeline.cli.lazy_group import REFUSED
from mm_pipeline.cli.options import json_option, settings_option

if TYPE_CHECKING:
    from mm_pipeline.domain.notifications import Channel, Message

_NORMAL = 0
_EMERGENCY_ENDS_S = 60


@click.group()
def notify() -> None:
    """Try the channels through which pages reach you."""


@notify.command("test")
@click.option("--channel", "names", multiple=True, metavar="NAME", help="This channel alone; default: every one.")
@click.option("--emergency", is_flag=True, help="As an emergency that rings for a minute, where a channel has them.")
@settings_option
@json_option
@click.pass_context
def send_test(
    ctx: click.Context, *, names: tuple[str, ...], emergency: bool, settings_file: Path | None, as_json: bool
) -> None:
    """Send a message that is marked as a test through every configured channel, secondary ones included.

    Nothing is journalled. Exit code 1 when a channel did not take it.
    """
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.adapters.config.home import data_home
    from mm_pipeline.application.opening.channels import ConfiguredChannels
    from mm_pipeline.domain.errors import ConfigError
    from mm_pipeline.settings import load_deployment

    settings = load_deployment(settings_file).settings
    channels = ConfiguredChannels(data_home(is_paper=settings.is_paper)).open(settings)
    unknown = [name for name in names if name not in channels]
    if unknown:
        raise ConfigError(f"there is no channel {', '.join(unknown)}.", f"There are: {', '.join(channels) or 'none'}.")
    message = _message(SystemClock().now(), is_emergency=emergency)
    found = [_sent(channels[name], message) for name in names or channels]
    _tell(found, as_json=as_json)
    if not found or any(row["problem"] for row in found):
        ctx.exit(REFUSED)


def _message(now: Any, *, is_emergency: bool) -> Message:
    from mm_pipeline.domain.notifications import EMERGENCY, Message
    from mm_pipeline.reporting.pages.text import marked

    text = "Pages about your grids come this way. Nothing has happened and nothing need be done."
    page = marked("pages reach you", text, late_by=None, may_be_duplicate=False, is_test=True)
    return Message(
        page_id=f"test-{now:%Y%m%d%H%M%S}",
        title=page.title,
        text=page.text,
        priority=EMERGENCY if is_emergency else _NORMAL,
        at=now,
        tags=("mm-test",),
        retry_s=30 if is_emergency else None,
        expire_s=_EMERGENCY_ENDS_S if is_emergency else None,
    )


def _sent(channel: Channel, message: Message) -> dict[str, Any]:
    from mm_pipeline.domain.notifications import ChannelError

    try:
        accepted = channel.send(message)
    except ChannelError as error:
        return {"channel": channel.name, "taken": False, "problem": error.problem, "hint": error.hint}
    quota = {"remaining": accepted.quota_remaining, "limit": accepted.quota_limit}
    return {"channel": channel.name, "taken": True, "problem": "", "hint": "", "quota": quota}


def _tell(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    from mm_pipeline.cli.output import print_json

    if as_json:
        print_json({"channels": rows})
        return
    if not rows:
        click.echo("no channel is configured: see `channels` in the settings.", err=True)
    for row in rows:
        quota = row.get("quota") or {}
        left = f", {quota['remaining']} of {quota['limit']} messages left" if quota.get("limit") else ""
        click.echo(f"{row['channel']}: {'taken' + left if row['taken'] else 'NOT taken: ' + row['problem']}")
        if row["hint"]:
            click.echo(f"  {row['hint']}")
