"""A bucket mirrors a folder: whole or not at all, nothing put twice, errors that name the key. On a real server."""

import contextlib
import os

import numpy as np
import pytest
import s3fs
import xarray as xr

import ntkpipe
from ntkpipe import remote, store
from ntkpipe.errors import DamagedFile
from ntkpipe.files import parsed

RNG_SEED = 11


@pytest.fixture
def bucket(in_s3, tmp_path):
    return remote.Bucket(f"s3://{in_s3}/folder", tmp_path / "results")


def _file(bucket, name, content):
    path = bucket.results / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _anything(_):
    return True


def test_a_file_comes_back_as_it_went_with_its_notes(bucket):
    path = _file(bucket, "s/shards/a.zarr.zip", b"shard")
    assert bucket.pull(path, _anything) is None
    bucket.put(path, seconds="1.5")
    assert not bucket.push(path)
    path.unlink()
    assert bucket.pull(path, _anything)["seconds"] == "1.5"
    assert path.read_bytes() == b"shard" and os.listdir(path.parent) == ["a.zarr.zip"]
    path.write_bytes(b"drawn by other code")
    assert bucket.push(path)
    assert s3fs.S3FileSystem().cat_file(bucket.address(path)) == b"drawn by other code"


def test_a_file_that_is_not_the_wanted_one_is_not_taken(bucket):
    path = _file(bucket, "a.zarr.zip", b"shard")
    bucket.push(path)
    path.write_bytes(b"mine")
    assert bucket.pull(path, lambda file: file.read_bytes() != b"shard") is None
    s3fs.S3FileSystem().pipe_file(bucket.address(path), b"altered", Metadata={"sha256": "0" * 64})
    assert bucket.pull(path, _anything) is None
    s3fs.S3FileSystem().pipe_file(bucket.address(path), b"put there by hand")
    assert bucket.pull(path, _anything) is None
    assert path.read_bytes() == b"mine" and os.listdir(path.parent) == ["a.zarr.zip"]


def _dataset(scale=1.0, n=12):
    values, more = scale * np.random.default_rng(RNG_SEED).standard_normal((2, 3, n))
    coords = {"width": ("cell", [4, 8, 16]), "beta": ("cell", [0.25, 0.125, 0.0625])}
    return xr.Dataset({"s2": (("cell", "seed"), values), "s4": (("cell", "seed"), more)}, coords, {"study": "s"})


def _publish(bucket, dataset):
    path = bucket.results / "s/moments.zarr"
    store.write_dataset(path, dataset)
    return bucket.push_dataset(path, parsed(path.with_name("moments.zarr.sha256").read_text()))


def test_a_published_dataset_opens_with_and_without_this_package(bucket):
    assert _publish(bucket, _dataset()) and not _publish(bucket, _dataset())
    url = f"{bucket.url}/s/moments.zarr"
    endpoint = {"client_kwargs": {"endpoint_url": os.environ["AWS_ENDPOINT_URL"]}}
    xr.testing.assert_identical(xr.open_zarr(url, storage_options=endpoint).load(), _dataset())
    opened = ntkpipe.open(url)
    np.testing.assert_array_equal(opened.s2.transpose("width", "seed"), _dataset().s2)
    store.verify(url)


def test_a_dataset_takes_the_place_of_another(bucket):
    _publish(bucket, _dataset())
    extra = f"{bucket.url}/s/moments.zarr/old/c/0"
    s3fs.S3FileSystem().pipe_file(extra, b"of an older version")
    with pytest.raises(DamagedFile, match="old/c/0 is not in"):
        ntkpipe.open(f"{bucket.url}/s/moments.zarr")
    assert _publish(bucket, _dataset(2.0, n=7))
    assert not s3fs.S3FileSystem().exists(extra)
    xr.testing.assert_identical(xr.open_zarr(f"{bucket.url}/s/moments.zarr").load(), _dataset(2.0, n=7))


@pytest.mark.parametrize("requests", range(13))
def test_publishing_that_is_cut_off_leaves_nothing_that_opens(bucket, monkeypatch, requests):
    """Whatever number of requests got through: the old dataset, the new one, or none; and once more mends it."""
    old, new, url = _dataset(), _dataset(2.0), f"{bucket.url}/s/moments.zarr"
    _publish(bucket, old)
    left = [requests]

    def cut(name):
        real = remote.Bucket._put if name == "_put" else getattr(bucket._files, name)

        def call(*arguments, **keys):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return real(*arguments, **keys)

        return call

    with monkeypatch.context() as broken:
        broken.setattr(remote, "_REQUESTS", 1)
        put = cut("_put")
        broken.setattr(remote.Bucket, "_put", lambda *arguments: put(*arguments))
        broken.setattr(bucket._files, "rm_file", cut("rm_file"))
        with contextlib.suppress(KeyboardInterrupt):
            _publish(bucket, new)
    assert (left[0] < 0) == (requests < 12)  # the last number is that of all requests
    try:
        seen = ntkpipe.open(url).load()
    except DamagedFile as error:
        assert "moments.zarr" in str(error)
        try:  # without the manifest: the chunks are all there before zarr.json is
            seen = xr.open_zarr(url).load()
        except FileNotFoundError:
            seen = None
    if seen is not None:
        assert any(
            all(np.array_equal(seen[k].values.ravel(), one[k].values.ravel()) for k in one) for one in (old, new)
        )
    _publish(bucket, new)
    xr.testing.assert_identical(xr.open_zarr(url).load(), new)
    store.verify(url)


@pytest.mark.parametrize("damage", ["missing", "altered", "truncated", "manifest"])
def test_damage_in_a_bucket_is_named(bucket, damage):
    _publish(bucket, _dataset())
    files, url = s3fs.S3FileSystem(), f"{bucket.url}/s/moments.zarr"
    chunk = f"{url}/s2/c/0/0"
    content = bytearray(files.cat_file(chunk))
    match damage:
        case "missing":
            files.rm_file(chunk)
            chunk_is = "s2/c/0/0 is missing"
        case "manifest":
            files.rm_file(f"{url}.sha256")
            chunk_is = "moments.zarr.sha256 is missing"
        case "truncated":
            files.pipe_file(chunk, bytes(content[:-1]))
            chunk_is = "s2/c/0/0 is altered"
        case "altered":
            content[len(content) // 2] ^= 1
            files.pipe_file(chunk, bytes(content))
            chunk_is = "s2/c/0/0 is altered"
    with pytest.raises(DamagedFile, match=chunk_is):
        store.verify(url)
    with pytest.raises(Exception, match=r"(?i)checksum|missing|too short|length|crc"):  # opened lazily, read with care
        ntkpipe.open(url).load()


def test_a_manifest_that_names_a_file_outside_takes_none_there_and_is_damaged(bucket):
    path = bucket.results / "s/moments.zarr"
    _publish(bucket, _dataset())
    secret = _file(bucket, "secret", b"mine")
    manifest, name = path.with_name("moments.zarr.sha256"), "moments.zarr/../../secret"
    manifest.write_text(f"{manifest.read_text()}{store.sha256(secret)}  {name}\n")
    with pytest.raises(DamagedFile, match=r"names a file outside moments\.zarr"):
        bucket.push_dataset(path, parsed(manifest.read_text()))
    url, files = f"{bucket.url}/s/moments.zarr", s3fs.S3FileSystem()
    assert not [key for key in files.find(bucket.url) if key.endswith("secret")]
    files.put_file(str(manifest), f"{url}.sha256")
    with pytest.raises(DamagedFile, match=r"names a file outside moments\.zarr"):
        store.verify(url)


NO_KEYS = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None, "HOME": "/nonexistent"}
BAD = {
    "no such bucket": ("s3://not-there/a", {}, "a bucket that exists", "s3://not-there/a"),
    "wrong secret": (None, {"AWS_SECRET_ACCESS_KEY": "wrong"}, "AWS_SECRET_ACCESS_KEY", "signature"),
    "unknown key": (None, {"AWS_ACCESS_KEY_ID": "wrong"}, "AWS_ACCESS_KEY_ID", "does not exist"),
    "no keys": (None, NO_KEYS, "AWS_ACCESS_KEY_ID", "credentials"),
    "no server": (None, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}, "reached", "127.0.0.1:9"),
}


@pytest.mark.parametrize(("url", "environment", "must", "was"), BAD.values(), ids=BAD)
def test_a_bucket_that_cannot_be_used_is_one_line_that_names_the_key(
    in_s3, tmp_path, monkeypatch, url, environment, must, was
):
    for name, value in environment.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(remote.RemoteError) as caught:
        remote.Bucket(url or f"s3://{in_s3}/a", tmp_path).check()
    said = str(caught.value)
    assert said.startswith("execution.remote: must be a bucket") and "\n" not in said
    assert must in said and was in said
    assert "wrong" not in said or "secret" not in said.lower().replace("aws_secret_access_key", "")
