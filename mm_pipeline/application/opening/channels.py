"""Which channels a run delivers through, and what takes pages to them and answers back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from mm_pipeline.adapters.channels import ChannelConfig, channel_of, records_of
from mm_pipeline.adapters.clock import Clock
from mm_pipeline.adapters.journal import Claim, Journal
from mm_pipeline.application.delivery import Alarms, Answers, ChannelHealth, ChannelOrder, Relay
from mm_pipeline.application.delivery.follow_up import page_tag
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.domain.notifications import Accepted, Channel, ChannelError, Message
from mm_pipeline.reporting.pages.text import marked
from mm_pipeline.settings import Settings


class ChannelFactory(Protocol):
    """Makes the channels of a run; tests give their own."""

    def open(self, settings: Settings) -> Mapping[str, Channel]:
        """Channels by name, in the order of the settings."""
        ...


@dataclass(frozen=True)
class ConfiguredChannels:
    """The channels that the settings declare; ``home`` is where a relative file of one begins."""

    home: Path

    def open(self, settings: Settings) -> Mapping[str, Channel]:
        """See :class:`ChannelFactory`; a channel that cannot be opened fails every page, and the others go on."""
        return {config.name: self._open(config, settings) for config in settings.channels}

    def _open(self, config: ChannelConfig, settings: Settings) -> Channel:
        try:
            return channel_of(config, self.home, access=settings.channel_access)
        except ConfigError as error:
            return _Unusable(config.name, error)


@dataclass(frozen=True)
class _Unusable:
    """A channel whose configuration cannot be used now: its pages wait for it, and go to the next one meanwhile.

    It refuses none for good: nobody was asked, and a missing key is soon set.
    """

    name: str
    error: ConfigError

    def send(self, message: Message) -> Accepted:
        raise ChannelError(self.error.problem, self.error.hint, is_final=False)


@dataclass(frozen=True)
class Delivery:
    """Everything that happens to a page after it was decided, over one journal and one set of channels."""

    ladder: ChannelOrder
    relay: Relay
    answers: Answers
    alarms: Alarms
    health: ChannelHealth


def delivery_of(
    journal: Journal,
    channels: Mapping[str, Channel],
    *,
    settings: Settings,
    clock: Clock,
    written_by: Mapping[str, str],
) -> Delivery:
    """Wire relay, answers and alarms together."""
    secondary = frozenset(config.name for config in settings.channels if config.is_secondary)
    ladder = ChannelOrder(channels, secondary & set(channels), records_of(settings.channels) & set(channels))
    journal.sign(written_by)
    journal.keep_time(clock, tolerance=settings.exchange_access.max_clock_offset)
    alarms = Alarms(journal, ladder, clock=clock, written_by=written_by)
    unusable = {name: one.error.problem for name, one in channels.items() if isinstance(one, _Unusable)}
    return Delivery(
        ladder=ladder,
        health=ChannelHealth(journal, ladder, policy=settings.delivery, unusable=unusable),
        relay=Relay(journal, ladder, policy=settings.delivery, clock=clock, alarms=alarms, render=_render(settings)),
        answers=Answers(journal, ladder, policy=settings.notify, clock=clock, written_by=written_by),
        alarms=alarms,
    )


def _render(settings: Settings) -> Callable[[Claim, datetime], Message]:
    def render(claim: Claim, now: datetime) -> Message:
        page = claim.page
        age = now - page.evaluated_at
        late_by = age if age > settings.notify.max_lateness else None
        text = marked(page.title, page.text, late_by=late_by, may_be_duplicate=claim.may_be_duplicate)
        return Message(
            page_id=page.page,
            title=text.title,
            text=text.text,
            priority=page.priority,
            at=page.evaluated_at,
            tags=(page_tag(page.page),),
            retry_s=page.retry_s,
            expire_s=page.expire_s,
            image_png=page.image,
        )

    return render
