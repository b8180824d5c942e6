"""The report's glossary: shown where the words are used."""

from types import SimpleNamespace

import pytest
from jinja2 import Environment, PackageLoader, StrictUndefined

from ntkpipe import kinds


def glossary(*names: str) -> str:
    environment = Environment(loader=PackageLoader("ntkpipe"), autoescape=True, undefined=StrictUndefined)
    studies = [SimpleNamespace(config=SimpleNamespace(kind=name)) for name in names]
    return environment.get_template("glossary.html.j2").render(sections=[{"study": study} for study in studies])


@pytest.mark.parametrize("name", kinds.NAMES)
def test_the_glossary_is_there_for_training_and_membership(name):
    for names in ((name,), ("initialization", name), (name, "first_step")):
        text = glossary(*names)
        assert (text.strip() != "") == (name in ("trajectory", "membership"))
        assert text.count("<dt>") == text.count("</dd>")


def test_the_glossary_has_the_regimes_that_runs_may_have():
    from ntkpipe.analysis.regimes import REGIMES

    assert all(f"{name}: " in glossary("trajectory") for name in REGIMES)
