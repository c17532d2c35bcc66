"""What ccxt raises, in our words: one error of the tree for each cause an operator can act on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mm_pipeline.domain.errors import (
    ExchangeError,
    ExchangeUnavailable,
    MalformedAnswer,
    MarketNotFound,
    ProgramFault,
    RateLimited,
)

_CDN_LIMIT = re.compile(r"\b1015\b.*rate limited|rate limited.*\b1015\b", re.IGNORECASE | re.DOTALL)
_KUCOIN_RESET = "gw-ratelimit-reset"  # milliseconds left in the window of 30 s
_KUCOIN_REMAINING = "gw-ratelimit-remaining"
_NO_SYMBOL = re.compile(r"pair is not provided|symbol not exists|invalid symbol", re.IGNORECASE)  # KuCoin says 400100
_QUOTED_CHARACTERS = 200


@dataclass(frozen=True)
class LastAnswer:
    """What came back over HTTP before ccxt read it: ``status`` None where nothing did, header names in lower case."""

    status: int | None = None
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def rest_s(self) -> float:
        """Seconds for which a rate-limited client is asked to wait; 0 where the exchange does not say.

        KuCoin sends its reset with every answer; it concerns us only when our quota is used up, and not where the same
        code means that the exchange is overloaded.
        """
        try:
            if _KUCOIN_RESET in self.headers and self.headers.get(_KUCOIN_REMAINING, "0") == "0":
                return max(0.0, float(self.headers[_KUCOIN_RESET]) / 1000)
            return max(0.0, float(self.headers.get("retry-after", 0)))
        except ValueError:
            return 0.0

    @property
    def quoted(self) -> str:
        """Status and beginning of the body on one line."""
        text = " ".join(self.body.split())
        cut = text[:_QUOTED_CHARACTERS] + ("..." if len(text) > _QUOTED_CHARACTERS else "")
        return f"status {self.status}, body {cut!r}"


def as_source_error(error: Exception, *, exchange: str, task: str, answer: LastAnswer) -> ExchangeError:
    """Name the cause of a failed call.

    Parameters
    ----------
    error
        Whatever ccxt raised; anything that is not one of its own errors means that it could not read the answer.
    exchange, task
        Whom we asked for what ("candles of ETH/USDT"), for the message.
    answer
        The HTTP answer behind it.
    """
    import ccxt

    if isinstance(error, ExchangeError):
        return error
    who = f"{exchange} was asked for {task} and"
    if _is_rate_limit(error, answer):
        return RateLimited(f"{who} limits our requests ({answer.quoted}).", "It is asked again once its limit resets.")
    if isinstance(error, ccxt.BadSymbol) or (isinstance(error, ccxt.BadRequest) and _NO_SYMBOL.search(answer.body)):
        return MarketNotFound(f"{who} does not know the symbol: {error}", "Check the symbol; it may be delisted.")
    if isinstance(error, ccxt.BadResponse) or not isinstance(error, ccxt.BaseError | OSError):
        return _unreadable(error, who, answer)
    if isinstance(error, ccxt.NetworkError | OSError) or (answer.status or 0) >= 500:
        came = answer.quoted if answer.status else f"{type(error).__name__}, {_root(error)}"
        return ExchangeUnavailable(
            f"{who} could not be reached or answered an error ({came}).",
            "Check the network and the exchange's status page.",
        )
    return ExchangeError(f"{who} refused ({type(error).__name__}: {error}).", "Read its message and remove the cause.")


def _unreadable(error: Exception, who: str, answer: LastAnswer) -> ExchangeError:
    """An answer in another form than its reader expects; or, without an answer, a fault of the program."""
    cause = f"{type(error).__name__}: {error}"
    if answer.status is None:
        return ProgramFault(
            f"{who} the program failed before any answer came ({cause}).",
            "This is a fault of the program or of ccxt, not of the exchange; report it with this message.",
        )
    return MalformedAnswer(
        f"{who} answered with something else ({answer.quoted}; {cause}).",
        "Usually maintenance or a proxy in between: look at the exchange's status page. "
        "If all is well there, it is a fault of the program or of ccxt; report it with this message.",
    )


def _is_rate_limit(error: Exception, answer: LastAnswer) -> bool:
    import ccxt

    is_said = isinstance(error, ccxt.RateLimitExceeded | ccxt.DDoSProtection)
    return is_said or answer.status == 429 or _CDN_LIMIT.search(answer.body) is not None


def _root(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    told = str(error)
    if "Max retries" in told:  # urllib3 quotes itself twice over; its innermost cause is what can be acted on
        told = told.rsplit(": ", 1)[-1].rstrip(")\"'")
    return f"{type(error).__name__}: {told}"
