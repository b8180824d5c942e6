"""Shards: what is written is read; two writes are one; damage is an error that names the file."""

import contextlib
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import ntkpipe
from ntkpipe import shards
from ntkpipe.errors import DamagedFile
from ntkpipe.slices import Slices

RNG_SEED = 7
ATTRS = {"cell": '{"a":1}', "seed": 3, "start": 0, "stop": 40, "floor": 1e-13, "keep": "full"}


def _arrays():
    rng = np.random.default_rng(RNG_SEED)
    return {
        "ntk": (("seed", "input", "input_"), rng.standard_normal((40, 3, 3))),
        "output": (("seed",), rng.standard_normal(40)),
        "histogram": (("quantity", "bin"), np.zeros((3, 500))),  # compresses to almost nothing
        "count": (("block",), np.arange(5)),
    }


def _same(found, expected):
    assert found.keys() == expected.keys()
    for name, (dims, array) in expected.items():
        assert tuple(found[name][0]) == tuple(dims)
        assert found[name][1].dtype == array.dtype
        np.testing.assert_array_equal(found[name][1], array)


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "cell-draws.zarr.zip"
    shards.write(path, _arrays(), ATTRS)
    return path


def test_a_shard_is_read_as_it_was_written(shard):
    arrays, attrs = shards.read(shard)
    _same(arrays, _arrays())
    assert attrs == ATTRS
    assert os.listdir(shard.parent) == [shard.name]  # nothing left beside it


def test_two_writes_are_byte_identical_whatever_the_order_of_the_arrays(shard, tmp_path):
    shards.write(tmp_path / "sub" / "again.zarr.zip", dict(reversed(_arrays().items())), ATTRS)
    assert (tmp_path / "sub" / "again.zarr.zip").read_bytes() == shard.read_bytes()


def _kernels(count: int, made: list[int] | None = None) -> Slices:
    """Half a MiB of noise a slice."""

    def part(i: int) -> np.ndarray:
        if made is not None:
            made.append(i)
        return np.random.default_rng(i).standard_normal((4, 128, 128))

    return Slices((4, count, 128, 128), part)


def test_slices_are_read_as_they_were_written(tmp_path):
    kernels, path = _kernels(3), tmp_path / "a.zarr.zip"
    arrays = _arrays() | {"kernel": (("network", "snapshot", "unit", "unit_"), kernels)}
    shards.write(path, arrays, ATTRS)
    shards.write(tmp_path / "b.zarr.zip", dict(reversed(arrays.items())), ATTRS)
    assert path.read_bytes() == (tmp_path / "b.zarr.zip").read_bytes()
    whole = np.asarray(kernels)
    _same(shards.read(path)[0], _arrays() | {"kernel": (arrays["kernel"][0], whole)})
    with shards.Reader(path) as shard:
        assert shard.arrays["kernel"].chunks == (4, 1, 128, 128)
        np.testing.assert_array_equal(shard.read("kernel", slice(1, 3), slice(0, 2)), whole[1:3, :2])
    with xr.open_zarr(f"zip::{path}") as opened:
        np.testing.assert_array_equal(opened.kernel, whole)


def test_memory_holds_a_slice_however_many_there_are(tmp_path):
    """Peaks of writing and of reading in blocks: below 8 slices of the 8 and of the 120 (60 MiB) that there are."""
    for count in (8, 120):
        made, path = [], tmp_path / f"{count}.zarr.zip"
        tracemalloc.start()
        shards.write(path, {"kernel": (("seed", "snapshot", "input", "input_"), _kernels(count, made))}, ATTRS)
        with shards.Reader(path) as shard:
            for i in range(count):
                shard.read("kernel", slice(None), slice(i, i + 1))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert made == list(range(count)) and path.stat().st_size > count * 2**18
        assert peak < 8 * 2**19


def test_a_write_that_fails_in_a_slice_leaves_nothing(tmp_path):
    def part(i: int) -> np.ndarray:
        if i == 2:
            raise OSError("disk full")
        return np.zeros((4, 5))

    with pytest.raises(OSError, match="disk full"):
        shards.write(tmp_path / "a.zarr.zip", {"kernel": (("seed", "snapshot", "input"), Slices((4, 3, 5), part))}, {})
    assert os.listdir(tmp_path) == []


def test_other_numbers_or_attributes_are_other_bytes(shard, tmp_path):
    arrays = _arrays()
    arrays["output"][1][3] = np.nextafter(arrays["output"][1][3], 9)
    for number, (data, attrs) in enumerate([(arrays, ATTRS), (_arrays(), ATTRS | {"seed": 4})]):
        path = tmp_path / f"{number}.zip"
        shards.write(path, data, attrs)
        assert path.read_bytes() != shard.read_bytes()


@pytest.mark.parametrize("flip", [0x01, 0xFF])
def test_a_flipped_byte_is_never_wrong_data(shard, flip):
    """Every 17th byte of the file, and every 3rd of the zip's directory at its end."""
    good = shard.read_bytes()
    found = 0
    offsets = sorted({*range(0, len(good), 17), *range(len(good) - 400, len(good), 3)})
    for offset in offsets:
        bad = bytearray(good)
        bad[offset] ^= flip
        shard.write_bytes(bad)
        try:
            arrays, attrs = shards.read(shard)
        except DamagedFile as error:
            assert str(shard) in str(error) and "snakemake" in str(error)
            found += 1
        else:  # a byte that carries nothing, such as a date in the zip's directory
            _same(arrays, _arrays())
            assert attrs == ATTRS
    assert found > 0.7 * len(offsets)  # most bytes carry something


def test_every_byte_of_the_data_is_guarded(shard):
    """A flip inside the stored bytes of any member (metadata or chunk) is found."""
    import zipfile

    good = shard.read_bytes()
    with zipfile.ZipFile(shard) as archive:
        members = [(i.header_offset + 30 + len(i.filename), i.file_size) for i in archive.infolist()]
    assert sum(size for _, size in members) > 3000
    for begin, size in members:
        for offset in {begin, begin + size // 2, begin + size - 1}:
            bad = bytearray(good)
            bad[offset] ^= 0x10
            shard.write_bytes(bad)
            with pytest.raises(DamagedFile, match=shard.name):
                shards.read(shard)


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_shard_is_damaged(shard, keep):
    good = shard.read_bytes()
    shard.write_bytes(good[: int(keep * len(good))])
    with pytest.raises(DamagedFile, match=shard.name):
        shards.read(shard)


def test_a_shard_without_a_chunk_or_an_array_is_damaged(shard):
    import zipfile

    with zipfile.ZipFile(shard) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    for lost in [name for name in contents if name != "zarr.json"]:
        with zipfile.ZipFile(shard, "w") as archive:
            for name, data in contents.items():
                if name != lost:
                    archive.writestr(name, data)
        if lost.endswith("zarr.json"):  # also held by the consolidated metadata: nothing is lost
            with contextlib.suppress(DamagedFile):
                _same(shards.read(shard)[0], _arrays())
        else:
            with pytest.raises(DamagedFile, match=f"{shard.name}.*{lost.split('/')[0]} holds 0 of 1 chunks"):
                shards.read(shard)


def test_a_missing_shard_is_named(tmp_path):
    with pytest.raises(DamagedFile, match=r"none\.zarr\.zip is missing; run snakemake"):
        shards.read(tmp_path / "none.zarr.zip")


def test_validity_is_wholeness_and_attributes(shard):
    assert shards.is_valid(shard, ATTRS)
    assert not shards.is_valid(shard, ATTRS | {"source": "other code"})
    shard.write_bytes(shard.read_bytes()[:-10])
    assert not shards.is_valid(shard, ATTRS)
    assert not shards.is_valid(shard.parent / "none", ATTRS)


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        shards.write(tmp_path / "a.zarr.zip", _arrays(), ATTRS)
    assert os.listdir(tmp_path) == []


def test_a_shard_opens_in_plain_xarray_and_ntkpipe_zip(shard):
    with xr.open_zarr(f"zip::{shard}") as opened:
        for name, (dims, array) in _arrays().items():
            assert opened[name].dims == dims
            np.testing.assert_array_equal(opened[name].values, array)
        assert opened.attrs == ATTRS


def test_sampling_imports_no_xarray_and_no_dask(study_tree, tmp_path):
    """They cost every sampling job a second."""
    import yaml

    (tmp_path / "c.yaml").write_text(yaml.safe_dump(study_tree(results=tmp_path)))
    code = (
        f"import sys; sys.path.insert(0, {str(Path(ntkpipe.__file__).parent.parent)!r})\n"
        "from ntkpipe import config, plan\n"
        "shard = plan.make(config.load('c.yaml')).studies['s'].shards[0]\n"
        "from ntkpipe.__main__ import cli\n"
        "cli(['sample', '--config', 'c.yaml', shard.path], standalone_mode=False)\n"
        "print([name for name in ('xarray', 'dask', 'pandas', 'matplotlib', 'jax') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert len(list((tmp_path / "s/shards").iterdir())) == 1
