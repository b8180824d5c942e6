"""Storage: what is written is read; two writes are one; damage is an error that names the file."""

import contextlib
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
    store.write_shard(path, _arrays(), ATTRS)
    return path


def test_a_shard_is_read_as_it_was_written(shard):
    arrays, attrs = store.read_shard(shard)
    _same(arrays, _arrays())
    assert attrs == ATTRS
    assert os.listdir(shard.parent) == [shard.name]  # nothing left beside it


def test_two_writes_are_byte_identical_whatever_the_order_of_the_arrays(shard, tmp_path):
    store.write_shard(tmp_path / "sub" / "again.zarr.zip", dict(reversed(_arrays().items())), ATTRS)
    assert (tmp_path / "sub" / "again.zarr.zip").read_bytes() == shard.read_bytes()


def test_other_numbers_or_attributes_are_other_bytes(shard, tmp_path):
    arrays = _arrays()
    arrays["output"][1][3] = np.nextafter(arrays["output"][1][3], 9)
    for number, (data, attrs) in enumerate([(arrays, ATTRS), (_arrays(), ATTRS | {"seed": 4})]):
        path = tmp_path / f"{number}.zip"
        store.write_shard(path, data, attrs)
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
            arrays, attrs = store.read_shard(shard)
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
                store.read_shard(shard)


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_shard_is_damaged(shard, keep):
    good = shard.read_bytes()
    shard.write_bytes(good[: int(keep * len(good))])
    with pytest.raises(DamagedFile, match=shard.name):
        store.read_shard(shard)


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
                _same(store.read_shard(shard)[0], _arrays())
        else:
            with pytest.raises(DamagedFile, match=f"{shard.name}.*{lost.split('/')[0]} holds 0 of 1 chunks"):
                store.read_shard(shard)


def test_a_missing_shard_is_named(tmp_path):
    with pytest.raises(DamagedFile, match=r"none\.zarr\.zip is missing; mend: delete"):
        store.read_shard(tmp_path / "none.zarr.zip")


def test_validity_is_wholeness_and_attributes(shard):
    assert store.shard_is_valid(shard, ATTRS)
    assert not store.shard_is_valid(shard, ATTRS | {"source": "other code"})
    shard.write_bytes(shard.read_bytes()[:-10])
    assert not store.shard_is_valid(shard, ATTRS)
    assert not store.shard_is_valid(shard.parent / "none", ATTRS)


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        store.write_shard(tmp_path / "a.zarr.zip", _arrays(), ATTRS)
    assert os.listdir(tmp_path) == []


def test_a_shard_opens_in_plain_xarray_and_ntkpipe_zip(shard):
    with xr.open_zarr(f"zip::{shard}") as opened:
        for name, (dims, array) in _arrays().items():
            assert opened[name].dims == dims
            np.testing.assert_array_equal(opened[name].values, array)
        assert opened.attrs == ATTRS


# --- public datasets ------------------------------------------------------------------------


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
