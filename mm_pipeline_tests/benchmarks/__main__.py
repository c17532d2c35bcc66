"""`make bench`: runs every `bench_*.py` of this folder, each of which prints a ratio to a named peer.

`python -m mm_pipeline_tests.benchmarks NAME ...` runs those whose name holds one of the words.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def main(words: list[str]) -> int:
    """Run the benchmarks asked for, in order; the exit code is 1 when there is none."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("bench_*.py"))
    chosen = [name for name in names if not words or any(word in name for word in words)]
    if not chosen:
        print(f"no benchmark is called so; there are: {', '.join(names) or 'none yet'}")
        return 1
    for name in chosen:
        print(f"\n{name}", flush=True)
        importlib.import_module(f"{__package__}.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
