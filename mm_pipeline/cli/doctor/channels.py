"""What ``mm doctor`` sees of the ways to reach an operator; that one really does is for ``mm notify test``."""

from __future__ import annotations

import os

from mm_pipeline.adapters.channels import channel_of
from mm_pipeline.adapters.config.home import JOURNAL_VARIABLE, data_home, journal_file
from mm_pipeline.cli.doctor.findings import Finding, Findings, Status
from mm_pipeline.domain.errors import ConfigError, PipelineError
from mm_pipeline.settings import Settings


def channels(settings: Settings) -> Findings:
    """Whether each channel can be opened, whether any leaves this machine, and whether silence would be noticed."""
    home = data_home(is_paper=settings.is_paper)
    reaching, failing = 0, _failing(settings)
    for config in settings.channels:
        role = f"{config.kind}{', secondary' if config.is_secondary else ''}"
        try:
            channel_of(config, home, access=settings.channel_access)
        except ConfigError as error:
            yield Finding(f"channel {config.name}", Status.FAIL, f"{role}: {error.problem}", error.hint)
            continue
        reaching += config.reaches_a_person
        if config.name in failing:
            problem = f"{role}: its last page did not get through: {failing[config.name]}"
            yield Finding(f"channel {config.name}", Status.FAIL, problem, f"mm notify test --channel {config.name}")
            continue
        yield Finding(f"channel {config.name}", Status.OK, f"{role}; try it: mm notify test --channel {config.name}")
    if not reaching:
        status = Status.WARN if settings.is_paper else Status.FAIL
        yield Finding("channels", status, "no page leaves this machine", "Add a pushover or apprise channel.")
    yield _heartbeat(settings)


def _failing(settings: Settings) -> dict[str, str]:
    """Why each channel that should reach a person does not, as far as the journal tells; nothing without a journal."""
    from mm_pipeline.adapters.journal import Journal, sqlite_url
    from mm_pipeline.cli.delivery_access import delivery_for

    file = journal_file(data_home(is_paper=settings.is_paper))
    url = os.environ.get(JOURNAL_VARIABLE) or (sqlite_url(file) if file.is_file() else "")
    if not url:
        return {}
    try:
        with Journal(url) as journal:
            return delivery_for(settings, journal).health.failing()
    except PipelineError:  # the journal has a finding of its own
        return {}


def _heartbeat(settings: Settings) -> Finding:
    variable = settings.heartbeat_url_env
    if os.environ.get(variable):
        return Finding("heartbeat", Status.OK, f"{variable} is set, not shown")
    hint = "Give it a URL of a service that tells you when it was not asked for half an hour."
    status = Status.WARN if settings.is_paper else Status.FAIL
    return Finding("heartbeat", status, f"{variable} is not set: a dead watch is silent", hint)
