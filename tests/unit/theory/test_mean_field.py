"""The mean-field limit by quadrature: exact kernels and moments at the start, order of the flow, symmetries."""

import numpy as np
import pytest

from ntkpipe import angles
from ntkpipe.networks import Network
from ntkpipe.theory import infinite_width, mean_field

X = angles.on_circle(angles.equal(16))
Y = np.cos(angles.equal(16)) + 0.5 * np.cos(2 * angles.equal(16))


def network(activation="relu", **keys) -> Network:
    return Network(2, (8,), activation, parametrization="mean_field", **keys)


@pytest.mark.parametrize(
    ("activation", "settings", "tolerance"),
    [
        ("relu", {"sigma_v": 1.5, "sigma_w": 1.1}, 1e-4),  # kinks on the grid of angles: (2 pi/256)^2/6
        ("leaky_relu", {}, 1e-4),
        ("linear", {}, 1e-12),
        ("tanh", {"sigma_w": 1.0}, 1e-5),
        ("erf", {"readout": "frozen", "sigma_w": 1.0}, 1e-5),
    ],
)
def test_the_kernel_at_the_start_is_that_of_infinite_width(activation, settings, tolerance):
    net = network(activation, **settings)
    start = mean_field.quadrature(activation, 256, 24)
    assert start.p.sum() == pytest.approx(1.0, rel=1e-12) and (start.p > 0).all()
    f, ntk = mean_field.look(net, start, X)
    exact = infinite_width.kernels(Network(2, (8,), activation, **settings), X).ntk
    np.testing.assert_allclose(f, 0.0, atol=1e-12)
    np.testing.assert_allclose(ntk, exact, atol=tolerance * exact.max())


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_moments_and_kernel_variance_at_the_start(activation):
    start = mean_field.quadrature(activation, 128, 24)
    exact = np.array(list(mean_field.at_start(2).values()))
    found = mean_field.moments(start, activation == "relu")
    # |a||w| has kinks at a = 0 and w = 0, which Gauss nodes see to about one over their number
    np.testing.assert_allclose(found, exact[:, 0], rtol=1 / 24)
    np.testing.assert_allclose(found[[0, 1, 2, 4]], exact[[0, 1, 2, 4], 0], rtol=1e-6)
    rng = np.random.default_rng(0)
    a, w = rng.normal(size=200_000), rng.normal(size=(200_000, 2))
    drawn = np.stack([psi(a, w) for psi in mean_field.TESTS.values()], axis=1)
    error = drawn.std(axis=0) / np.sqrt(len(a))
    assert (np.abs(drawn.mean(axis=0) - exact[:, 0]) < 4 * error).all()
    np.testing.assert_allclose(drawn.var(axis=0), exact[:, 1], rtol=0.05)
    net = network(activation)
    one = np.ones(1)
    parts = np.array([mean_field.look(net, mean_field.Particles(one, a[[i]], w[[i]]), X)[1] for i in range(1000)])
    squares = np.sum((parts - mean_field.look(net, start, X)[1]) ** 2, axis=(1, 2))
    exact_variance = mean_field.kernel_variance(net, start, X)
    assert abs(squares.mean() - exact_variance) < 4 * squares.std() / np.sqrt(len(squares))


def test_steps_come_to_the_flow_at_their_order():
    """A smooth phi: descent is off by O(eta), Runge-Kutta by O(eta^4)."""
    net, start = network("tanh"), mean_field.quadrature("tanh", 16, 6)
    exact = mean_field.follow(net, start, [64], X, Y, 0.4 / 64, flow=True).f[0]
    for flow, order in ((False, 1), (True, 4)):
        errors = [
            np.abs(mean_field.follow(net, start, [k], X, Y, 0.4 / k, flow).f[0] - exact).max() for k in (4, 8, 16)
        ]
        slopes = np.log2(np.array(errors[:-1]) / errors[1:])
        assert (np.abs(slopes - order) < 0.35).all(), (flow, slopes)


def test_the_limit_keeps_the_symmetry_of_the_target():
    """y(-theta) = y(theta): so are f_t and K_t, and the loss falls along the flow."""
    path = mean_field.follow(network(), mean_field.quadrature("relu", 64, 8), [0, 10, 30], X, Y, 0.02, flow=True)
    mirror = -np.arange(16) % 16
    np.testing.assert_allclose(path.f[:, mirror], path.f, atol=1e-10)
    np.testing.assert_allclose(path.ntk[:, mirror][:, :, mirror], path.ntk, atol=1e-9)
    loss = np.sum((path.f - Y) ** 2, axis=1)
    assert (np.diff(loss) < 0).all()
    np.testing.assert_allclose(path.moments[:, 4], -1.0, atol=1e-3)  # a^2 - |w|^2 is conserved, up to steps over kinks


def test_nodes_on_a_sphere_follow_the_path_of_all_radii():
    """Phi_t(c theta) = c Phi_t(theta) of ReLU: trained f, K and moments are those of nodes of the whole normal law."""
    steps, eta = [0, 12], 0.02
    sphere = mean_field.follow(network(), mean_field.quadrature("relu", 64, 24), steps, X, Y, eta)
    space = mean_field.follow(network(), mean_field.quadrature("tanh", 64, 24), steps, X, Y, eta)
    np.testing.assert_allclose(sphere.f, space.f, atol=0.01 * np.abs(space.f).max())
    np.testing.assert_allclose(sphere.ntk, space.ntk, atol=0.01 * space.ntk.max())
    assert np.abs(space.ntk[1] - space.ntk[0]).max() > 0.1 * space.ntk.max()


def test_particles_gather_at_the_gates_of_relu():
    """Share of a^2 within 0.002 rad of a gate w.x = 0 of a train point: 16 * 2 * 0.002/(2 pi) = 1 % at the start."""
    shares = {}
    for activation in ("relu", "tanh"):
        start = mean_field.quadrature("relu", 500, 8)  # 500: no node is at a gate
        path = mean_field.follow(network(activation), start, [0, 50], X, Y, 0.0125)
        shares[activation] = []
        for _, a, w in path.particles:
            near = np.abs(w @ X.T).min(axis=1) < 0.002 * np.linalg.norm(w, axis=1)
            shares[activation].append(np.sum(a[near] ** 2) / np.sum(a**2))
    assert shares["relu"][1] > 0.1 and max(shares["tanh"][1], shares["relu"][0]) < 0.03, shares
