"""All studies -> one self-contained HTML report, a verification page, methods paragraph and BibTeX."""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ntkpipe import kinds, layout, provenance
from ntkpipe.plan import Plan, Study, duration
from ntkpipe.progress import seconds_spent


def run(plan: Plan) -> str:
    """Write the report into ``<results>/report``; return where it is."""
    folder = Path(plan.config.results) / "report"
    folder.mkdir(parents=True, exist_ok=True)
    rooms = {study.config.kind: kinds.load(study, "report") for study in plan.studies.values()}
    sections = [placed(common(study) | rooms[study.config.kind].section(study)) for study in plan.studies.values()]
    environment = Environment(
        loader=PackageLoader("ntkpipe"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    context = {
        "title": plan.config.title,
        "sections": sections,
        "studies": methods_context(sections),
        "kinds_methods": [room.METHODS for room in rooms.values()],
        "commit": provenance.git_commit(),
        "versions": provenance.versions(),
    }
    context["methods"] = methods = " ".join(environment.get_template("methods.md.j2").render(context).split())
    context["bibliography"] = bibliography = environment.get_template("references.bib").render()
    (folder / "methods.md").write_text(methods + "\n")
    (folder / "references.bib").write_text(bibliography)
    for page in ("verification", "index"):
        (folder / f"{page}.html").write_text(environment.get_template(f"{page}.html.j2").render(context))
    return f"report: {folder / 'index.html'}"


def common(study: Study) -> dict[str, Any]:
    """What the report says of a study of any kind."""
    seconds = seconds_spent(study)
    return {
        "name": study.name,
        "study": study,
        "figures": [_figure(study, name) for name in kinds.of(study).figures(study)],
        "methods": "",
        "question": "",
        "answer": "",
        "topics": [],
        "more_fits": [],
        "tables": [],
        "lead_tables": [],
        "cross_check": [],
        "n_cells": len(study.cells),
        "n_draws": float(sum(shard.stop - shard.start for shard in study.shards)),
        "core_seconds": seconds,
        "core_time": duration(seconds),
        "notes": study.notes,
        "datasets": layout.datasets(study) + layout.collected(study),
        "table_files": [f"{study.folder}/tables/{name}.csv" for name in kinds.of(study).tables(study)],
    }


def placed(section: dict[str, Any]) -> dict[str, Any]:
    """The section with its topics' figures beside them, and the others left for after them."""
    pictures = {figure["name"]: figure for figure in section["figures"]}
    topics = [
        topic._asdict() | {"figures": [pictures.pop(name) for name in topic.figures if name in pictures]}
        for topic in section["topics"]
        if topic.said
    ]
    return section | {"topics": topics, "figures": list(pictures.values())}


def _figure(study: Study, name: str) -> dict[str, str]:
    image = (Path(study.folder) / "figures" / f"{name}.svg").read_bytes()
    empty = re.search(rb"<dc:description>(.*?)</dc:description>", image, re.DOTALL)
    return {
        "name": name,
        "empty": html.unescape(empty[1].decode()) if empty else "",
        "uri": "data:image/svg+xml;base64," + base64.b64encode(image).decode(),
        "caption": Path(layout.caption(study, name)).read_text().strip(),
    }


def methods_context(sections: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the methods paragraph says of each study: grid, draws, engines, core-hours."""
    rows = []
    for section in sections:
        study: Study = section["study"]
        networks = [cell.network for cell in study.cells]
        rows.append(
            {
                "name": study.name,
                "methods": section["methods"],
                "seeds": study.config.seeds,
                "n_cells": len(networks),
                "widths": ", ".join(dict.fromkeys(str(c.coords["width"] or c.coords["widths"]) for c in study.cells)),
                "drawn": any(cell.engine != "exact" for cell in study.cells),
                "depths": (min(n.depth for n in networks), max(n.depth for n in networks)),
                "betas": (min(n.beta for n in networks), max(n.beta for n in networks)),
                "n_inputs": study.cells[0].n_inputs,
                "input_dim": networks[0].input_dim,
                "engines": ", ".join(
                    sorted({"guided scalar" if c.sampling == "guided" else c.engine for c in study.cells})
                ),
                "is_gram": study.is_gram,
                "guided": any(cell.sampling == "guided" for cell in study.cells),
                "core_hours": section["core_seconds"] / 3600,
            }
        )
    return rows
