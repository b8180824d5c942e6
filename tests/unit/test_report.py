"""The report: figures, and its glossary, shown where the words are used."""

from types import SimpleNamespace

import pytest
from jinja2 import Environment, PackageLoader, StrictUndefined

from ntkpipe import figures, kinds, report
from ntkpipe.figures import style


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


@pytest.mark.parametrize(
    "reason", ["", "it shows K_t & theta < 1 at *several* widths; this study has none, or is it one? " * 2]
)
def test_a_figure_with_nothing_to_show_is_a_sentence(make_study, monkeypatch, tmp_path, reason):
    """A long reason, with what XML escapes, comes through the file whole."""

    def draw(_):
        if reason:
            raise style.NothingToDraw(reason.strip())
        return style.plt.figure()

    study = make_study()
    monkeypatch.setattr(kinds, "load", lambda *_: SimpleNamespace(FIGURES={"s2": draw}))
    monkeypatch.setattr(kinds, "of", lambda _: SimpleNamespace(figures=lambda _: ["s2"], tables=lambda _: [], sums={}))
    monkeypatch.setattr(report.layout, "caption", lambda *_: tmp_path / "caption.rst")
    (tmp_path / "caption.rst").write_text("What it shows.")
    figures.run(study)
    told = report._figure(study, "s2")
    assert told["empty"] == reason.strip()
    environment = Environment(loader=PackageLoader("ntkpipe"), autoescape=True)
    page = environment.get_template("macros.html.j2").module.picture(told)
    assert ("<figure>" in page) == (not reason) and ("is not drawn: it shows K_t &amp; theta &lt; 1" in page) == bool(
        reason
    )
