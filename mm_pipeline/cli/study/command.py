"""``mm study``: what the pipeline's answers are worth, measured."""

from __future__ import annotations

import click

from mm_pipeline.cli.lazy_group import LazyGroup

STUDIES = {
    "verdicts": "mm_pipeline.cli.study.verdicts:verdicts",
    "volatility": "mm_pipeline.cli.study.volatility:volatility",
    "giveback": "mm_pipeline.cli.study.giveback:giveback",
    "stops": "mm_pipeline.cli.study.stops:stops",
    "regimes": "mm_pipeline.cli.study.regimes:regimes",
    "policies": "mm_pipeline.cli.study.policies:policies",
    "pages": "mm_pipeline.cli.study.pages:pages",
    "grids": "mm_pipeline.cli.study.grids:grids",
    "outcomes": "mm_pipeline.cli.study.outcomes:outcomes",
}


@click.group(cls=LazyGroup, commands_at=STUDIES)
def study() -> None:
    """Measure how good verdicts and forecasts are, and how often pages come."""
