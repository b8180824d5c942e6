"""Studies made whole, for the tests of what is done with them."""

import pytest

from ntkpipe import collect, kinds


@pytest.fixture(scope="session")
def made(make_study, draw_study, quickly):
    """A function: results folder and keys of one study -> that study, drawn, collected and analysed."""

    def build(folder, **keys):
        study = make_study(results=folder, **keys)
        with quickly():
            draw_study(study)
        collect.run(study)
        kinds.load(study, "analyse").run(study)
        return study

    return build
