"""What a new home begins with."""

from pathlib import Path


def example_files() -> dict[str, str]:
    """Content of each file by its path in the home, settings first."""
    folder = Path(__file__).parent
    kinds = ("grids", "studies")
    files = [folder / "settings.yaml", *(file for kind in kinds for file in sorted((folder / kind).glob("*.yaml")))]
    return {str(file.relative_to(folder)): file.read_text(encoding="utf-8") for file in files}
