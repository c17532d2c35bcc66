"""How hard the long searches of the suite try.

``MM_TEST_EFFORT=10 make test`` makes ten times as many examples, cut points and ticks as the suite of every day. Above
1, state machines and properties that use it draw new examples at each run instead of the same ones.
"""

from __future__ import annotations

import os
from typing import Final

import pytest

EFFORT: Final = float(os.environ.get("MM_TEST_EFFORT", "1"))
IS_SEARCH: Final = EFFORT > 1
"""Whether examples are drawn anew; the suite of every day repeats the same ones."""


SEARCHED: Final = pytest.mark.skipif(not IS_SEARCH, reason="a variant of a dear test: with MM_TEST_EFFORT above 1")
"""Marks what a cheaper test beside it shows every day."""


def tries(count: int) -> int:
    """How many tries a test makes that makes ``count`` of them every day."""
    return max(1, round(count * EFFORT))
