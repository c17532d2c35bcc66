"""Compiles a loop with numba. What the loops compute does not belong here.

No fast-math, so no operation is reordered: a loop gives the same bits as the same function run as Python.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")


def compiled(loop: Callable[P, R]) -> Callable[P, R]:
    """The loop as machine code, kept on disk for the next process; threads may run it side by side.

    Importing numba costs a third of a second, so a loop is compiled when it is first run, not when its module is
    imported; loops that call each other are compiled together, in a module that is imported where it is first run.
    """
    return cast("Callable[P, R]", _compiled(loop))


@cache
def _compiled(loop: Callable[..., Any]) -> Any:
    numba: Any = import_module("numba")
    try:
        return numba.njit(cache=True, nogil=True)(loop)
    except RuntimeError:
        # No folder can be written (a read-only container): compiled anew in each process.
        return numba.njit(nogil=True)(loop)
