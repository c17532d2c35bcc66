"""Where evaluations are archived: settings key ``archive``."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from mm_pipeline.domain.policy import Duration, Policy, threshold


class ArchivePolicy(Policy):
    """The remote of the evaluation archive (SPEC 9), and how long a push may take."""

    remote_env: Annotated[
        str,
        Field(
            pattern=r"^[A-Z][A-Z0-9_]{0,79}$",
            json_schema_extra={
                "unit": "name of an environment variable",
                "source": "its value is the address of the Git remote and may hold a token; unset: no archive",
            },
        ),
    ]
    branch: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$",
            json_schema_extra={"unit": "name of a branch", "source": "Git's usual first one"},
        ),
    ]
    push_timeout: Duration = threshold(
        unit="duration of one question to the remote",
        source="a tick's commit is a few kilobytes; what was not pushed is pushed by the next tick",
        ge=timedelta(seconds=1),
        le=timedelta(minutes=5),
    )
    push_attempts: int = threshold(unit="attempts a tick", source="one more than a dropped connection", ge=1, le=10)
    stale_lock: Duration = threshold(
        unit="age of an index.lock",
        source="writing the index takes seconds, and one run at a time writes here",
        ge=timedelta(seconds=10),
        le=timedelta(hours=1),
    )
