"""Templates of the page: every value is escaped, a name that a template lacks is an error, and nothing is inline."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from mm_pipeline.reporting.price_words import price_text

STATIC: Final = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
"""Files that pages ask for, and their types."""


def page_html(name: str, **values: Any) -> str:
    """A template with its values."""
    return _environment().get_template(f"{name}.html").render(values)


@cache
def static_file(name: str) -> bytes:
    """Content of one of ``STATIC``."""
    return (files(__package__) / "static" / name).read_bytes()


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("mm_pipeline.rendering.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["price"] = price_text
    return made
