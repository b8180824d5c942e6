"""Datasets -> figures: SVG, PDF and PNG, readable in print."""

from __future__ import annotations

from pathlib import Path

from ntkpipe import kinds, layout, store
from ntkpipe.plan import Study


def run(study: Study) -> None:
    """Draw every figure of a study into ``<folder>/figures``."""
    import matplotlib

    matplotlib.use("Agg")
    from ntkpipe.figures import style

    drawers, kind = kinds.load(study, "figures").FIGURES, kinds.of(study)
    needed = [*kind.tables(study), *(["sums"] if study.shards and kind.sums else [])]
    data = {name: store.read_rows(Path(study.folder) / f"{name}.zarr") for name in needed}
    folder = Path(study.folder) / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    with style.applied():
        for name in kind.figures(study):
            try:
                figure = drawers[name](data)
            except style.NothingToDraw as nothing:
                figure = style.blank(name, str(nothing))
            style.settle(figure)
            for ext in layout.FORMATS:
                style.save(figure, folder / f"{name}.{ext}")
            matplotlib.pyplot.close(figure)
