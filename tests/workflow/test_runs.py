"""The workflow as its users run it: whole, again, changed, killed, damaged, misconfigured."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import shutil
import subprocess
import time
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from harness import BIN, REPO, TINY, Run, flip_a_byte, hashes, kill_tree

import ntkpipe
from ntkpipe import config as configuration
from ntkpipe import plan as planning
from ntkpipe import shards
from ntkpipe.drawing import block_size
from ntkpipe.errors import DamagedFile

pytestmark = pytest.mark.workflow

TABLES = {
    "point": ("moments", "fits"),
    "gram": ("moments", "fits", "gram"),
    "step": ("first_step", "scaling", "fits"),
}
DATASETS = {study: ("samples", "sums", *names) for study, names in TABLES.items()}
FIGURES = {
    "point": ("s2", "s2_ratio", "slopes", "typical", "tails"),
    "gram": ("gram_angle", "gram_spectrum", "s2"),
    "step": ("step_answer", "step_change", "step_eta"),
}
MOMENTS = (
    *("ntk_mean", "ntk_second_moment", "s2", "s2_low", "s2_high", "s2_exact", "s2_limit", "log_ntk_mean"),
    *("dead_fraction", "n_samples", "ess", "tail_share", "undersampled"),
)
SUMS = "results/point/sums.zarr"


def altered(**changes: object) -> dict:
    """The tiny config with other keys in the study ``point``."""
    config = copy.deepcopy(TINY)
    config["studies"]["point"] |= changes
    return config


# --- 1: a whole run ---------------------------------------------------------------------------


@pytest.mark.parametrize(("study", "name"), [(study, name) for study in DATASETS for name in DATASETS[study]])
def test_datasets_open_with_plain_xarray_and_say_what_they_are(finished: Run, study: str, name: str) -> None:
    path = finished.folder / f"results/{study}/{name}.zarr"
    dataset = xr.open_zarr(path)
    for variable in dataset.variables.values():
        assert variable.attrs["long_name"] and variable.attrs["units"]
    attrs = dataset.attrs
    assert attrs["config"]["seeds"] == TINY["studies"][study]["seeds"]
    assert attrs["config_sha256"] == hashlib.sha256(json.dumps(attrs["config"], sort_keys=True).encode()).hexdigest()
    assert attrs["versions"]["numpy"] == np.__version__ and attrs["versions"]["zarr"]
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", attrs["git_commit"])
    assert attrs["dtype"] == "float64" and "cpu" in attrs["backend"]
    assert datetime.fromisoformat(attrs["created"]).tzinfo is not None
    checked = ntkpipe.open(path)
    assert set(checked.data_vars) == set(dataset.data_vars)


def test_moments_hold_the_contract_and_agree_with_the_draws(finished: Run) -> None:
    moments = xr.open_zarr(finished.folder / "results/point/moments.zarr").load()
    assert set(MOMENTS) <= set(moments.data_vars)
    assert {"depth", "width", "widths", "beta", "engine", "sampling"} <= set(moments.coords)
    drawn = moments.isel(cell=np.flatnonzero(moments.engine.values != "exact"))
    exact = moments.isel(cell=np.flatnonzero(moments.engine.values == "exact"))
    assert drawn.sizes["cell"] == 5 and exact.sizes["cell"] == 1
    assert (drawn.n_samples == 3072).all() and (exact.n_samples == 0).all()
    assert ((drawn.s2_low < drawn.s2) & (drawn.s2 < drawn.s2_high)).all()
    assert list(drawn.sampling.values).count("guided") == 1
    np.testing.assert_allclose(exact.s2, exact.s2_exact, rtol=1e-12)
    samples = xr.open_zarr(finished.folder / "results/point/samples.zarr").load()
    kernel, weight = samples["ntk"], np.exp(samples["log_weight"])
    kernel = kernel.squeeze([dim for dim in kernel.dims if dim not in ("cell", "seed")])
    assert (weight[samples.sampling == "plain"] == 1).all() and weight[samples.sampling == "guided"].std() > 0
    plain = np.flatnonzero(samples.sampling.values == "plain")
    np.testing.assert_allclose(drawn.ntk_mean[plain], kernel[plain].mean("seed"), rtol=1e-12)
    np.testing.assert_allclose(drawn.ntk_second_moment[plain], (kernel[plain] ** 2).mean("seed"), rtol=1e-12)


def test_open_unstacks_a_full_grid(finished: Run) -> None:
    path = finished.folder / "results/gram/moments.zarr"
    flat, grid = xr.open_zarr(path).load(), ntkpipe.open(path).load()
    assert dict(grid.sizes) == {"depth": 2, "engine": 2}
    for i in range(flat.sizes["cell"]):
        cell = flat.isel(cell=i)
        assert grid.s2.sel(depth=int(cell.depth), engine=str(cell.engine.values)) == cell.s2
    assert "cell" in ntkpipe.open(finished.folder / "results/point/moments.zarr").dims  # no full product


@pytest.mark.parametrize("study", FIGURES)
def test_figures_and_tables_in_all_formats(finished: Run, study: str) -> None:
    folder = finished.folder / "results" / study
    for name in FIGURES[study]:
        assert "<svg" in (folder / f"figures/{name}.svg").read_text()
        assert (folder / f"figures/{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (folder / f"figures/{name}.png").read_bytes().startswith(b"\x89PNG")
    for name in TABLES[study]:
        rows = len((folder / f"tables/{name}.csv").read_text().splitlines()) - 1
        dataset = xr.open_zarr(folder / f"{name}.zarr")
        assert rows == dataset.sizes[{"fits": "fit", "scaling": "row"}.get(name, "cell")]
        page, latex = (folder / f"tables/{name}.html").read_text(), (folder / f"tables/{name}.tex").read_text()
        assert page.count("<tr") >= rows + 1
        assert r"\toprule" in latex and latex.count(r"\\") >= rows + 1


class _Loads(HTMLParser):
    """What a browser would load for a page, and where its links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "srcset", "href", "xlink:href", "data", "poster"):
                (self.links if tag == "a" else self.loaded).append(value or "")


@pytest.mark.parametrize("page", ["index.html", "verification.html"])
def test_report_is_self_contained(finished: Run, page: str) -> None:
    file = finished.folder / "results/report" / page
    text, found = file.read_text(), _Loads()
    found.feed(text)
    assert all(value.startswith(("data:", "#")) for value in found.loaded), [v[:80] for v in found.loaded]
    assert not re.search(r"@import|url\(\s*['\"]?(?!data:|#|['\"])", text)
    for link in found.links:
        if not link.startswith(("http:", "https:", "#", "mailto:")):
            assert (file.parent / link.split("#")[0]).exists(), link
    if page == "index.html":
        shown = sum(value.startswith("data:image") for value in found.loaded) + text.count("<svg")
        said = re.findall(r"Figure (\w+) is not drawn: it shows", text)
        assert said == ["slopes"] and shown + len(said) == sum(map(len, FIGURES.values()))
        assert TINY["title"] in text


# --- 2, 3: what a rerun does --------------------------------------------------------------------


def test_rerun_is_a_no_op(run: Run) -> None:
    before = {p: p.stat().st_mtime_ns for p in (run.folder / "results").rglob("*") if p.is_file()}
    assert "Nothing to be done" in run.make()
    assert before == {p: p.stat().st_mtime_ns for p in (run.folder / "results").rglob("*") if p.is_file()}


def _edit(run: Run, tmp_path: Path, module: str, pattern: str, replacement: str) -> Run:
    """The run with a copy of the checkout in which a pattern of a module is replaced once."""
    checkout = tmp_path / "edited"
    if not checkout.exists():
        for folder in ("ntkpipe", "workflow", "profiles"):
            shutil.copytree(REPO / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("Snakefile", "environment.yml"):
            shutil.copy(REPO / file, checkout)
    file = checkout / "ntkpipe" / module
    text, n = re.subn(pattern, replacement, file.read_text(), count=1)
    assert n == 1, f"nothing to edit in {module}"
    file.write_text(text)
    return Run(run.folder, checkout)


def test_an_edited_template_reruns_the_report_only(run: Run, tmp_path: Path) -> None:
    edited = _edit(run, tmp_path, "templates/index.html.j2", r"What was run", "What ran")
    assert edited.planned() == {"report": 1, "all": 1}


def test_an_edited_figure_reruns_figures_and_report_only(run: Run, tmp_path: Path) -> None:
    assert _edit(run, tmp_path, "kinds/initialization/figures.py", r"\Z", "\n# a comment\n").planned() == {}
    edited = _edit(run, tmp_path, "kinds/initialization/figures.py", r"linewidth=[\d.]+", "linewidth=0.123")
    assert edited.planned() == {"figures_point": 1, "figures_gram": 1, "report": 1, "all": 1}
    drawn, tables = (run.folder / f"results/point/{name}" for name in ("figures/s2.svg", "tables/moments.csv"))
    before, table = drawn.read_text(), tables.read_text()
    edited.make("results/point/figures/s2.svg")
    assert drawn.read_text() != before and tables.read_text() == table


def test_an_edited_analysis_reruns_no_sampling(run: Run, tmp_path: Path) -> None:
    jobs = _edit(run, tmp_path, "analysis/moments.py", r"\Z", "\nEDITED = True\n").planned()
    assert {"analyse_point", "analyse_gram", "figures_point", "figures_gram", "report"} <= set(jobs)
    assert not [rule for rule in jobs if rule.startswith(("sample", "collect"))]


def test_an_edited_engine_resamples_its_own_study_only(run: Run, tmp_path: Path) -> None:
    jobs = _edit(run, tmp_path, "engines/matrix_free.py", r"\Z", "\nEDITED = True\n").planned()
    assert [rule for rule in jobs if rule.startswith("sample_gram")]
    assert not [rule for rule in jobs if rule.startswith("sample_point")]
    assert jobs["collect_gram"] == jobs["analyse_gram"] == 1
    assert "figures_point" not in jobs


# --- 4: growing and changing a study --------------------------------------------------------------


def test_adding_a_width_draws_the_new_cells_only(run: Run) -> None:
    before = run.shards()
    config = altered(grid=[{"width": [16, 32, 64], "depth": [4, 8]}, *TINY["studies"]["point"]["grid"][1:]])
    jobs = run.configure(config).planned()
    assert not [rule for rule in jobs if rule.startswith("sample_gram") or rule == "figures_gram"]
    run.make(SUMS)
    after = run.shards()
    assert {path: after[path] for path in before} == before
    new = sorted(Path(path).name for path in after.keys() - before.keys())
    assert [re.match(r"depth\d+-width\d+", name)[0] for name in new] == ["depth4-width64", "depth8-width64"]
    sums = ntkpipe.open(run.folder / SUMS)
    assert sorted(set(sums.width.values)) == [16, 32, 64]


@pytest.mark.parametrize(
    ("changes", "redrawn"),
    [({"tolerances": {"relative_error": 0.5}}, False), ({"fits": {"beta_max": 0.5}}, False), ({"seed": 1}, True)],
    ids=["relative_error", "fits", "seed"],
)
def test_a_changed_key_is_followed(run: Run, changes: dict, redrawn: bool) -> None:
    jobs = run.configure(altered(**changes)).planned()
    assert {"analyse_point", "figures_point", "report"} <= set(jobs)
    assert any(rule.startswith("sample_point") for rule in jobs) == redrawn
    assert not [rule for rule in jobs if rule.endswith("_gram") or rule.startswith("sample_gram")]


def test_a_changed_precision_floor_needs_no_deleting_by_hand(run: Run) -> None:
    changed = altered(tolerances={"precision_floor": 1e-9})
    run.configure(changed).make(SUMS)
    attrs = xr.open_zarr(run.folder / SUMS).attrs
    assert attrs["config"]["tolerances"]["precision_floor"] == 1e-9


@pytest.mark.parametrize(
    "changes", [{"seeds": 9216}, {"keep": "moments"}, {"seed": 1}, {"precision": "float32"}], ids=str
)
def test_equal_shard_names_mean_equal_shards(changes: dict) -> None:
    """Snakemake goes by names: a shard that another config would make otherwise must be called otherwise."""
    study = {
        "kind": "initialization",
        "grid": {"width": 2, "depth": 1, "engine": "matrix_free"},
        "seeds": 8192,
        "inputs": {"points": 34},  # large enough for shards of less than 8192 draws
    }
    mine, other = (
        planning.make(configuration.parse({"studies": {"same": settings}})).studies["same"]
        for settings in (study, study | changes)
    )
    theirs = {shard.path: shard for shard in other.shards}
    assert len(mine.shards) > 1
    for shard in mine.shards:
        if shard.path in theirs:
            assert shards.attrs_of(mine, shard) == shards.attrs_of(other, theirs[shard.path])
            assert block_size(shard.cell.seeds) == block_size(theirs[shard.path].cell.seeds)


# --- 5, 6: killed runs, lost files ------------------------------------------------------------------

SLOW = {
    "studies": {
        "slow": {
            "kind": "initialization",
            "grid": {"width": 32, "depth": [10, 11, 12, 13, 14, 15, 16, 17], "engine": "matrix_free"},
            "seeds": 4096,
            "keep": "moments",
            "inputs": {"kind": "circle", "points": 3},
        }
    },
    "execution": {"job_seconds": 4.0},
}
"""Eight shards of about a second, in several jobs."""


def test_killed_run_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    target = "results/slow/sums.zarr"
    run = Run(tmp_path / "killed").configure(SLOW)
    with open(tmp_path / "killed.txt", "w") as said:
        driver = subprocess.Popen(
            run.command(target), cwd=run.folder, env=run.environment, stdout=said, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + 120
        while len(run.shards()) < 2:
            assert driver.poll() is None, (tmp_path / "killed.txt").read_text()
            assert time.monotonic() < deadline, "no shard in time"
            time.sleep(0.02)
        kill_tree(driver)
    kept = run.shards()
    assert 2 <= len(kept) < 8, "the kill came too late to test anything"
    assert "lock" in run.fail(target).lower()
    run.make(target, "--unlock")
    run.make(target)
    resumed = run.shards()
    assert len(resumed) == 8
    assert {path: resumed[path] for path in kept} == kept  # same inodes: not drawn again
    assert run.planned(target) == {}
    assert not list(run.folder.glob("results/slow/shards/.*")), "a killed writer's leavings stay"

    unbroken = Run(tmp_path / "unbroken").configure(SLOW)
    unbroken.make(target)
    assert hashes(unbroken.shards()) == hashes(resumed)
    xr.testing.assert_equal(xr.open_zarr(run.folder / target).load(), xr.open_zarr(unbroken.folder / target).load())


def test_lost_shard_is_drawn_again_alone(run: Run) -> None:
    before = run.shards()
    lost = next(path for path in before if "depth8-width32" in path)
    (run.folder / lost).unlink()
    assert "sample_point_0" in run.planned()  # though all that was made of it is whole
    run.make(lost)
    after = run.shards()
    assert after[lost].sha256 == before[lost].sha256
    others = before.keys() - {lost}
    assert {path: after[path] for path in others} == {path: before[path] for path in others}


# --- 7: damage ---------------------------------------------------------------------------------------


def test_damaged_shard_is_named_and_mended(run: Run) -> None:
    before = run.shards("point")
    bad = sorted(before)[2]
    flip_a_byte(run.folder / bad)
    shutil.rmtree(run.folder / SUMS)
    said = run.fail(SUMS)
    assert f"shard {bad} is damaged" in said and f"delete {bad}" in said
    assert run.ntkpipe("verify", bad).returncode == 2
    (run.folder / bad).unlink()
    run.make(SUMS)
    assert hashes(run.shards("point")) == hashes(before)
    assert run.ntkpipe("verify", SUMS, *before).returncode == 0


def test_damaged_dataset_is_named_and_mended(run: Run) -> None:
    table = run.folder / "results/point/moments.zarr"
    chunk = table / "s2/c/0"
    values, whole = xr.open_zarr(table).load(), chunk.read_bytes()
    chunk.unlink()  # plain zarr reads NaN
    assert np.isnan(xr.open_zarr(table).s2).all()
    with pytest.raises(DamagedFile, match=r"moments\.zarr/s2/c/0 is missing"):
        ntkpipe.open(table)
    chunk.write_bytes(whole)
    flip_a_byte(chunk)
    with pytest.raises(DamagedFile, match=r"moments\.zarr/s2/c/0 is altered"):
        ntkpipe.open(table)
    said = run.fail("results/point/figures/s2.svg", "--forcerun", "figures_point")
    assert "results/point/moments.zarr/s2/c/0 is altered" in said and "delete results/point/moments.zarr" in said
    (other := run.folder / "results/point/fits.zarr.sha256").write_text("no manifest\n")
    told = run.ntkpipe("verify", "results/point/moments.zarr", "results/point/fits.zarr", SUMS)
    assert told.returncode == 2 and f"{SUMS}: whole" in told.stdout
    assert "moments.zarr/s2/c/0 is altered" in told.stdout and "fits.zarr.sha256" in told.stdout
    shutil.rmtree(table)
    other.unlink()
    run.make()  # as the message says
    xr.testing.assert_equal(ntkpipe.open(table).load(), values)


def test_damaged_sums_stop_the_analysis(run: Run) -> None:
    flip_a_byte(run.folder / SUMS / "largest/c/0/0")
    said = run.fail("results/point/moments.zarr", "--forcerun", "analyse_point")
    assert f"{SUMS}/largest/c/0/0 is altered" in said


# --- 8: the same numbers -------------------------------------------------------------------------------


def test_cores_and_job_length_change_no_bit(finished: Run, fresh: Run) -> None:
    shards = finished.shards()
    fresh.configure(TINY | {"execution": {"job_seconds": 0.02}})
    jobs = fresh.planned(*shards)
    assert len(jobs) > len(finished.planned(*shards, "--forceall"))
    fresh.make(*shards, cores=1)
    assert hashes(fresh.shards()) == hashes(shards)


# --- 9: bad configs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "where", "hint"),
    [
        ({"network": {"activation": "rellu"}}, "studies.point.network.activation", "did you mean 'relu'?"),
        ({"sedes": 4}, "studies.point.sedes", "did you mean 'seeds'?"),
        ({"seeds": 0}, "studies.point.seeds", "at least 1"),
        ({"network": {"activation": "tanh"}, "sampling": "guided"}, "network.activation", "relu"),
    ],
    ids=["activation", "unknown_key", "range", "engine"],
)
def test_bad_config_is_one_line_and_writes_nothing(fresh: Run, changes: dict, where: str, hint: str) -> None:
    said = fresh.configure(altered(**changes)).fail()
    line = next((line for line in said.splitlines() if where in line), "")
    assert hint in line, said
    assert "Traceback" not in said
    assert not (fresh.folder / "results").exists()


def test_a_key_given_twice_is_refused(fresh: Run) -> None:
    said = fresh.configure("title: one\ntitle: two\nstudies: {}\n").fail()
    assert re.search(r"tiny\.yaml: .*title\W+ is given twice.* line 2", said), said
    assert not (fresh.folder / "results").exists()


def test_dry_run_writes_nothing(fresh: Run) -> None:
    jobs = fresh.configure(TINY).planned()
    assert jobs["report"] == jobs["all"] == 1 and jobs["analyse_point"] == jobs["analyse_gram"] == 1
    assert not (fresh.folder / "results").exists()


def test_dry_run_of_another_config_leaves_the_config_of_the_steps_alone(run: Run) -> None:
    resolved = run.folder / "results/config.yaml"
    before = resolved.read_text()
    assert run.configure(altered(seed=7)).planned()
    assert resolved.read_text() == before


# --- 10: Snakemake's own tools ------------------------------------------------------------------------------


def test_lint_is_clean(fresh: Run) -> None:
    said = fresh.configure(TINY).make("--lint")
    assert "Congratulations" in said


def test_snakefiles_are_formatted() -> None:
    command = [BIN / "snakefmt", "--check", "Snakefile", "workflow"]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_snakemake_report_works_offline_with_captions(run: Run) -> None:
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = run.snakemake("--report", "report.html", **nowhere)
    assert done.returncode == 0, done.stdout
    page = " ".join((run.folder / "report.html").read_text().split())
    for study, names in FIGURES.items():
        for name in names:
            assert f"results/{study}/figures/{name}.svg" in page
    for name in {*FIGURES["point"], *FIGURES["gram"], *(f"table_{table}" for table in TABLES["gram"])}:
        caption = (REPO / f"ntkpipe/kinds/initialization/captions/{name}.rst").read_text()
        words = re.findall(r"[A-Za-z]{3,}", caption)[:3]
        assert re.search(r"\W+(?:\w{1,2}\W+)*".join(words), page), f"no caption of {name}"


# --- 11: by hand -----------------------------------------------------------------------------------------------


def test_commands_by_hand(finished: Run) -> None:
    def says(*arguments: str) -> str:
        done = finished.ntkpipe(*arguments)
        assert done.returncode == 0, done.stdout
        return done.stdout

    table = says("plan", "--config", "tiny.yaml", "--cores", "2")
    assert re.search(r"^point +6 ", table, re.MULTILINE) and re.search(r"^gram +4 ", table, re.MULTILINE)
    answer = says("exact", "--widths", "256x128")
    beta, s2 = (float(re.search(rf"^{name}.* (\S+)$", answer, re.MULTILINE)[1]) for name in ("beta", "S2 = "))
    assert beta == 0.5 and s2 == pytest.approx(7.5757364, rel=1e-6)  # docs/theory.md's recursion, pinned
    assert says("keys").rstrip() == (REPO / "config/README.md").read_text().rstrip()
    shards = len(finished.shards())
    assert f"shards {shards}/{shards}" in says("progress", "--config", "tiny.yaml")
    shard = next(iter(finished.shards()))
    assert f"{shard}: whole" in says("verify", "results/point/moments.zarr", shard)
    bad = finished.ntkpipe("exact", "--widths", "12y3")
    assert bad.returncode == 2 and "--widths" in bad.stdout and "Traceback" not in bad.stdout


def test_every_command_has_help(tmp_path: Path) -> None:
    run = Run(tmp_path)
    listed = run.ntkpipe("--help").stdout.split("Commands:")[1]
    names = re.findall(r"^  ([a-z]+) ", listed, re.MULTILINE)
    assert {"plan", "exact", "keys", "progress", "verify", "sample", "collect", "analyse", "report"} <= set(names)
    for name in names:
        done = run.ntkpipe(name, "--help")
        assert done.returncode == 0 and f"ntkpipe {name}" in done.stdout and len(done.stdout.splitlines()) > 4


# --- 12: other shapes of studies ---------------------------------------------------------------------------------


def test_moments_only_and_exact_only_studies(finished: Run, fresh: Run) -> None:
    point = {"kind": "initialization", "seeds": 3072}
    fresh.configure(
        {
            "studies": {
                "sparse": point | {"grid": {"width": [16, 32], "depth": [4, 8]}, "keep": "moments"},
                "closed": point | {"grid": {"width": [16, 64], "depth": [4, 8, 16]}, "engine": "exact"},
            }
        }
    )
    fresh.make()
    results = fresh.folder / "results"
    assert (results / "report/index.html").exists()
    assert not (results / "sparse/samples.zarr").exists() and not (results / "closed/shards").exists()
    sparse = ntkpipe.open(results / "sparse/moments.zarr")
    full = xr.open_zarr(finished.folder / "results/point/moments.zarr").load()
    for i in range(4):  # the same cells, drawn and reduced in the same way whatever is kept
        cell = full.isel(cell=i)
        mine = sparse.sel(width=int(cell.width), depth=int(cell.depth))
        assert all(np.array_equal(mine[name], cell[name], equal_nan=True) for name in MOMENTS)
    closed = ntkpipe.open(results / "closed/moments.zarr").load()
    assert dict(closed.sizes) == {"width": 2, "depth": 3}
    assert (closed.n_samples == 0).all() and (closed.s2 == closed.s2_exact).all()
    assert float(closed.s2.sel(width=16, depth=8)) == float(full.s2_exact.isel(cell=1))


def test_studies_that_few_figures_can_show(fresh: Run) -> None:
    """Widths that vary by layer make no curves over beta; guided draws alone have no typical values."""
    varying = {"widths": [[4, 8], [8, 4, 4]], "bias_init": ["none", "normal"]}
    probes = {"grid": varying, "network": {"activation": "tanh"}, "inputs": {"points": 3, "keep": "diagonal"}}
    guided = {"grid": {"width": 16, "depth": [2, 4]}, "sampling": "guided"}
    common = {"kind": "initialization", "seeds": 128}
    fresh.configure({"studies": {"probes": common | probes, "guided": common | guided}})
    fresh.make(
        "results/probes/samples.zarr", *(f"results/{study}/figures/typical.svg" for study in ("probes", "guided"))
    )
    samples = xr.open_zarr(fresh.folder / "results/probes/samples.zarr")
    assert samples["ntk_diag"].dims == ("cell", "seed", "input") and set(samples.width.values) == {0}
    assert sorted(set(samples.widths.values)) == ["4x8", "8x4x4"]
    np.testing.assert_allclose(sorted(set(samples.beta.values)), [1 / 4 + 1 / 8, 1 / 8 + 1 / 4 + 1 / 4])


def test_spectra_are_kept_without_entries(fresh: Run) -> None:
    study = {"kind": "initialization", "seeds": 128, "keep": "spectra", "inputs": {"points": 3}}
    fresh.configure({"studies": {"spectra": study | {"grid": {"width": 16, "depth": [0, 2]}}}})
    fresh.make("results/spectra/samples.zarr", "results/spectra/gram.zarr")
    samples = xr.open_zarr(fresh.folder / "results/spectra/samples.zarr").load()
    assert "eigenvalues" in samples and "ntk" not in samples
    assert (samples.eigenvalues.diff("mode") <= 0).all() and (samples.eigenvalues >= 0).all()
    smallest = xr.open_zarr(fresh.folder / "results/spectra/gram.zarr").min_eigenvalue_median
    np.testing.assert_allclose(smallest, samples.eigenvalues.isel(mode=-1).median("seed"), rtol=0.03)
