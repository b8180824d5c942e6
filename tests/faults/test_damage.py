"""Bytes that are not what was written: found and named, never taken for numbers; and which files have no check."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faulty import DRAWS, same, snapshots, wait_for
from harness import Run, flip_a_byte, hashes, kill_tree

from ntkpipe import shards, verify

pytestmark = pytest.mark.fault
CHECKED = {
    "shard": "point/shards/*.zarr.zip",
    "shard of a training": "train/shards/*.zarr.zip",
    "chunk": "point/sums.zarr/largest/c/0/0",
    "chunk of a table": "point/moments.zarr/s2/c/0",
    "chunk of kernels": "train/trajectories.zarr/ntk_train/c/*/*/*/*/*",
    "chunk of a coordinate": "point/moments.zarr/width/c/0",
    "metadata of a dataset": "point/moments.zarr/zarr.json",
    "metadata of a variable": "train/rkhs.zarr/inclusion/zarr.json",
    "manifest": "point/fits.zarr.sha256",
}
"""Kinds of files with a checksum, as seen from ``results``."""


@pytest.fixture(scope="module")
def broken(unbroken: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy in which each test mends what it breaks."""
    return unbroken.copy(tmp_path_factory.mktemp("damage") / "run")


def _file(run: Run, kind: str) -> Path:
    return sorted((run.folder / "results").glob(CHECKED[kind]))[0]


def _unit(file: Path) -> Path:
    """What is checked as a whole: the shard or the dataset."""
    if file.suffix == ".sha256":
        return file.with_suffix("")
    return next(part for part in (file, *file.parents) if part.suffix in (".zip", ".zarr"))


def _damages(content: bytes) -> Iterator[tuple[str, bytes | None]]:
    """Flips in 12 regions of the file, at random in each, bits one by one or all; cuts; nothing left."""
    rng = random.Random(len(content))
    for region in range(12):
        at = min(len(content) - 1, int((region + rng.random()) * len(content) / 12))
        flipped = bytearray(content)
        flipped[at] ^= rng.choice([0xFF, *(1 << bit for bit in range(8))])
        yield f"byte {at}", bytes(flipped)
    for keep in (0, len(content) // 3, len(content) - 2):  # a manifest loses nothing with its last line break
        yield f"cut to {keep}", content[:keep]
    yield "deleted", None


@pytest.mark.parametrize("kind", CHECKED)
def test_damage_is_found_and_named_wherever_it_is(broken: Run, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``verify`` names it; or, where a byte of a zip carries nothing, the arrays are what they were."""
    monkeypatch.chdir(broken.folder)
    file = _file(broken, kind).relative_to(broken.folder)
    unit, content = _unit(file), file.read_bytes()
    whole = shards.read(unit) if unit.suffix == ".zip" else None
    folder, found, tried = str(Path(*file.parts[:2])), 0, 0
    for what, damaged in _damages(content):
        file.unlink() if damaged is None else file.write_bytes(damaged)
        tried += 1
        lines = [line for good, line in verify.lines(folder if damaged is None else str(unit)) if not good]
        file.write_bytes(content)
        if lines:
            assert any(str(unit) in line and "snakemake" in line for line in lines), (what, lines)
            found += 1
        else:
            assert whole is not None and damaged is not None, what
            file.write_bytes(damaged)
            arrays, attrs = shards.read(unit)
            file.write_bytes(content)
            assert attrs == whole[1] and all((arrays[k][1] == whole[0][k][1]).all() for k in whole[0]), what
    assert found == tried if whole is None else found > 0.8 * tried


def _delete(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_what_is_named_is_deleted_and_made_again(unbroken: Run, run: Run) -> None:
    """A shard, a chunk, metadata, a manifest at once: the one command mends all that the messages say to delete."""
    for kind in ("shard", "chunk", "metadata of a dataset", "manifest"):
        flip_a_byte(_file(run, kind))
    said = run.ntkpipe("verify", "results")
    named = re.findall(r"delete (\S+) and run snakemake again", said.stdout)
    assert said.returncode == 2 and len(set(named)) == 4, said.stdout
    for path in set(named):
        _delete(run.folder / path)
    run.make()
    same(run, unbroken)


@pytest.mark.parametrize("path", ["tables/moments.csv", "figures/s2.svg", "figures/s2.png", "tables/moments.html"])
def test_tables_and_figures_have_no_checksum_and_are_made_again(unbroken: Run, run: Run, path: str) -> None:
    """They are pictures of datasets, which have: deleted, they are drawn anew to the same bytes."""
    file = run.folder / "results/point" / path
    flip_a_byte(file)
    assert run.ntkpipe("verify", "results/point").returncode == 0
    file.unlink()
    run.make(f"results/point/{path}")
    assert file.read_bytes() == (unbroken.folder / "results/point" / path).read_bytes()


def test_the_config_of_the_steps_is_written_anew(unbroken: Run, run: Run) -> None:
    resolved = run.folder / "results/config.yaml"
    good = resolved.read_bytes()
    for damaged in (good[: len(good) // 2], good.replace(b"seeds: 2048", b"seeds: 2049")):
        resolved.write_bytes(damaged)
        shutil.rmtree(run.folder / "results/point/moments.zarr")
        run.make("results/point/moments.zarr")
        assert resolved.read_bytes() == good
    same(run, unbroken, "results/point/moments.zarr", no_more=False)


def test_damaged_checkpoints_are_left_aside(unbroken: Run, fresh: Run) -> None:
    driver = fresh.start(*DRAWS)
    wait_for(lambda: len(snapshots(fresh)) > 10, driver)
    kill_tree(driver)
    rows = snapshots(fresh)
    flip_a_byte(rows[len(rows) // 2])
    rows[-1].write_bytes(rows[-1].read_bytes()[:-7])
    for state in rows[0].parent.glob("state*.part"):
        flip_a_byte(state)
    assert fresh.snakemake("--unlock").returncode == 0
    fresh.make(*DRAWS)
    same(fresh, unbroken, *DRAWS)


def _cache(folder: Path, change: Callable[[bytes], bytes]) -> int:
    files = [file for file in folder.rglob("*-cache") if file.is_file()]
    for file in files:
        file.write_bytes(change(file.read_bytes()))
    return len(files)


@pytest.mark.parametrize("cut", [False, True], ids=["flipped", "cut"])
def test_damaged_compiled_programs_are_compiled_again(unbroken: Run, run: Run, cut: bool) -> None:
    """Every one of them, at a random byte: the numbers are those of whole ones."""
    rng = random.Random(3)

    def change(content: bytes) -> bytes:
        at = rng.randrange(len(content))
        return content[:at] if cut else content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]

    assert _cache(run.folder / "results/.jax_cache", change) > 0
    shard = sorted(run.shards("train"))[0]
    (run.folder / shard).unlink()
    done = run.ntkpipe("sample", "--config", "results/config.yaml", shard)
    assert done.returncode == 0, done.stdout
    assert hashes(run.shards()) == hashes(unbroken.shards())


def test_damaged_notes_of_times_stop_nothing(unbroken: Run, run: Run) -> None:
    notes = run.folder / "results/train/logs/seconds.tsv"
    whole = notes.read_bytes()
    for at in range(0, len(whole), 5):
        notes.write_bytes(whole[:at] + bytes([whole[at] ^ 0x80]) + whole[at + 1 :])
        if at % 40 == 0:
            assert run.ntkpipe("progress", "--config", "tiny.yaml").returncode == 0
    shard = sorted(run.shards("train"))[0]
    (run.folder / shard).unlink()
    run.make(*DRAWS)
    same(run, unbroken, *DRAWS)


def test_damaged_notes_of_snakemake_change_no_number(unbroken: Run, run: Run) -> None:
    """Every file of ``.snakemake/metadata`` flipped in the middle."""
    for file in (run.folder / ".snakemake/metadata").rglob("*"):
        if file.is_file():
            flip_a_byte(file)
    done = run.snakemake(*DRAWS)
    if done.returncode != 0:  # what docs/faults.md says to do then
        shutil.rmtree(run.folder / ".snakemake")
        run.make(*DRAWS)
    same(run, unbroken, *DRAWS)
