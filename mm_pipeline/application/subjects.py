"""What an incident is about, where that is no market."""

GRID_FILE = "grid_file"
"""Code of a notice about a grid's file."""
GRID_START = "grid_start"
"""Code of a notice about a grid that starts in the future."""
PIPELINE = "pipeline"
"""Subject of notices about the watch itself."""


def grid_subject(grid_id: str) -> str:
    """How a notice names a grid, where others name a market."""
    return f"grid:{grid_id}"
