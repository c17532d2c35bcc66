"""Work for each market or grid, so that a fault of one stops no other."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from mm_pipeline.domain.errors import ContractError, PipelineError
from mm_pipeline.domain.market import Market

CONTRACT: Final = "contract"

COMPUTATION = "computation"
"""Code of a problem that is a fault of the program."""

T = TypeVar("T")
K = TypeVar("K")


@dataclass
class Outcome(Generic[K, T]):
    """What a stage made of each market or grid, and of which it made nothing, with the reason."""

    made: dict[K, T] = field(default_factory=dict)
    problems: dict[K, PipelineError] = field(default_factory=dict)


def isolated(keys: Iterable[K], work: Callable[[K], T], log: logging.Logger) -> Outcome[K, T]:
    """Do the work for each key; whatever goes wrong with one is told, and stops no other."""
    outcome: Outcome[K, T] = Outcome()
    for key in keys:
        try:
            outcome.made[key] = work(key)
        except PipelineError as error:
            outcome.problems[key] = error
        except Exception as error:
            log.exception(f"{key}: {error}")
            told = f"{type(error).__name__} while computing {key}: {error}"
            outcome.problems[key] = PipelineError(told, "This is a fault of the program; the run's log has its trace.")
    for key, problem in outcome.problems.items():
        log.warning(f"{key}: {problem}")
    return outcome


def code_of(problem: PipelineError) -> str:
    """The stable name of a problem's cause."""
    if isinstance(problem, ContractError):
        return CONTRACT
    return str(getattr(problem, "code", COMPUTATION))


def by_name(problems: Mapping[Market, PipelineError]) -> dict[str, PipelineError]:
    """Problems by the market's name as the journal has it."""
    return {str(market): problem for market, problem in problems.items()}
