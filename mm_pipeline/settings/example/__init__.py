"""What a new home begins with."""

from pathlib import Path


def example_files() -> dict[str, str]:
    """Content of each file by its path in the home, settings first."""
    folder = Path(__file__).parent
    files = [folder / "settings.yaml", *sorted((folder / "grids").glob("*.yaml"))]
    return {str(file.relative_to(folder)): file.read_text(encoding="utf-8") for file in files}
