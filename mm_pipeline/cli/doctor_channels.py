"""What ``mm doctor`` sees of the ways to reach an operator; that one really does is for ``mm notify test``."""

from __future__ import annotations

import os

from mm_pipeline.adapters.channels import channel_of
from mm_pipeline.adapters.home import data_home
from mm_pipeline.cli.doctor_findings import Finding, Findings, Status
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.settings import Settings


def channels(settings: Settings) -> Findings:
    """Whether each channel can be opened, whether any leaves this machine, and whether silence would be noticed."""
    home = data_home(is_paper=settings.is_paper)
    reaching = 0
    for config in settings.channels:
        role = f"{config.kind}{', secondary' if config.is_secondary else ''}"
        try:
            channel_of(config, home, access=settings.channel_access)
        except ConfigError as error:
            yield Finding(f"channel {config.name}", Status.FAIL, f"{role}: {error.problem}", error.mend)
            continue
        reaching += config.kind not in ("console", "file")
        yield Finding(f"channel {config.name}", Status.OK, f"{role}; try it: mm notify test --channel {config.name}")
    if not reaching:
        status = Status.WARN if settings.is_paper else Status.FAIL
        yield Finding("channels", status, "no page leaves this machine", "Add a pushover or apprise channel.")
    yield _heartbeat(settings)


def _heartbeat(settings: Settings) -> Finding:
    variable = settings.heartbeat_url_env
    if os.environ.get(variable):
        return Finding("heartbeat", Status.OK, f"{variable} is set, not shown")
    mend = "Give it a URL of a service that tells you when it was not asked for half an hour."
    status = Status.WARN if settings.is_paper else Status.FAIL
    return Finding("heartbeat", status, f"{variable} is not set: a dead watch is silent", mend)
