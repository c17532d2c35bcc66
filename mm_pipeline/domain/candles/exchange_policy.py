"""How an exchange is asked: settings key ``exchange_access``."""

from __future__ import annotations

from datetime import timedelta

from mm_pipeline.domain.policy import Duration, Policy, threshold

_ZERO = timedelta(0)


class ExchangePolicy(Policy):
    """Limits on what is asked of one exchange, how long it may take, and when it is left alone."""

    max_page_bars: int = threshold(
        unit="bars per request",
        source="KuCoin's limit; an exchange with a smaller one is asked for less",
        ge=2,
        le=1500,
    )
    bars_per_fetch: int = threshold(
        unit="bars",
        source="20 pages of KuCoin, well inside `deadline`; a longer history is fetched in parts",
        ge=2,
        le=1_000_000,
    )
    reask_bars: int = threshold(
        unit="bars",
        source="one day: fits into the page that a tick asks for anyway, so it costs no call",
        ge=0,
        le=1500,
    )
    quiet_after: Duration = threshold(
        unit="duration",
        source="two thirds of the time between two ticks: the next tick asks the second time, and an answer from a "
        "cache or a replica that lags has healed by then",
        ge=_ZERO,
        le=timedelta(days=1),
    )
    confirm_revision: int = threshold(
        unit="answers in a row",
        source="half an hour of ticks; what a bar's low or high was may have breached a stop",
        ge=1,
        le=96,
    )
    cover_requests: int = threshold(
        unit="requests per market, timeframe (5m, then 1m) and update; 0 asks for none",
        source="one brings the holes of five days at 5m, of one day at 1m; the other is for older ones in turn",
        ge=0,
        le=20,
    )
    requests_per_s: float = threshold(
        unit="requests per second",
        source="at weight 3 a quarter of KuCoin's public pool of 2000 per 30 s, which the whole address shares",
        gt=0.0,
        le=100.0,
    )
    burst_requests: int = threshold(unit="requests", source="two seconds' worth of requests_per_s", ge=1, le=1000)
    request_timeout: Duration = threshold(
        unit="duration between two reads", source="ccxt's own default", gt=_ZERO, le=timedelta(minutes=5)
    )
    deadline: Duration = threshold(
        unit="duration of one fetch",
        source="a fifteenth of the time between two ticks",
        gt=_ZERO,
        le=timedelta(hours=1),
    )
    attempts: int = threshold(unit="attempts per request", source="three repetitions inside `deadline`", ge=1, le=20)
    backoff_initial: Duration = threshold(
        unit="duration", source="doubles each time: 1, 2, 4 s and jitter", ge=_ZERO, le=timedelta(minutes=1)
    )
    backoff_max: Duration = threshold(
        unit="duration", source="a sixth of `deadline`", ge=_ZERO, le=timedelta(minutes=5)
    )
    backoff_jitter: Duration = threshold(
        unit="duration",
        source="as long as backoff_initial, so that two daemons drift apart",
        ge=_ZERO,
        le=timedelta(minutes=1),
    )
    breaker_failures: int = threshold(
        unit="failed fetches in a row",
        source="one market may fail by chance, three in a row are the exchange",
        ge=1,
        le=100,
    )
    breaker_cool_down: Duration = threshold(
        unit="duration",
        source="a third of the time between two ticks: the next tick tries once",
        gt=_ZERO,
        le=timedelta(hours=1),
    )
    max_clock_offset: Duration = threshold(
        unit="duration",
        source="half of the minute between a bar's close and its tick",
        gt=_ZERO,
        le=timedelta(minutes=10),
    )
    clock_check_interval: Duration = threshold(unit="duration", source="once per tick", gt=_ZERO, le=timedelta(hours=1))
