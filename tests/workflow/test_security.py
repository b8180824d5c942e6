"""A stranger's config through the real workflow: names are names, never commands."""

from __future__ import annotations

import pytest
from harness import TINY, Run

pytestmark = pytest.mark.workflow


def test_a_results_folder_whose_name_is_a_command_is_a_folder(fresh: Run) -> None:
    results = "it's $(touch ran1); touch ran2 & `touch ran3`"
    point = TINY["studies"]["point"] | {"grid": {"width": 16, "depth": 4}}
    fresh.configure({"results": results, "title": "$(touch ran4)", "studies": {"point": point}})
    fresh.make(f"{results}/point/tables/moments.csv")
    assert sorted(path.name for path in fresh.folder.iterdir()) == [".snakemake", results, "tiny.yaml"]
    assert {path.name for path in (fresh.folder / results).iterdir()} <= {".jax_cache", "config.yaml", "point"}


def test_a_results_folder_whose_name_is_an_option_is_refused(fresh: Run) -> None:
    for results in ("-out", "--config=x"):
        said = fresh.configure({"results": results, "studies": {"point": TINY["studies"]["point"]}}).fail()
        assert (
            f"results: must be the path of a folder that does not begin with - (./-name does not); it was '{results}'"
            in said
        )
        assert [path.name for path in fresh.folder.iterdir() if path.name != ".snakemake"] == ["tiny.yaml"]


def test_a_config_that_is_a_template_is_refused_before_it_runs(fresh: Run) -> None:
    """Snakemake's ``--configfile`` runs what ``__use_yte__`` asks for; `plan`, which make runs first, never does."""
    fresh.configure("__use_yte__: true\n?__import__('os').mkdir('ran'): 1\n")
    told = fresh.ntkpipe("plan", "--config", "tiny.yaml")
    assert told.returncode == 2 and told.stdout.startswith("ntkpipe: error: tiny.yaml"), told.stdout
    assert not (fresh.folder / "ran").exists()
