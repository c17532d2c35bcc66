"""What a fee in any coin is worth in the quote: by its own pair, the reverse, or over a currency that both share."""

from __future__ import annotations

import pytest

from mm_pipeline.domain.account.rates import rates_in

LAST = {"KCS/USDT": 10.0, "ETH/USDT": 3000.0, "USDT/EUR": 0.9, "ETH/BTC": 0.05, "DOGE/BTC": 2e-6, "BTC/USDT": 60_000.0}


@pytest.mark.parametrize(
    ("quote", "currency", "rate"),
    [
        ("USDT", "KCS", 10.0),
        ("EUR", "KCS", 9.0),
        ("USDT", "EUR", 1 / 0.9),
        ("BTC", "USDT", 1 / 60_000),
        ("BTC", "KCS", 10 / 60_000),
        ("USDT", "DOGE", 0.12),
    ],
)
def test_rate_is_that_of_the_shortest_way(quote: str, currency: str, rate: float) -> None:
    assert rates_in(quote, LAST)[currency] == pytest.approx(rate)


def test_own_pair_counts_before_a_way_around_and_what_has_none_is_left_out() -> None:
    assert rates_in("EUR", LAST | {"KCS/EUR": 8.5})["KCS"] == 8.5
    assert "XYZ" not in rates_in("EUR", LAST | {"XYZ/TRY": 3.0})
