r"""How well N points know the modes of a zonal kernel: exact means and variances, and concentration bounds.

phi = (1, sqrt(2) cos theta, sqrt(2) sin theta, ...), M = 2 Q + 1 modes (:func:`ntkpipe.angles.fourier_modes`), at N
angles drawn uniformly; Phi the N x M matrix, K_ij = k(theta_i - theta_j) with the eigenvalues lambda_q under
dtheta/(2 pi) and kappa = k(0) >= |k|. The Gram matrix is G = Phi^T Phi/N, the compressed operator

.. math:: C = \frac1{N^2} \Phi^T K \Phi, \qquad
    E\,C = \mathrm{diag}\Bigl(\bigl(1 - \tfrac1N\bigr)\lambda + \tfrac{\kappa}{N}\Bigr),

the eigen-action error e_q = (K/N) phi_q - lambda_q phi_q. C is a U-statistic and a diagonal, so its variances are exact
(Hoeffding 1948): with g = phi_a phi_b, h(x, y) = (phi_a(x) phi_b(y) + phi_b(x) phi_a(y)) k(x - y)/2 and
h_1 = E_y h = (lambda_a + lambda_b) g/2,

.. math:: N^4\,\mathrm{Var}\,C_{ab} = 4 N(N-1)(N-2)\,\mathrm{Var}\,h_1 + 2 N(N-1)\,\mathrm{Var}\,h
    + \kappa^2 N\,\mathrm{Var}\,g + 2 \kappa N(N-1) (\lambda_a + \lambda_b)\,\mathrm{Var}\,g.

Bounds hold with probability at least 1 - delta: Hoeffding's inequality for sums of bounded independent terms (1963,
Theorem 2), McDiarmid's for functions that one point moves by at most c (1989, Lemma 1.2).
Source: docs/theory.md section 10.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from ntkpipe import angles


def products(qmax: int) -> Float[np.ndarray, "m m k"]:
    """Coefficients of phi_a phi_b on the modes up to 2 qmax: exact, by quadrature on 4 qmax + 3 equal angles."""
    theta = angles.equal(4 * qmax + 3)
    basis = angles.fourier_modes(theta, 2 * qmax)
    modes = basis[:, : 2 * qmax + 1]
    return np.einsum("ia,ib,ik->abk", modes, modes, basis) / len(theta)


def product_variance(qmax: int) -> Float[np.ndarray, "m m"]:
    """Var phi_a phi_b under dtheta/(2 pi); over N it is that of the Gram matrix's entry."""
    return np.sum(products(qmax) ** 2, axis=-1) - np.eye(2 * qmax + 1)


def on_modes(by_frequency: Float[np.ndarray, " q"]) -> Float[np.ndarray, " m"]:
    """Values of the frequencies 0, 1, ..., qmax for each mode: the first once, the others twice."""
    return by_frequency[angles.mode_frequencies(len(by_frequency) - 1)]


def compressed_mean(eigenvalues: Float[np.ndarray, " q"], kappa: float, n: int) -> Float[np.ndarray, " m"]:
    """(1 - 1/N) lambda + kappa/N: the diagonal of E C; the other entries are 0."""
    return on_modes((1 - 1 / n) * eigenvalues + kappa / n)


def compressed_variance(
    eigenvalues: Float[np.ndarray, " q"], squared: Float[np.ndarray, " q2"], kappa: float, n: int
) -> Float[np.ndarray, "m m"]:
    """Var C_ab; ``squared``: eigenvalues of the kernel k^2 for the frequencies up to 2 qmax.

    Raises
    ------
    ValueError: ``squared`` has another length.
    """
    qmax = len(eigenvalues) - 1
    if len(squared) != 2 * qmax + 1:
        raise ValueError(f"squared must have the frequencies 0 to 2 qmax = {2 * qmax}; it has {len(squared)}")
    values, product = on_modes(eigenvalues), products(qmax)
    both, g = values[:, None] + values, product_variance(qmax)
    own = np.einsum("aak,k,bbk->ab", product, on_modes(squared), product)
    crossed = np.einsum("abk,k,abk->ab", product, on_modes(squared), product)
    h = (own + crossed) / 2 - np.diag(values**2)
    pairs = n * (n - 1)
    return (pairs * ((n - 2) * both**2 * g + 2 * h + 2 * kappa * both * g) + kappa**2 * n * g) / n**4


def action_mean_square(
    eigenvalues: Float[np.ndarray, " q"], squared: float, kappa: float, n: int
) -> Float[np.ndarray, " q"]:
    """E |e_q|^2/N = [(N - 1)(mu_0 - lambda_q^2) + (kappa - lambda_q)^2]/N^2; ``squared``: mu_0 = mean of k^2."""
    return ((n - 1) * (squared - eigenvalues**2) + (kappa - eigenvalues) ** 2) / n**2


def error_rms(
    eigenvalues: Float[np.ndarray, " q"], squared: Float[np.ndarray, " q2"], kappa: float, n: int
) -> dict[str, float]:
    """Root mean squares of |G - I|_F (``gram``), |C - diag lambda|_F (``operator``) and of the leakage from each cos.

    ``leakage q``: root of the sum of C_ab^2 over the modes a of other frequencies than q, b = sqrt(2) cos(q theta).
    """
    qmax = len(eigenvalues) - 1
    m, frequency = 2 * qmax + 1, angles.mode_frequencies(qmax)
    variance = compressed_variance(eigenvalues, squared, kappa, n)
    bias = compressed_mean(eigenvalues, kappa, n) - on_modes(eigenvalues)
    found = {"gram": math.sqrt(m * (m - 1) / n), "operator": math.sqrt(variance.sum() + bias @ bias)}
    for q in range(qmax + 1):
        others = frequency != q
        found[f"leakage {q}"] = math.sqrt(variance[others, cosine(q)].sum())
    return found


def cosine(q: int) -> int:
    """Column of sqrt(2) cos(q theta), of 1 for q = 0."""
    return max(0, 2 * q - 1)


def bounds(
    eigenvalues: Float[np.ndarray, " q"], squared: Float[np.ndarray, " q2"], kappa: float, n: int, delta: float
) -> dict[str, float]:
    r"""What each error exceeds with probability at most delta, with |phi(theta)|^2 = M, s = sup |phi_q|.

    ``gram entry``, max |G - I|_ab: Hoeffding, products within a range of 4, and a union over all entries but the
    constant one: 4 sqrt(log(2 P/delta)/(2 N)), P = M (M + 1)/2 - 1.
    ``gram``, |G - I|_F: McDiarmid with c = sqrt(2) M/N around the root mean square, which is no less than the mean.
    ``operator``, |C - diag lambda|_F: the same with c = kappa M (4 (N - 1) + sqrt(2))/N^2.
    ``leakage q``: c = kappa s r (4 (N - 1) + 2)/N^2, r^2 the sum of phi_a^2 over the modes of other frequencies.
    ``action q``, max_i |e_q(i)|: Hoeffding given theta_i, terms within a range of 2 kappa s, a union over i, and the
    self-term: kappa s sqrt(2 (N - 1) log(2 N/delta))/N + s |kappa - lambda_q|/N.

    Raises
    ------
    ValueError: delta is not between 0 and 1.
    """
    if not 0 < delta < 1:
        raise ValueError(f"delta must lie between 0 and 1; it was {delta}")
    qmax = len(eigenvalues) - 1
    m, rms = 2 * qmax + 1, error_rms(eigenvalues, squared, kappa, n)
    pairs = m * (m + 1) // 2 - 1

    def deviation(c: float) -> float:  # N points, each of which moves the function by c
        return c * math.sqrt(n * math.log(1 / delta) / 2)

    found = {
        "gram entry": 4 * math.sqrt(math.log(2 * pairs / delta) / (2 * n)),
        "gram": rms["gram"] + deviation(math.sqrt(2) * m / n),
        "operator": rms["operator"] + deviation(kappa * m * (4 * (n - 1) + math.sqrt(2)) / n**2),
    }
    for q, value in enumerate(eigenvalues):
        s, r = (math.sqrt(2), math.sqrt(m - 2)) if q else (1.0, math.sqrt(m - 1))
        sampled = kappa * s * math.sqrt(2 * (n - 1) * math.log(2 * n / delta)) / n
        found[f"action {q}"] = sampled + s * abs(kappa - float(value)) / n
        found[f"leakage {q}"] = rms[f"leakage {q}"] + deviation(kappa * s * r * (4 * (n - 1) + 2) / n**2)
    return found


def on_equal_angles(kernel: Float[np.ndarray, " n"], qmax: int) -> tuple[Float[np.ndarray, "m m"], ...]:
    r"""(G, C) on N equal angles 2 pi j/N, from k at them: nothing is random.

    K is circulant, and q and N - q are one function: C = G diag(sum_m lambda_{|q + m N|}), the sum by Fourier transform
    of k, G = I below Nyquist (2 qmax < N): no coupling, and aliasing in place of the self-term.
    """
    theta = angles.equal(len(kernel))
    modes, frequency = angles.fourier_modes(theta, qmax), angles.mode_frequencies(qmax)
    aliased = np.fft.fft(kernel).real / len(kernel)
    gram = modes.T @ modes / len(theta)
    return gram, gram * aliased[frequency % len(kernel)]


def incommensurate(
    omega: Float[np.ndarray, " omega"], qmax: int
) -> tuple[Float[np.ndarray, "omega m"], Float[np.ndarray, "omega m"]]:
    r"""Of cos(omega theta), theta in [-pi, pi): coefficients on the modes, and sqrt(N) times their sd on N points.

    .. math:: a_q = \frac{\sqrt2 (-1)^q\, \omega \sin \pi\omega}{\pi (\omega^2 - q^2)} \quad (q > 0), \qquad
        a_0 = \frac{\sin \pi \omega}{\pi \omega},

    on the cosines and 0 on the sines; with sinc(x) = sin(pi x)/(pi x) the variance of phi_q cos(omega theta) is
    [1 + sinc(2 w)]/2 +- [sinc(2 w + 2 q) + sinc(2 w - 2 q)]/4 - a_q^2, + on cosines, - on sines, neither on q = 0.
    """
    frequency = angles.mode_frequencies(qmax)
    parity = np.where(frequency == 0, 0, np.where(np.arange(2 * qmax + 1) % 2 == 1, 1, -1))
    w, q = omega[:, None], frequency[None, :]
    scale = np.where(parity == 0, 1.0, np.where(parity > 0, math.sqrt(2), 0.0))
    mean = scale * (np.sinc(w - q) + np.sinc(w + q)) / 2  # the same as above, in a form without a pole
    square = (1 + np.sinc(2 * w)) / 2 + parity * (np.sinc(2 * w + 2 * q) + np.sinc(2 * w - 2 * q)) / 4
    return mean, np.sqrt(np.maximum(square - mean**2, 0.0))
