"""Keeps the requirements files and pyproject.toml together: ``sign`` after a change of locks, ``check`` in CI.

Each file begins with a digest of what it was made from, so the check needs no network and a new upload of an old
version does not fail it. A line that names a registry or an address is refused: where to install from is the machine's
own affair.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("requirements-bootstrap.txt", "requirements.txt", "requirements-dev.txt", "requirements-bench.txt")
_PINNED = re.compile(r"[a-z0-9-]+(\[[a-z0-9,-]+\])?==\S+( ; .+)? \\")
_HASH = re.compile(r" {4}--hash=sha256:[0-9a-f]{64}( \\)?")


def signature(pyproject: Path) -> str:
    """The first line of a lock made from this pyproject.toml."""
    content = tomllib.loads(pyproject.read_text())
    project = content["project"]
    sources = [
        project["requires-python"],
        project["dependencies"],
        project["optional-dependencies"],
        content["dependency-groups"],
        content["build-system"]["requires"],
    ]
    return f"# made by `make lock` from dependencies {hashlib.sha256(json.dumps(sources).encode()).hexdigest()}"


def complaints(lock: Path, expected: str) -> list[str]:
    """What is wrong with a lock, one sentence each; empty when it may be installed."""
    first, *lines = lock.read_text().splitlines()
    stale = [] if first == expected else [f"{lock.name} was not made from this pyproject.toml; run `make lock`."]
    foreign = [line for line in lines if not (_PINNED.fullmatch(line) or _HASH.fullmatch(line))]
    return stale + [f"{lock.name} has a line that is neither a pin nor a hash: {line}" for line in foreign[:3]]


def main(task: str) -> int:
    """Sign the locks, or check them; the exit code is 1 when one cannot be used."""
    expected = signature(ROOT / "pyproject.toml")
    if task == "sign":
        for lock in (ROOT / name for name in LOCKS):
            lines = [line for line in lock.read_text().splitlines() if not line.startswith("#")]
            lock.write_text("\n".join([expected, *lines]) + "\n")
        return 0
    found = [complaint for name in LOCKS for complaint in complaints(ROOT / name, expected)]
    print("\n".join(found) or f"{len(LOCKS)} requirements files match pyproject.toml")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
