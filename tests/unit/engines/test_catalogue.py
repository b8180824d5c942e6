"""The catalogue: costs grow as the table says, and every engine loads."""

from dataclasses import replace

import pytest

from ntkpipe import costs
from ntkpipe.engines import catalogue
from ntkpipe.engines.catalogue import Task
from ntkpipe.networks import Network
from ntkpipe.theory import moments

ENGINES = ("scalar", "matrix_free", "dense")


def _task(width=64, depth=8, k=1, **keys):
    return Task(Network(10, (width,) * depth, **keys), k, "float64", "plain")


@pytest.mark.parametrize(("engine", "sampling"), [*((e, "plain") for e in ENGINES), ("scalar", "guided")])
def test_every_engine_loads_and_draws(engine, sampling):
    module = catalogue.load(engine, sampling)
    assert module.__name__.endswith("guided" if sampling == "guided" else engine)
    assert callable(module.sample)


@pytest.mark.parametrize(("engine", "power"), [("scalar", 0), ("matrix_free", 1), ("dense", 2)])
def test_cost_grows_with_the_width_as_the_table_says(engine, power):
    low, high = (costs.seconds_per_draw(engine, _task(width=n)) for n in (2**14, 2**15))
    assert high / low == pytest.approx(2**power, rel=0.1)


@pytest.mark.parametrize("engine", ENGINES)
def test_cost_is_linear_in_the_depth(engine):
    low, high = (costs.seconds_per_draw(engine, _task(depth=d)) for d in (1000, 2000))
    assert high / low == pytest.approx(2, rel=0.1)


def test_exact_costs_nothing():
    assert costs.seconds_per_draw("exact", _task()) == 0


@pytest.mark.parametrize("engine", ["matrix_free", "dense"])
def test_memory_grows_at_least_with_the_weights_or_activations(engine):
    for width in (64, 4096, 2**15):
        task = _task(width=width, depth=4, k=3)
        held = task.network.n_parameters if engine == "dense" else 3 * sum(task.network.widths)
        assert costs.bytes_needed(engine, task) >= 8 * held


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({}, ()),
        ({"activation": "tanh"}, ("exact", "scalar")),
        ({"bias_init": "normal"}, ("exact", "scalar")),
        ({"bias_init": "zero"}, ()),
        ({"parametrization": "standard"}, ()),
    ],
)
def test_what_engines_refuse(change, refused):
    task = _task()
    task = replace(task, network=replace(task.network, **change))
    for engine in ("exact", *ENGINES):
        assert (catalogue.refuse(engine, task) is not None) == (engine in refused)
    assert (moments.refuse(task.network) is None) == ("exact" not in refused)
