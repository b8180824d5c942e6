"""What all tests share: one BLAS thread, jax in float64, shape annotations checked at run time.

The import hook must stand before anything imports ``ntkpipe``: from then on every function of the
package checks its jaxtyping annotations with beartype. (Processes that tests start run unhooked.)
"""

from __future__ import annotations

import os
from contextlib import contextmanager

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy starts its threads

from jaxtyping import install_import_hook

# An int is a number where a float is asked for (PEP 484), so norm_squared=1 is no error.
install_import_hook("ntkpipe", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_enable_x64", True)


@pytest.fixture(scope="session")
def study_tree():
    """A function: keys of one study -> a whole config tree with that study, named ``s``."""

    def build(results: object = "results", execution: dict | None = None, **keys) -> dict:
        study = {"kind": "initialization", "grid": {"width": 16, "depth": 2}, "seeds": 100} | keys
        tree = {"results": str(results), "studies": {"s": study}}
        return tree | ({"execution": execution} if execution else {})

    return build


@pytest.fixture(scope="session")
def make_plan(study_tree):
    """A function: keys of one study -> its plan, checked as a run checks it."""
    from ntkpipe import config, plan

    def build(**keys):
        return plan.make(config.parse(study_tree(**keys), "c.yaml"), "c.yaml")

    return build


@pytest.fixture(scope="session")
def make_study(make_plan):
    """A function: keys of one study -> that study, planned."""
    return lambda **keys: make_plan(**keys).studies["s"]


@pytest.fixture(scope="session")
def draw_study():
    """A function that makes all shards of a study, as ``python -m ntkpipe sample`` does."""
    from ntkpipe import kinds, shards

    def draw(study, keep_valid: bool = False) -> None:
        for shard in study.shards:
            attrs = shards.attrs_of(study, shard)
            if keep_valid and shards.is_valid(shard.path, attrs):
                continue
            with shards.scratch(shard.path, attrs) as folder:
                resumes = (folder,) if kinds.of(study).resumes else ()
                shards.write(shard.path, kinds.load(study, "draw").draw(study, shard, *resumes), attrs)

    return draw


@pytest.fixture(scope="session")
def quickly():
    """A context in which most optimizations are left out: a fifth of the time, the same arithmetic up to rounding."""

    @contextmanager
    def context():
        before = jax.config.read("jax_disable_most_optimizations")
        jax.config.update("jax_disable_most_optimizations", True)
        try:
            yield
        finally:
            jax.config.update("jax_disable_most_optimizations", before)

    return context


@pytest.fixture
def quick_compile(quickly):
    """A test that compiles :func:`quickly`."""
    with quickly():
        yield


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """A real S3 server on loopback (moto, which checks signatures) with an empty bucket ``study``.

    What a process needs in its environment to use it; another bucket is there where a test makes it.
    """
    missing = "no S3 server: pip install 'moto[s3]' flask flask-cors (they are in requirements.lock)"
    for module in ("moto", "flask", "flask_cors"):
        pytest.importorskip(module, reason=missing)
    from s3_server import serve

    with serve(tmp_path_factory.mktemp("s3") / "moto.log") as environment:
        yield environment


@pytest.fixture
def in_s3(s3, monkeypatch):
    """This process itself may use the server; the name of a bucket of the test's own."""
    import uuid

    import s3fs

    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    bucket = f"b{uuid.uuid4().hex[:12]}"
    s3fs.S3FileSystem().mkdir(bucket)
    return bucket
