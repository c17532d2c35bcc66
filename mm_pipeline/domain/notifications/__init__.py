"""What an operator is told and when (SPEC 8), pure. How a page looks, or travels, does not belong here."""

from mm_pipeline.domain.notifications.channel import (
    EMERGENCY,
    TEXT_LIMIT,
    TITLE_LIMIT,
    Accepted,
    Channel,
    ChannelError,
    Message,
    ReceiptChannel,
    ReceiptState,
    ReceiptStatus,
)
from mm_pipeline.domain.notifications.decide import decide, decide_all, page_id, replay
from mm_pipeline.domain.notifications.decision import (
    ASKS_FOR_EXIT,
    REMINDERS,
    TAKES_NOTHING_BACK,
    Cause,
    Decision,
    HeldBack,
    Notice,
    is_over_after,
    replaces,
)
from mm_pipeline.domain.notifications.delivery import DeliveryPolicy, backoff
from mm_pipeline.domain.notifications.history import History
from mm_pipeline.domain.notifications.judgement import ENTRY, EXIT, EarlierPosition, Judgement, is_held, judged_in
from mm_pipeline.domain.notifications.policy import LONGEST_FLAPPING, NotifyPolicy, PageBudget
from mm_pipeline.domain.notifications.response import FLATS, SEEN_OPEN, Response, ResponseKind, unrefuted

__all__ = [
    "ASKS_FOR_EXIT",
    "EMERGENCY",
    "ENTRY",
    "EXIT",
    "FLATS",
    "LONGEST_FLAPPING",
    "REMINDERS",
    "SEEN_OPEN",
    "TAKES_NOTHING_BACK",
    "TEXT_LIMIT",
    "TITLE_LIMIT",
    "Accepted",
    "Cause",
    "Channel",
    "ChannelError",
    "Decision",
    "DeliveryPolicy",
    "EarlierPosition",
    "HeldBack",
    "History",
    "Judgement",
    "Message",
    "Notice",
    "NotifyPolicy",
    "PageBudget",
    "ReceiptChannel",
    "ReceiptState",
    "ReceiptStatus",
    "Response",
    "ResponseKind",
    "backoff",
    "decide",
    "decide_all",
    "is_held",
    "is_over_after",
    "judged_in",
    "page_id",
    "replaces",
    "replay",
    "unrefuted",
]
