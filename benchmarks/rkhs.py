"""Cost of the RKHS analysis of 10 000 kernels on 128 points: `python benchmarks/rkhs.py` (about 2 minutes).

Every quantity of ``rkhs.zarr``, in batches that two processes share, beside a plain loop over kernels that decomposes
anew for every quantity.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import scipy.linalg
from engines import line, ratio
from scipy.special import entr

from ntkpipe.analysis import rkhs

N, EVAL = 128, 64
CELLS, SEEDS, SNAPSHOTS = 100, 10, 10
REG = np.array([1e-8, 1e-4, 1e-2])


def cell(number: int, seeds: int = SEEDS) -> tuple[np.ndarray, ...]:
    """Arguments of ``rkhs.paths``: kernels of 200 features, k^{-1} in size, that move by a tenth a snapshot."""
    rng = np.random.default_rng(number)
    size = np.arange(1.0, 201.0) ** -1
    features = rng.standard_normal((seeds, 1, N + EVAL, 200)) * size
    features = features + 0.1 * np.arange(SNAPSHOTS)[:, None, None] * rng.standard_normal((N + EVAL, 200)) * size
    ntk = features @ np.swapaxes(features[..., :N, :], -2, -1)
    f, y = rng.standard_normal((seeds, SNAPSHOTS, N + EVAL)), rng.standard_normal(N + EVAL)
    return ntk[..., :N, :].copy(), ntk[..., N:, :].copy(), f[..., :N], f[..., N:], y[:N], y[N:], REG


def analyse(number: int) -> tuple[float, float]:
    """(seconds of a core in the analysis, peak memory in GiB) of one cell in this process."""
    arguments = cell(number)
    start = time.process_time()
    rkhs.paths(*arguments)
    return time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def plainly(ntk_train, ntk_eval_train, f_train, f_eval, y, y_eval, diag_reg) -> dict[str, np.ndarray]:
    """``rkhs.paths`` as one would write it first: kernel by kernel, quantity by quantity, from the matrices."""
    found: dict[str, list] = {}

    def keep(name: str, value) -> None:
        found.setdefault(name, []).append(value)

    eye = np.eye(N)
    for seed, snapshot in np.ndindex(ntk_train.shape[:2]):
        k, k_0 = ntk_train[seed, snapshot], ntk_train[seed, 0]
        d = f_train[seed, snapshot] - f_train[seed, 0]
        for reg in diag_reg:
            ridge, ridge_0 = reg * np.trace(k) / N * eye, reg * np.trace(k_0) / N * eye
            keep("target_norm", y @ np.linalg.solve(k + ridge, y))
            alpha = np.linalg.solve(k + ridge, y)
            keep("interpolant_norm", alpha @ k @ alpha)
            keep("learned_norm", d @ np.linalg.solve(k + ridge, d))
            keep("learned_norm_initial", d @ np.linalg.solve(k_0 + ridge_0, d))
            keep("effective_dimension", np.trace(k @ np.linalg.inv(k + ridge)))
            pencil = scipy.linalg.eigh(k, k_0 + ridge_0, eigvals_only=True)
            keep("pencil_smallest", pencil[0])
            keep("pencil_largest", pencil[-1])
            keep("pencil_back", scipy.linalg.eigh(k_0, k + ridge, eigvals_only=True)[-1])
            logs = [np.log(np.linalg.eigvalsh(part + ridge_0)).sum() for part in (k, k_0)]
            keep("log_det_ratio", (logs[0] - logs[1]) / N)
            for f, at in ((np.zeros(N), np.zeros(EVAL)), (f_train[seed, 0], f_eval[seed, 0])):
                g = at + ntk_eval_train[seed, snapshot] @ np.linalg.solve(k + ridge, y - f)
                g_0 = at + ntk_eval_train[seed, 0] @ np.linalg.solve(k_0 + ridge_0, y - f)
                keep("interpolant_mse", np.mean((g - y_eval) ** 2))
                inverse = np.linalg.inv(k + ridge)
                keep("interpolant_loo", np.mean((inverse @ (y - f) / np.diag(inverse)) ** 2))
                keep("distance_network", np.sqrt(np.mean((f_eval[seed, snapshot] - g) ** 2)))
                keep("distance_initial", np.sqrt(np.mean((f_eval[seed, snapshot] - g_0) ** 2)))
                keep("distance_moved", np.sqrt(np.mean((g - g_0) ** 2)))
        top = [np.linalg.eigh(part)[1][:, -rkhs.RANK :] for part in (k_0, k)]
        keep("principal_angle", scipy.linalg.subspace_angles(*top)[::-1])
        values = np.linalg.eigvalsh(k)[::-1]
        keep("decay_exponent", -np.polyfit(np.log(np.arange(2, N + 1)), np.log(values[1:]), 1)[0])
        values = np.linalg.eigvalsh(k)
        keep("effective_rank", np.exp(entr(values / values.sum()).sum()))
        values = np.linalg.eigvalsh(k)
        keep("participation_ratio", values.sum() ** 2 / np.sum(values**2))
        keep("condition", np.linalg.cond(k))
        keep("target_norm_free", y @ np.linalg.solve(k, y))
    return {name: np.array(value) for name, value in found.items()}


def main() -> None:
    """Print the table."""
    few = cell(0, 2)
    mine, plain = rkhs.paths(*few), plainly(*few)
    for name, value in plain.items():
        ours = mine[name]
        ours = np.swapaxes(ours, -2, -1) if rkhs.PATHS[name][0][-2:] == ("start", "diag_reg") else ours
        np.testing.assert_allclose(value, ours.reshape(value.shape), rtol=1e-4, atol=1e-8, err_msg=name)

    def clock(call):
        def once() -> float:
            start = time.perf_counter()
            call(*few)
            return (time.perf_counter() - start) / (2 * SNAPSHOTS)

        return once

    slow, fast, r = ratio(clock(plainly), clock(rkhs.paths))
    what = f"a loop that decomposes anew / rkhs.paths, N = {N}, {len(REG)} ridges"
    line(what, f"{slow * 1e3:.1f} ms / {fast * 1e3:.1f} ms = {r:.1f}", ">= 3")
    slow, fast, r = ratio(clock(rkhs.paths), clock(lambda ntk, *_: np.linalg.eigh(ntk)))
    line("rkhs.paths / one eigendecomposition a kernel", f"{slow * 1e3:.1f} ms / {fast * 1e3:.1f} ms = {r:.1f}", "<= 6")

    start = time.perf_counter()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(analyse, range(CELLS)))
    wall, spent, memory = time.perf_counter() - start, sum(p[0] for p in parts), max(p[1] for p in parts)
    what = f"{CELLS * SEEDS * SNAPSHOTS} kernels of {N} x {N} in full, two processes"
    line(what, f"{wall:.0f} s with making them, {spent:.0f} s of a core", "< 120 s")
    line("peak memory of a process", f"{memory:.2f} GiB", "<= 1 GiB")


if __name__ == "__main__":
    main()
