"""When ``mm up`` steps in: settings key ``supervision``; which names its UI answers to: settings key ``ui``. Pure."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from pydantic import field_validator

from mm_pipeline.domain.policy import Duration, Policy, threshold

_SECOND: Final = timedelta(seconds=1)
_MINUTE: Final = timedelta(minutes=1)
_HOST: Final = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(:[0-9]{1,5})?")


class SupervisionPolicy(Policy):
    """How long a process of the watch may be silent, and how often it is started again."""

    queued_for: Duration = threshold(
        unit="duration",
        source="a tick starts within seconds and takes one minute; two leave thirteen to act before the next",
        ge=10 * _SECOND,
        le=15 * _MINUTE,
    )
    silent_for: Duration = threshold(
        unit="duration",
        source="the daemon beats every 30 s and waits up to 60 s for a sensor; twice their sum",
        ge=60 * _SECOND,
        le=15 * _MINUTE,
    )
    tick_gap: Duration = threshold(
        unit="duration",
        source="SPEC 8: one period of 15 min and five minutes",
        ge=16 * _MINUTE,
        le=timedelta(hours=2),
    )
    restarts: int = threshold(
        unit="restarts of one process in restart_window",
        source="a fault that passes needs one or two; what dies five times in ten minutes needs a person",
        ge=0,
        le=100,
    )
    restart_window: Duration = threshold(
        unit="duration", source="less than one tick is lost before it is given up", ge=_MINUTE, le=timedelta(days=1)
    )


class UiPolicy(Policy):
    """Which names the UI answers to beside loopback's own."""

    allowed_hosts: tuple[str, ...] = threshold(
        unit="host or host:port, as a browser sends it",
        source="none is needed on loopback; a proxy or a tunnel in front of the UI has a name or port of its own",
    )

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _names_hosts(cls, value: object) -> object:
        if not isinstance(value, list | tuple):
            return value
        for host in value:
            if not isinstance(host, str) or _HOST.fullmatch(host) is None:
                raise ValueError(f"{host!r} is no host; write it like watch.example.org or 127.0.0.1:8080")
        return tuple(value)


class Freshness:
    """Since when a sign of life has not changed, in seconds of a clock that nobody sets.

    Only what was seen counts: while nobody could look, silence does not grow. Not safe for two writers at once.

    Parameters
    ----------
    now_s
        When the watching begins.
    """

    def __init__(self, now_s: float) -> None:
        self._value: object = None
        self._has_changed = False
        self.excuse(now_s)

    @property
    def value(self) -> object:
        """What the last look has found; None before the first."""
        return self._value

    @property
    def silent_s(self) -> float:
        """From the last change, or the beginning, to the last look."""
        return self._seen_s - self._changed_s

    @property
    def has_changed(self) -> bool:
        """Whether any change was seen since the beginning."""
        return self._has_changed

    def observe(self, value: object, now_s: float) -> None:
        """Note what a look has found; the very first value is no change, for it may be an old one."""
        if value != self._value:
            self._has_changed = self._has_changed or self._value is not None
            self._value = value
            self._changed_s = now_s
        self._seen_s = now_s

    def begin(self, now_s: float) -> None:
        """Begin anew: the process was started again."""
        self._has_changed = False
        self.excuse(now_s)

    def excuse(self, now_s: float) -> None:
        """Forget the silence so far: nobody could look."""
        self._changed_s = now_s
        self._seen_s = now_s


class RestartBudget:
    """How often a process may be started again within a stretch of time."""

    def __init__(self, policy: SupervisionPolicy) -> None:
        self._policy = policy
        self._at_s: list[float] = []

    def used(self, now_s: float) -> int:
        """Restarts in the window that ends now."""
        begin_s = now_s - self._policy.restart_window.total_seconds()
        self._at_s = [at_s for at_s in self._at_s if at_s > begin_s]
        return len(self._at_s)

    def spend(self, now_s: float) -> bool:
        """Take one restart; False where there is none left."""
        if self.used(now_s) >= self._policy.restarts:
            return False
        self._at_s.append(now_s)
        return True
