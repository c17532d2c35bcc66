"""The page about study grids says what the code has: every column and key, and an example that loads."""

from pathlib import Path

import pytest

from mm_pipeline.adapters.config.strict_yaml import parse_mapping
from mm_pipeline.application.study_grids.export import EXPORT_COLUMNS
from mm_pipeline.domain.study import GridTemplate, StudyDeclaration

PAGE = Path(__file__).parents[2] / "docs" / "studies" / "study-grids.md"


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_page_lists_every_column_with_its_unit_and_words(page: str) -> None:
    listed = [
        line for line in page.split("### Columns")[1].split("##", maxsplit=1)[0].splitlines() if line.startswith("| `")
    ]
    assert listed == [f"| `{name}` | {column.unit} | {column.says} |" for name, column in EXPORT_COLUMNS.items()]


def test_page_explains_every_key_of_a_study_file(page: str) -> None:
    explained = page.split("| key | says |")[1].split("\n\n", maxsplit=1)[0]
    keys = {*StudyDeclaration.model_fields, *GridTemplate.model_fields} - {"template"}
    assert {key for key in keys if f"`{key}`" not in explained} == set()


def test_example_of_the_page_is_a_study(page: str) -> None:
    example = page.split("```yaml\n")[1].split("```", maxsplit=1)[0]
    study = StudyDeclaration.model_validate(parse_mapping(example, file=PAGE.name))
    assert study.policies == ("seed", "calibrated")
