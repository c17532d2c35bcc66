"""How channels are declared in the settings. No secret stands there, only the environment variable that holds it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from mm_pipeline.domain.policy import Duration, Policy, threshold

_SECOND = timedelta(seconds=1)

EnvironmentVariable = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
"""Name of a variable, never its value: Pushover's and most services' keys have lower-case letters."""


class _Channel(Policy):
    """What every channel has: a name, and whether it is used only when the others failed or nobody acknowledged."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
    is_secondary: bool = False
    reaches_a_person: ClassVar[bool] = True
    """Whether what it takes is put before a person (phone, chat, mail), not only kept (console, file)."""


class PushoverConfig(_Channel):
    """Pushover's API; ``api_url`` is its own or, for trials, a server on loopback."""

    kind: Literal["pushover"]
    token_env: EnvironmentVariable
    user_env: EnvironmentVariable
    api_url: Annotated[
        str, Field(pattern=r"^(https://api\.pushover\.net|http://(127\.0\.0\.1|localhost|\[::1\]):\d{1,5})$")
    ]
    device: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,25}$")] | None = None


class AppriseConfig(_Channel):
    """One service of the apprise library; its URL holds the service's keys."""

    kind: Literal["apprise"]
    url_env: EnvironmentVariable


class ConsoleConfig(_Channel):
    """Standard error."""

    kind: Literal["console"]
    reaches_a_person: ClassVar[bool] = False


class FileConfig(_Channel):
    """A file of JSON lines; ``path`` is absolute or starts at the home."""

    kind: Literal["file"]
    reaches_a_person: ClassVar[bool] = False
    path: Annotated[str, Field(min_length=1, pattern=r"^[^\x00]+$")]


ChannelConfig = Annotated[PushoverConfig | AppriseConfig | ConsoleConfig | FileConfig, Field(discriminator="kind")]
"""Any one channel, told apart by ``kind``."""


def named_once(configs: tuple[ChannelConfig, ...]) -> tuple[ChannelConfig, ...]:
    """The channels as they are.

    Raises
    ------
    ValueError
        When two bear one name: deliveries are recorded by it.
    """
    names = [config.name for config in configs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two channels are named {twice[0]}; give each a name of its own")
    return configs


def records_of(configs: Iterable[ChannelConfig]) -> frozenset[str]:
    """Names of the channels whose acceptance does not count as delivery: they keep a page and put it before nobody.

    Where no channel reaches a person every one counts, and there is none.
    """
    found = list(configs)
    kept = frozenset(config.name for config in found if not config.reaches_a_person)
    return kept if len(kept) < len(found) else frozenset()


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


ChannelConfigs = Annotated[tuple[ChannelConfig, ...], BeforeValidator(_as_tuple), AfterValidator(named_once)]
"""The channels of a settings file, in the order in which they are tried."""


class ChannelAccess(Policy):
    """How long a channel over the network may take."""

    read_timeout: Duration = threshold(
        unit="duration", source="a push service answers in well under a second", ge=_SECOND, le=60 * _SECOND
    )
    deadline: Duration = threshold(
        unit="duration",
        source="wall clock of one attempt, a dripped answer included; short of the next tick",
        ge=_SECOND,
        le=300 * _SECOND,
    )
