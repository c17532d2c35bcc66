"""A paper Pushover: the push service's API on loopback with its real rules, for trials and tests of paging."""

from mm_pipeline.paper.pushover.account import AcceptedMessage, Account
from mm_pipeline.paper.pushover.rules import Attachment
from mm_pipeline.paper.pushover.server import PaperPushover, RequestRecord

__all__ = ["AcceptedMessage", "Account", "Attachment", "PaperPushover", "RequestRecord"]
