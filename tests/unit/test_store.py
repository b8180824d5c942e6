"""Datasets: what is written is read; two writes are one; damage is an error that names the file."""

import hashlib
import os
import shutil
import subprocess

import numpy as np
import pytest
import xarray as xr

import ntkpipe
from ntkpipe import store
from ntkpipe.errors import DamagedFile

RNG_SEED = 7


def _dataset():
    rng = np.random.default_rng(RNG_SEED)
    return xr.Dataset(
        {"s2": (("cell", "seed"), rng.standard_normal((6, 50)), {"long_name": "S2", "units": "1"})},
        coords={
            "depth": ("cell", [1, 1, 1, 2, 2, 2]),
            "width": ("cell", [4, 8, 16] * 2),
            "widths": ("cell", np.array(["4^1", "8^1", "16^1", "4^2", "8^2", "16^2"], object)),
            "beta": ("cell", [0.25, 0.125, 0.0625, 0.5, 0.25, 0.125]),
            "engine": ("cell", np.array(["scalar"] * 6, object)),
        },
        attrs={"study": "s"},
    )


@pytest.fixture
def dataset(tmp_path):
    path = tmp_path / "moments.zarr"
    store.write_dataset(path, _dataset())
    return path


def test_a_dataset_is_read_as_it_was_written(dataset):
    xr.testing.assert_identical(store.read_rows(dataset).load(), _dataset())
    with xr.open_zarr(dataset) as opened:
        xr.testing.assert_identical(opened.load(), _dataset())
    assert sorted(os.listdir(dataset.parent)) == ["moments.zarr", "moments.zarr.sha256"]


def test_the_manifest_is_what_sha256sum_writes(dataset):
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", f"{dataset.name}.sha256"], cwd=dataset.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    files = [file for file in dataset.rglob("*") if file.is_file()]
    assert done.stdout.count(": OK") == len(files) > 6


def test_two_writes_of_a_dataset_have_one_manifest(dataset):
    manifest = dataset.with_name("moments.zarr.sha256")
    before = manifest.read_bytes()
    store.write_dataset(dataset, _dataset())
    assert manifest.read_bytes() == before
    store.write_dataset(dataset, _dataset() * 2)
    assert manifest.read_bytes() != before
    store.verify(dataset)


def _files(dataset):
    return sorted(file for file in dataset.rglob("*") if file.is_file())


def test_every_altered_missing_or_truncated_file_is_named(dataset):
    for file in _files(dataset):
        good = file.read_bytes()
        for bad in (good[:-1], good[: len(good) // 2], bytes([good[0] ^ 1]) + good[1:], good + b" "):
            file.write_bytes(bad)
            with pytest.raises(DamagedFile) as caught:
                ntkpipe.open(dataset)
            assert str(file) in str(caught.value) and "altered" in str(caught.value)
        file.unlink()
        with pytest.raises(DamagedFile) as caught:
            store.read_rows(dataset)
        assert str(file) in str(caught.value) and "missing" in str(caught.value)
        file.write_bytes(good)
    store.verify(dataset)


def test_a_chunk_altered_behind_the_manifest_is_still_found(dataset):
    """Readers that skip our check are guarded by zarr's crc32c."""
    chunk = next(file for file in _files(dataset) if "s2/c" in str(file))
    good = bytearray(chunk.read_bytes())
    good[len(good) // 2] ^= 1
    chunk.write_bytes(good)
    with pytest.raises(Exception, match=r"(?i)checksum"), xr.open_zarr(dataset) as opened:
        opened.load()


def test_a_missing_manifest_or_dataset_is_named(dataset):
    dataset.with_name("moments.zarr.sha256").unlink()
    with pytest.raises(DamagedFile, match=r"manifest .*moments\.zarr\.sha256 is missing"):
        store.verify(dataset)
    shutil.rmtree(dataset)
    with pytest.raises(DamagedFile, match=r"dataset .*moments\.zarr is missing"):
        store.verify(dataset)


@pytest.mark.parametrize("flip", [0x08, 0x80])
def test_a_damaged_manifest_is_an_error_that_names_a_file(dataset, flip):
    manifest = dataset.with_name("moments.zarr.sha256")
    good = manifest.read_bytes()
    for offset in range(0, len(good), 11):
        bad = bytearray(good)
        bad[offset] ^= flip
        manifest.write_bytes(bad)
        with pytest.raises(DamagedFile, match=r"moments\.zarr"):
            store.verify(dataset)


@pytest.mark.parametrize(
    "name", ["moments.zarr/../secret", "moments.zarr/c/../../secret", "secret", "/etc/hostname", "../x/moments.zarr/a"]
)
def test_a_manifest_that_names_a_file_outside_is_damaged(dataset, name):
    """Even one that is there, with that sha256: whoever publishes what a manifest names would put it there."""
    (secret := dataset.parent / "secret").write_text("mine")
    manifest = dataset.with_name("moments.zarr.sha256")
    manifest.write_text(f"{manifest.read_text()}{store.sha256(secret)}  {name}\n")
    with pytest.raises(DamagedFile, match=r"moments\.zarr\.sha256 names a file outside moments\.zarr: ") as caught:
        store.verify(dataset)
    assert repr(name) in str(caught.value)


def test_a_manifest_that_names_a_file_behind_a_linked_folder_is_damaged(dataset):
    (folder := dataset.parent / "elsewhere").mkdir()
    (folder / "secret").write_text("mine")
    (dataset / "link").symlink_to(folder)
    manifest = dataset.with_name("moments.zarr.sha256")
    manifest.write_text(f"{manifest.read_text()}{store.sha256(folder / 'secret')}  moments.zarr/link/secret\n")
    with pytest.raises(DamagedFile, match=r"moments\.zarr/link/secret is missing"):
        store.verify(dataset)


@pytest.mark.parametrize("lines", [0, 1, 5])
def test_a_truncated_manifest_is_found(dataset, lines):
    """A manifest that lists fewer files than there are would let damage in the rest pass."""
    manifest = dataset.with_name("moments.zarr.sha256")
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:lines]))
    with pytest.raises(DamagedFile, match=r"moments\.zarr"):
        store.verify(dataset)


def test_publish_refuses_a_store_with_missing_chunks(tmp_path):
    template = xr.Dataset({"a": (("cell", "seed"), np.zeros((2, 3)))})
    wrong = pytest.raises(DamagedFile, match=r"a\.zarr: a was built with 1 of 2 chunks")
    with wrong, store.publish(tmp_path / "a.zarr") as building:
        group = store.create_template(building, template.chunk({"cell": 1}), {"cell": 1})
        group["a"][0] = np.ones(3)
    assert os.listdir(tmp_path) == []


def test_publish_that_fails_keeps_the_old_dataset(dataset):
    before = hashlib.sha256(dataset.with_name("moments.zarr.sha256").read_bytes()).hexdigest()
    with pytest.raises(RuntimeError, match="midway"), store.publish(dataset) as building:
        store.create_template(building, _dataset()[["s2"]].reset_coords(drop=True).chunk(), {})
        raise RuntimeError("midway")
    store.verify(dataset)
    assert hashlib.sha256(dataset.with_name("moments.zarr.sha256").read_bytes()).hexdigest() == before
    assert sorted(os.listdir(dataset.parent)) == ["moments.zarr", "moments.zarr.sha256"]


def test_a_full_product_of_axes_is_unstacked(dataset):
    opened = ntkpipe.open(dataset)
    assert set(opened.s2.dims) == {"depth", "width", "seed"}
    assert opened.chunks  # lazy
    flat = _dataset()
    for cell in range(6):
        one = flat.isel(cell=cell)
        found = opened.sel(depth=int(one.depth), width=int(one.width))
        np.testing.assert_array_equal(found.s2.values, one.s2.values)
        assert float(found.beta) == float(one.beta)
    assert opened.engine == "scalar"


def test_a_grid_with_a_hole_stays_flat(tmp_path):
    store.write_dataset(tmp_path / "a.zarr", _dataset().isel(cell=[0, 1, 2, 3, 4]))
    assert ntkpipe.open(tmp_path / "a.zarr").s2.dims == ("cell", "seed")


def test_a_grid_of_one_axis_is_unstacked(tmp_path):
    store.write_dataset(tmp_path / "a.zarr", _dataset().isel(cell=[0, 1, 2]))
    opened = ntkpipe.open(tmp_path / "a.zarr")
    assert opened.s2.dims == ("width", "seed")
    np.testing.assert_array_equal(opened.width, [4, 8, 16])
    np.testing.assert_array_equal(opened.beta, [0.25, 0.125, 0.0625])
    np.testing.assert_array_equal(opened.s2.sel(width=8), _dataset().s2[1])


def test_a_single_cell_opens(tmp_path):
    store.write_dataset(tmp_path / "a.zarr", _dataset().isel(cell=[3]))
    opened = ntkpipe.open(tmp_path / "a.zarr")
    np.testing.assert_array_equal(opened.s2.values.squeeze(), _dataset().s2[3])


def test_unstacking_without_asking_can_be_left_out(dataset):
    assert store.open_dataset(dataset, unstack=False).s2.dims == ("cell", "seed")
