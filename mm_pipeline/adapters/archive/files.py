"""What a file of the archive is called and holds: one evaluation, one hour of a symbol, or one declaration."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import yaml

RECORDED = " recorded"
"""End of a mark's name that tells when, and not up to when."""
FORMAT = 1
"""Version of the files' layout; the first key of each. Files from before it have none, and no checksum."""
OWN_KEYS = frozenset({"format", "checksum"})
"""Keys of the archive itself, beside what is archived."""
_CHECKSUM = "checksum: "
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""libyaml's, where it is there: four times as fast."""


def exit_path(grid: str, evaluated_at: datetime) -> str:
    """``exit_states/2025/03/20/1215_eth.yaml``."""
    return f"exit_states/{evaluated_at:%Y/%m/%d/%H%M}_{grid}.yaml"


def entry_path(grid: str, evaluated_at: datetime) -> str:
    """``entry_states/2025/03/20/1215_eth.yaml``: of a disabled grid."""
    return f"entry_states/{evaluated_at:%Y/%m/%d/%H%M}_{grid}.yaml"


def metrics_path(symbol: str, close_time: datetime) -> str:
    """``metrics/2025/03/20/12_ETH-USDT.yaml``: of the hour that closed then, on every exchange."""
    return f"metrics/{close_time:%Y/%m/%d/%H}_{symbol.replace('/', '-')}.yaml"


def grid_path(grid: str, version_hash: str) -> str:
    """``grids/eth/0123456789abcdef.yaml``: the declaration that evaluations name."""
    return f"grids/{grid}/{version_hash}.yaml"


def as_yaml(content: Mapping[str, Any]) -> str:
    """YAML text with its format first and its checksum last, without what is null; floats and instants read back are
    the same.
    """
    kept = {"format": FORMAT} | {name: value for name, value in content.items() if name not in OWN_KEYS}
    text = str(yaml.dump(_without_null(kept), Dumper=_DUMPER, sort_keys=False, width=120))
    return f"{text}{_CHECKSUM}{checksum_of(text)}\n"


def checksum_of(text: str) -> str:
    """First 16 hex digits of the SHA-256 of a file's text before its last line, with a letter before them."""
    return f"x{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def has_its_checksum(text: str) -> bool:
    """Whether the last line is the checksum of what stands before it."""
    before, _, last = text.rpartition(_CHECKSUM)
    return last == f"{checksum_of(before)}\n"


def _without_null(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_null(one) for name, one in value.items() if one is not None}
    if isinstance(value, list | tuple):
        return [_without_null(one) for one in value]
    return value
