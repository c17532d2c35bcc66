"""Compiles a loop with numba where it is installed; where not, the same function runs as Python, slower.

Both give the same bits: no fast-math, so no operation is reordered.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")


@cache
def is_compiled() -> bool:
    """Whether numba is there."""
    return find_spec("numba") is not None


def compiled(loop: Callable[P, R]) -> Callable[P, R]:
    """The loop as machine code, kept on disk for the next process; the loop itself without numba.

    Importing numba costs a quarter of a second, so a loop is compiled when it is first run, not when it is imported.
    """
    return cast("Callable[P, R]", _compiled(loop)) if is_compiled() else loop


@cache
def _compiled(loop: Callable[..., Any]) -> Any:
    numba: Any = import_module("numba")
    try:
        return numba.njit(cache=True)(loop)
    except RuntimeError:
        # No folder can be written (a read-only container): compiled anew in each process.
        return numba.njit(loop)
