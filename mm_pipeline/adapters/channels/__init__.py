"""Ways to reach an operator: Pushover, any service of the apprise library, a console, a file. When a page is sent, and
to which of them, does not belong here.
"""

from mm_pipeline.adapters.channels.config import (
    AppriseConfig,
    ChannelAccess,
    ChannelConfig,
    ChannelConfigs,
    ConsoleConfig,
    FileConfig,
    PushoverConfig,
    named_once,
    records_of,
)
from mm_pipeline.adapters.channels.opening import channel_of, open_channels

__all__ = [
    "AppriseConfig",
    "ChannelAccess",
    "ChannelConfig",
    "ChannelConfigs",
    "ConsoleConfig",
    "FileConfig",
    "PushoverConfig",
    "channel_of",
    "named_once",
    "open_channels",
    "records_of",
]
