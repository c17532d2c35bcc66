"""``python -m mm_pipeline_tests.selections_process``: what a code server answers to each selection of assets.

Prints a line for each selection that Dagster refuses. The order in which Python walks a set differs from process to
process, so one of them proves nothing about another.
"""

from __future__ import annotations

from itertools import combinations

import dagster as dg

from mm_pipeline.bootstrap import Overrides
from mm_pipeline.orchestration.code_location import build_definitions


def refusals() -> list[str]:
    """Single assets, pairs, groups and all of them, each with its checks, as the UI's dialog asks for them."""
    repository = build_definitions(Overrides()).get_repository_def()
    graph = repository.asset_graph
    assets = sorted(graph.materializable_asset_keys)
    groups = {graph.get(key).group_name for key in assets}
    chosen = [
        *([key] for key in assets),
        *combinations(assets, 2),
        *([key for key in assets if graph.get(key).group_name == group] for group in sorted(groups)),
        assets,
    ]
    found = []
    for keys in chosen:
        checks = {check for check in graph.asset_check_keys if check.asset_key in keys}
        try:
            job = repository.get_job(repository.get_implicit_job_def_for_assets(keys).name)
            job.get_subset(asset_selection=set(keys), asset_check_selection=checks)
        except dg.DagsterInvalidSubsetError as error:
            found.append(f"{[key.to_user_string() for key in keys]}: {error}")
    return found


if __name__ == "__main__":
    for refusal in refusals():
        print(refusal)
