"""The code location that ``workspace.yaml`` and ``dg`` load."""

import dagster as dg

from mm_pipeline.adapters.config.home import keep_private, mm_home
from mm_pipeline.orchestration.code_location import build_definitions


@dg.definitions
def defs() -> dg.Definitions:
    """Built when it is asked for, so that importing this module reads no settings."""
    keep_private(mm_home())  # daemon, code server and run workers started by plain Dagster commands too
    return build_definitions()
