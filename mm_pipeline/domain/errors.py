"""The one exception tree. Every message names what was wrong and how to put it right."""

from __future__ import annotations

from typing import Final

from mm_pipeline.domain.plain_text import plain_text


class PipelineError(Exception):
    """Base of every error that an operator can be told about.

    Parameters
    ----------
    problem
        What is wrong, in one sentence, naming the file, key, market or bar.
    hint
        What the operator can do about it, in one sentence.
    """

    def __init__(self, problem: str, hint: str = "") -> None:
        self.problem = plain_text(problem)
        self.hint = plain_text(hint)
        super().__init__(f"{self.problem} {self.hint}".strip())


class ConfigError(PipelineError):
    """A settings, policy or grid file cannot be used."""

    def __init__(self, problem: str, hint: str = "", *, file: str = "", key: str = "") -> None:
        self.file = file
        self.key = key
        place = ": ".join(part for part in (file, key) if part)
        super().__init__(f"{place}: {problem}" if place else problem, hint)


class ExchangeError(PipelineError):
    """Candles of a market could not be had; the market is UNKNOWN once its newest bar is too old.

    ``code`` is a short, stable name of the cause for tables and tests.
    """

    code = "source"
    is_transient = False


class ExchangeUnavailable(ExchangeError):
    """The exchange refused the connection, timed out or answered 5xx."""

    code = "exchange_unavailable"
    is_transient = True


class RateLimited(ExchangeError):
    """The exchange answered 429 or its content network's 1015 page."""

    code = "rate_limited"
    is_transient = True


class MalformedAnswer(ExchangeError):
    """Status 200, but the body is not what the endpoint promises (HTML, ``null``, truncated JSON)."""

    code = "malformed_answer"
    is_transient = True


class DeadlineExceeded(ExchangeError):
    """The wall-clock deadline of the whole fetch passed."""

    code = "deadline_exceeded"


class CircuitOpen(ExchangeError):
    """The exchange failed so often of late that it is left alone for a while."""

    code = "circuit_open"


class UnconfirmedGap(ExchangeError):
    """Bars are missing in the only answer so far; nobody knows yet whether they had trades."""

    code = "unconfirmed_gap"


class MarketNotFound(ExchangeError):
    """The exchange does not list the symbol (misspelt or delisted)."""

    code = "market_not_found"


class KeyRefused(ExchangeError):
    """The exchange refused the API key, its signature, or what it was used for."""

    code = "key_refused"


class ClockSkewed(ExchangeError):
    """This machine's clock and the exchange's differ by more than the limit."""

    code = "clock_skewed"


class ProgramFault(ExchangeError):
    """The program, or the library that it asks through, failed before an answer came."""

    code = "program_fault"


class CandleFileError(ExchangeError):
    """A candle file is missing, unreadable, or has the wrong columns."""

    code = "candle_file"


class AccountError(PipelineError):
    """Fills, orders or balances were read and cannot be used."""


class ConflictingFills(AccountError):
    """One trade id stands for two different executions, or what is told of an order does not fit together."""


class ConflictingFlows(AccountError):
    """One ledger id stands for two different flows."""


class UnknownFeeRate(AccountError):
    """A fee was paid in a currency whose price is not known."""


class FillsFileError(AccountError):
    """A file of fills cannot be imported; every row that is at fault is named, and told one by one in ``rows``."""

    def __init__(self, problem: str, hint: str = "", *, rows: tuple[str, ...] = ()) -> None:
        self.rows = rows
        super().__init__(problem, hint)


class ArchiveError(PipelineError):
    """The evaluation archive could not be written or pushed; evaluations are as good as without it."""


class ContractError(PipelineError):
    """A frame breaks its contract; it was not written."""


class StorageError(PipelineError):
    """Frames or journal cannot be read or written."""


class FrameMissing(StorageError):
    """No month of a range is stored."""


class FrameDamaged(FrameMissing):
    """A stored frame is not what was written: flipped, cut, emptied, or under another's name."""

    code = "frame_damaged"


class FrameUnreadable(StorageError):
    """A stored frame is there and cannot be read: the disk fails, or a folder stands where its file should.

    It is no missing frame: what it holds may come back, so that nothing is written in its place.
    """

    code = "frame_unreadable"


NOT_READ: Final = (FrameMissing, FrameUnreadable)
"""Why an input cannot be had. What was made of it before stays as it is stored."""


class CandlesLost(ExchangeError):
    """Stored candles were damaged or deleted, and could not be had again yet."""

    code = "candles_lost"
