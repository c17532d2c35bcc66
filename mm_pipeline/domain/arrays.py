"""Names of the numpy arrays that the domain computes with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]

Times = Integers
"""UTC epoch milliseconds."""
Codes = Integers
"""Positions in an ordered list of names."""
