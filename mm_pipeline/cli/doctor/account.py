"""What ``mm doctor`` sees of the exchange's account: whether there is a key, and that it may only read."""

from __future__ import annotations

from mm_pipeline.cli.account_access import open_account
from mm_pipeline.cli.doctor.findings import Finding, Findings, Status
from mm_pipeline.domain.errors import ExchangeError
from mm_pipeline.settings import Settings


def account(settings: Settings) -> Findings:
    """Ask the exchange about the key; a key that may trade or withdraw is refused by a ``ConfigError``."""
    reader = open_account(settings)
    if reader is None:
        seen = "no key is in the environment: positions are modelled, or imported (mm import-fills)"
        yield Finding("account", Status.OK, seen)
        return
    try:
        key = reader.check_key()
    except ExchangeError as error:
        yield Finding("account", Status.FAIL, error.problem, error.hint)
        return
    yield Finding("account", Status.OK, f"{key.account}, may: {', '.join(sorted(key.permissions))}")
