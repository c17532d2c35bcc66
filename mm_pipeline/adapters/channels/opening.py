"""From a channel's configuration to the channel, with its secrets from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from mm_pipeline.adapters.channels.config import (
    AppriseConfig,
    ChannelAccess,
    ChannelConfig,
    ConsoleConfig,
    FileConfig,
    PushoverConfig,
)
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.domain.notifications.channel import Channel

_PUSHOVER_KEY = re.compile(r"[A-Za-z0-9]{30}")


def channel_of(
    config: ChannelConfig, home: Path, *, access: ChannelAccess, environment: Mapping[str, str] | None = None
) -> Channel:
    """The channel that a configuration describes. Nothing is sent, nothing is connected to.

    Parameters
    ----------
    home
        Where a relative path of a file channel starts.
    access
        Time limits of channels over the network.
    environment
        Where secrets are; the process's own if None.

    Raises
    ------
    ConfigError
        When an environment variable is missing, or what it holds cannot be used; the message never quotes it.
    """
    variables = os.environ if environment is None else environment
    match config:
        case PushoverConfig():
            return _pushover(config, access, variables)
        case AppriseConfig():
            from mm_pipeline.adapters.channels.apprise_channel import AppriseChannel

            url = _secret(config.name, config.url_env, "the service's apprise URL", variables)
            return AppriseChannel(
                config.name, url, deadline_s=access.deadline.total_seconds(), source=f"${config.url_env}"
            )
        case ConsoleConfig():
            from mm_pipeline.adapters.channels.console import ConsoleChannel

            return ConsoleChannel(config.name)
        case FileConfig():
            from mm_pipeline.adapters.channels.file import FileChannel

            return FileChannel(config.name, home / config.path)


def open_channels(
    configs: Iterable[ChannelConfig],
    home: Path,
    *,
    access: ChannelAccess,
    environment: Mapping[str, str] | None = None,
) -> tuple[Channel, ...]:
    """Every channel, in the order of the settings; see :func:`channel_of`."""
    return tuple(channel_of(config, home, access=access, environment=environment) for config in configs)


def _pushover(config: PushoverConfig, access: ChannelAccess, variables: Mapping[str, str]) -> Channel:
    from mm_pipeline.adapters.channels.pushover import PushoverChannel

    return PushoverChannel(
        config.name,
        token=_pushover_key(config.name, config.token_env, "the application's API token", variables),
        user=_pushover_key(config.name, config.user_env, "the user or group key", variables),
        api_url=config.api_url,
        device=config.device,
        read_timeout_s=access.read_timeout.total_seconds(),
        deadline_s=access.deadline.total_seconds(),
    )


def _pushover_key(channel: str, variable: str, what: str, variables: Mapping[str, str]) -> str:
    key = _secret(channel, variable, what, variables)
    if not _PUSHOVER_KEY.fullmatch(key):
        raise ConfigError(
            f"channel {channel}: the environment variable {variable} does not hold {what} of Pushover.",
            "Copy it anew from pushover.net: it is 30 letters and digits.",
        )
    return key


def _secret(channel: str, variable: str, what: str, variables: Mapping[str, str]) -> str:
    value = variables.get(variable, "").strip()
    if not value:
        raise ConfigError(
            f"channel {channel}: the environment variable {variable} is not set.",
            f"Set it to {what}, or remove the channel from the settings.",
        )
    return value
