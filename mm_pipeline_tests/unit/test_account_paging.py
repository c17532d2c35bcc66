"""Windows of a long question: what was read is not asked for again, and nothing of the future counts as read."""

from __future__ import annotations

import pytest

from mm_pipeline.adapters.account.paging import windows
from mm_pipeline.domain.account import ReadSpan


@pytest.mark.parametrize(
    ("known", "asked", "known_after"),
    [
        (None, [(0, 70), (70, 100)], ReadSpan(0, 100)),
        (ReadSpan(0, 90), [(80, 100)], ReadSpan(0, 100)),
        (ReadSpan(50, 90), [(0, 50), (80, 100)], ReadSpan(0, 100)),
        (ReadSpan(0, 100), [(90, 100)], ReadSpan(0, 100)),
        # By a clock that was ahead: all that it claims of the future is asked for when it comes.
        (ReadSpan(0, 5000), [(90, 100)], ReadSpan(0, 100)),
        (ReadSpan(4000, 5000), [(30, 100), (0, 30), (90, 100)], ReadSpan(0, 100)),
    ],
)
def test_windows_cover_what_is_not_known(
    known: ReadSpan | None, asked: list[tuple[int, int]], known_after: ReadSpan
) -> None:
    found = list(windows(known, 0, 100, length_ms=70, overlap_ms=10))
    assert [tuple(window) for window, _ in found] == asked
    assert found[-1][1] == known_after
