"""From a decided page to an answered one: the relay, receipts and missed windows, alarms about channels, the heartbeat.

What is decided, and how a channel sends, do not belong here.
"""

from mm_pipeline.adapters.delivery.alarms import Alarms
from mm_pipeline.adapters.delivery.answers import Answers
from mm_pipeline.adapters.delivery.health import ChannelHealth
from mm_pipeline.adapters.delivery.heartbeat import send_heartbeat, stays_here
from mm_pipeline.adapters.delivery.ladder import ChannelLadder
from mm_pipeline.adapters.delivery.relay import Relay, Sent
from mm_pipeline.adapters.journal.notification_records import ALARM

__all__ = [
    "ALARM",
    "Alarms",
    "Answers",
    "ChannelHealth",
    "ChannelLadder",
    "Relay",
    "Sent",
    "send_heartbeat",
    "stays_here",
]
