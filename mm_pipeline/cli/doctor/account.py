"""What ``mm doctor`` sees of the exchange's account: its key, and whether the settings look where it trades."""

from __future__ import annotations

from collections.abc import Sequence

from mm_pipeline.application.opening.accounts import READABLE
from mm_pipeline.cli.account_access import open_account
from mm_pipeline.cli.doctor.findings import Finding, Findings, Status
from mm_pipeline.domain.errors import ExchangeError
from mm_pipeline.domain.grid import Grid
from mm_pipeline.settings import Settings


def account(settings: Settings, grids: Sequence[Grid] = ()) -> Findings:
    """Ask the exchange about the key, and about the symbols of grids through both order APIs.

    A key that may trade or withdraw is refused by a ``ConfigError``.
    """
    reader = open_account(settings)
    if reader is None:
        seen = "no key is in the environment: positions are modelled, or imported (mm import-fills)"
        yield Finding("account", Status.OK, seen)
        return
    symbols = sorted({grid.symbol for grid in grids if grid.exchange in READABLE})
    try:
        key = reader.check_key()
        state = reader.look(symbols)
    except ExchangeError as error:
        yield Finding("account", Status.FAIL, error.problem, error.hint)
        return
    yield Finding("account", Status.OK, f"{key.account}, may: {', '.join(sorted(key.permissions))}")
    for problem in state.problems(settings.account.order_api):
        status = Status.FAIL if problem.is_certain else Status.WARN
        yield Finding("account orders", status, problem.seen, problem.hint)
