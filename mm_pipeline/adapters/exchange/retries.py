"""The one layer that repeats a request: capped, jittered, inside the deadline and as the exchange's rate limit says."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Generic, TypeVar

from mm_pipeline.adapters.exchange.client import ExchangeClient
from mm_pipeline.adapters.exchange.deadline import Deadline
from mm_pipeline.adapters.exchange.errors import as_source_error
from mm_pipeline.domain.candles import ExchangePolicy
from mm_pipeline.domain.errors import ExchangeError, RateLimited

C = TypeVar("C", bound=ExchangeClient)
T = TypeVar("T")
_logger = logging.getLogger(__name__)


class Asking(Generic[C]):
    """Questions to one exchange within one deadline.

    Parameters
    ----------
    client
        Whom to ask.
    exchange
        Its name, for messages.
    policy
        Backoff.
    attempts
        How often each question may be put.
    deadline
        When to stop.
    """

    def __init__(self, client: C, *, exchange: str, policy: ExchangePolicy, attempts: int, deadline: Deadline) -> None:
        self.client = client
        self._exchange = exchange
        self._policy = policy
        self._attempts = attempts
        self._deadline = deadline

    @property
    def remaining_s(self) -> float:
        """Seconds until the deadline, not below 0."""
        return self._deadline.remaining_s

    def ask(self, task: str, question: Callable[[], T]) -> T:
        """Put a question until it is answered, refused for good, or the attempts are used up.

        Parameters
        ----------
        task
            What is asked for, for messages: ``candles of ETH/USDT``.

        Raises
        ------
        CandleSourceError
            The last attempt's cause.
        """
        import stamina

        # Its own hooks print to standard output where structlog is installed: tables and JSON go there.
        stamina.instrumentation.set_on_retry_hooks([])
        policy = self._policy
        for attempt in stamina.retry_context(
            on=self._pause,
            attempts=self._attempts,
            timeout=None,
            wait_initial=policy.backoff_initial,
            wait_max=policy.backoff_max,
            wait_jitter=policy.backoff_jitter,
        ):
            with attempt:
                return self._put(task, question)
        raise AssertionError("stamina ends by an answer or an error")

    def _put(self, task: str, question: Callable[[], T]) -> T:
        self.client.forget_answer()
        try:
            return question()
        except Exception as error:
            problem = as_source_error(error, exchange=self._exchange, task=task, answer=self.client.last_answer)
            self._deadline.last_problem = problem
            raise problem from error

    def _pause(self, error: Exception) -> bool | float:
        """Whether to repeat, and after how many seconds where the exchange says so."""
        if not (isinstance(error, ExchangeError) and error.is_transient):
            return False
        _logger.info("%s (%s)", error.problem, error.code)
        rest_s = self.client.last_answer.rest_s if isinstance(error, RateLimited) else 0.0
        if rest_s == 0.0:
            return self._deadline.remaining_s > 0.0
        jitter_s = random.uniform(0.0, self._policy.backoff_jitter.total_seconds())  # noqa: S311 - not a secret
        return rest_s + jitter_s if rest_s + jitter_s < self._deadline.remaining_s else False
