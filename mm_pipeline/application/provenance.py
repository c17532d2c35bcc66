"""Which code decided a state."""

from functools import cache
from hashlib import sha256
from pathlib import Path

import mm_pipeline


@cache
def code_version() -> str:
    """Version, and the first 8 hex digits of the SHA-256 of the code that decides a state."""
    files = sorted((Path(mm_pipeline.__file__).parent / "domain").glob("**/*.py"))
    digest = sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return f"{mm_pipeline.__version__}+{digest[:8]}"
