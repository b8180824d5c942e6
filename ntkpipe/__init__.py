"""ntkpipe: reproducible beta-scaling studies of the finite-width neural tangent kernel.

>>> import ntkpipe
>>> moments = ntkpipe.open("results/initialization/moments.zarr")   # doctest: +SKIP

Heavy imports (jax, xarray, zarr) happen inside the functions that need them, so that
``import ntkpipe`` and the parsing of the Snakefile stay fast.
"""

__version__ = "0.1.0"


def open(path, storage_options=None):
    """Open a public dataset, on disk or ``s3://``, checked against its manifest: :func:`ntkpipe.store.open_dataset`."""
    from ntkpipe.store import open_dataset

    return open_dataset(path, storage_options=storage_options)
