"""From a decided page to an answered one: the relay, receipts and missed windows, alarms about channels, the heartbeat.

What is decided, and how a channel sends, do not belong here.
"""

from mm_pipeline.adapters.journal.page_records import ALARM
from mm_pipeline.application.delivery.alarms import Alarms
from mm_pipeline.application.delivery.channel_order import ChannelOrder
from mm_pipeline.application.delivery.follow_up import Answers
from mm_pipeline.application.delivery.health import ChannelHealth
from mm_pipeline.application.delivery.heartbeat import send_heartbeat, stays_here
from mm_pipeline.application.delivery.relay import DeliveryAttempt, Relay

__all__ = [
    "ALARM",
    "Alarms",
    "Answers",
    "ChannelHealth",
    "ChannelOrder",
    "DeliveryAttempt",
    "Relay",
    "send_heartbeat",
    "stays_here",
]
