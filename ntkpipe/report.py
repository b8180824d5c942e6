"""All studies -> one self-contained HTML report, a verification page, methods paragraph and BibTeX."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from ntkpipe import layout, provenance, tables
from ntkpipe.plan import Plan, Study, duration

REFERENCES = {
    "HaninNica2019": """@article{HaninNica2019,
  title = {Finite Depth and Width Corrections to the Neural Tangent Kernel},
  author = {Hanin, Boris and Nica, Mihai},
  year = {2019}, eprint = {1909.05989}, archivePrefix = {arXiv}
}""",
    "Jacot2018": """@inproceedings{Jacot2018,
  title = {Neural Tangent Kernel: Convergence and Generalization in Neural Networks},
  author = {Jacot, Arthur and Gabriel, Franck and Hongler, Cl{\\'e}ment},
  booktitle = {Advances in Neural Information Processing Systems}, year = {2018}
}""",
    "Lu2021": """@article{Lu2021,
  title = {Householder Dice: A Matrix-Free Algorithm for Simulating Dynamics on Gaussian and Random Orthogonal Ensembles},
  author = {Lu, Yue M.}, journal = {IEEE Transactions on Information Theory}, volume = {67}, year = {2021}
}""",
    "ZouDonner2008": """@article{ZouDonner2008,
  title = {Construction of confidence limits about effect measures: A general approach},
  author = {Zou, G. Y. and Donner, Allan}, journal = {Statistics in Medicine}, volume = {27}, year = {2008}
}""",
    "Molder2021": """@article{Molder2021,
  title = {Sustainable data analysis with Snakemake},
  author = {M{\\"o}lder, Felix and others}, journal = {F1000Research}, volume = {10}, year = {2021}
}""",
}

METHODS = {
    "origin": "through the origin",
    "prefactor": "free prefactor",
    "exact_prefactor": "exact prefactor",
}

PINNED_BY = {
    "scalar": "tests/laws/test_engines.py::test_scalar_moments_agree_with_exact",
    "guided": "tests/laws/test_guided.py::test_guided_second_moment",
    "matrix_free": "tests/laws/test_engines.py::test_gram_engines_agree",
    "dense": "tests/laws/test_engines.py::test_scalar_and_dense_agree",
    "exact": "tests/unit/theory/test_moments.py",
}


def run(plan: Plan) -> str:
    """Write the report into ``<results>/report``; return where it is."""
    folder = Path(plan.config.results) / "report"
    folder.mkdir(parents=True, exist_ok=True)
    sections = [_section(study) for study in plan.studies.values()]
    environment = Environment(
        loader=PackageLoader("ntkpipe"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    methods = methods_paragraph(plan, sections)
    bibliography = "\n\n".join(REFERENCES.values()) + "\n"
    context = {
        "title": plan.config.title,
        "sections": sections,
        "methods": methods,
        "bibliography": bibliography,
        "commit": provenance.git_commit(),
        "versions": provenance.versions(),
    }
    (folder / "methods.md").write_text(methods + "\n")
    (folder / "references.bib").write_text(bibliography)
    for page in ("verification", "index"):
        (folder / f"{page}.html").write_text(environment.get_template(f"{page}.html.j2").render(context))
    return f"report: {folder / 'index.html'}"


def _section(study: Study) -> dict[str, Any]:
    moments, fits = tables.load(study, "moments"), tables.load(study, "fits")
    timings = job_timings(study)
    return {
        "name": study.name,
        "study": study,
        "is_gram": study.is_gram,
        "figures": [_figure(study, name) for name in layout.figure_names(study)],
        "answer": answer(fits),
        "fits": fits_table(fits),
        "typical": typical_table(fits),
        "gram": gram_table(study),
        "undersampled": moments[moments.undersampled == 1][
            ["depth", "width", "beta", "bias_init", "engine", "sampling", "ess", "tail_share", "s2_relative_error_exact"]
        ].map(tables.number).to_dict("records"),
        "n_cells": len(moments),
        "n_draws": float(moments.n_samples.sum()),
        "jobs": len(study.jobs),
        "core_seconds": timings,
        "core_time": duration(timings),
        "notes": study.notes,
        "verification": verification(study, moments),
        "coverage": agreement(moments),
    }


def _figure(study: Study, name: str) -> dict[str, str]:
    image = (Path(study.folder) / "figures" / f"{name}.svg").read_bytes()
    caption = Path(__file__).parent / "captions" / f"{name}.rst"
    return {
        "name": name,
        "uri": "data:image/svg+xml;base64," + base64.b64encode(image).decode(),
        "caption": caption.read_text().strip(),
    }


def job_timings(study: Study) -> float:
    """Core-seconds of the sampling jobs, from Snakemake's benchmark files."""
    seconds = 0.0
    for job in study.jobs:
        file = Path(study.folder) / "logs" / f"sample_{job.number}.tsv"
        if file.is_file():
            frame = pd.read_csv(file, sep="\t", na_values="-")
            used = frame["cpu_time"] if "cpu_time" in frame else frame["s"]
            seconds += float(np.nansum(np.where(used.notna(), used, frame["s"])))
    return seconds


def answer(fits: pd.DataFrame) -> str:
    """One sentence per bias setting: the fitted c of the widest network, with interval and exact reference."""
    rows = fits[(fits.quantity == "s2") & (fits.method == "prefactor")]
    sentences = []
    for bias, part in rows.groupby("bias_init"):
        row = part.sort_values("width").iloc[-1]
        text = {"none": "without biases", "zero": "with trained biases", "normal": "with random biases"}[bias]
        exact = "" if np.isnan(row.reference) else f" (exact for these cells: {row.reference:.2f})"
        sentences.append(
            f"{text}, width {row.width}, beta in [{row.beta_min:.3g}, {row.beta_max:.3g}]: "
            f"c = {row.estimate:.2f} [{row.low:.2f}, {row.high:.2f}]{exact}"
        )
    return "; ".join(sentences)


def fits_table(fits: pd.DataFrame) -> list[dict[str, Any]]:
    """Fits of S2 over the range, one row each."""
    return _fit_rows(fits[(fits.quantity == "s2") & fits.method.isin(METHODS)])


def typical_table(fits: pd.DataFrame) -> list[dict[str, Any]]:
    """Fits of typical values."""
    return _fit_rows(fits[(fits.quantity != "s2") & fits.method.isin(METHODS)])


def _fit_rows(rows: pd.DataFrame) -> list[dict[str, Any]]:
    rows = rows.sort_values(["quantity", "bias_init", "method", "width"])
    return [
        {
            "quantity": row.quantity,
            "width": row.width,
            "bias_init": row.bias_init,
            "method": METHODS[row.method],
            "c": f"{row.estimate:.3f}",
            "interval": f"[{row.low:.3f}, {row.high:.3f}]",
            "reference": "" if np.isnan(row.reference) else f"{row.reference:.3f}",
            "limit": "" if np.isnan(row.limit) else f"{row.limit:.3f}",
            "range": f"{row.beta_min:.3g} to {row.beta_max:.3g}",
            "n_cells": row.n_cells,
        }
        for row in rows.itertuples()
    ]


def gram_table(study: Study) -> list[dict[str, Any]]:
    """Gram spectra by cell, where the study has them."""
    if not study.is_gram:
        return []
    return tables.load(study, "gram")[tables.COLUMNS["gram"]].map(tables.number).to_dict("records")


def verification(study: Study, moments: pd.DataFrame) -> list[dict[str, Any]]:
    """Each S2 estimate beside its exact value, z-score, an independent engine's estimate and its test."""
    rows = []
    shape = ["widths", "depth", "bias_init", "activation", "parametrization", "sigma_b"]
    for i, row in moments.iterrows():
        same = (moments[shape] == row[shape]).all(axis=1) & (moments.index != i)
        others = [
            f"{'guided' if o.sampling == 'guided' else o.engine}: {o.s2:.4g} [{o.s2_low:.4g}, {o.s2_high:.4g}]"
            for o in moments[same].itertuples()
        ]
        sampler = "guided" if row.sampling == "guided" else row.engine
        rows.append(
            {
                "cell": f"depth {row.depth}, width {row.width or row.widths}, biases {row.bias_init}",
                "sampler": sampler,
                "estimate": f"{row.s2:.5g} [{row.s2_low:.5g}, {row.s2_high:.5g}]",
                "exact": tables.number(float(row.s2_exact)),
                "inside": _inside(row),
                "z": tables.number(float(row.s2_z)),
                "undersampled": bool(row.undersampled),
                "other": "; ".join(others),
                "test": PINNED_BY[sampler],
            }
        )
    return rows


def _inside(row: pd.Series) -> str:
    if np.isnan(row.s2_exact) or np.isnan(row.s2_low):
        return ""
    return "yes" if row.s2_low <= row.s2_exact <= row.s2_high else "no"


def agreement(moments: pd.DataFrame) -> str:
    """How many trusted intervals hold the exact value."""
    trusted = moments[(moments.undersampled == 0) & moments.s2_exact.notna() & (moments.n_samples > 0)]
    if not len(trusted):
        return "no trusted estimate has an exact value beside it"
    inside = ((trusted.s2_low <= trusted.s2_exact) & (trusted.s2_exact <= trusted.s2_high)).sum()
    worst = trusted.s2_z.abs().max()
    return f"{inside} of {len(trusted)} trusted 95 % intervals hold the exact value; the largest |z| is {worst:.2f}"


def methods_paragraph(plan: Plan, sections: list[dict[str, Any]]) -> str:
    """A paragraph for a paper: grid, draws, estimators, versions, core-hours."""
    versions = provenance.versions()
    parts = []
    for section in sections:
        study: Study = section["study"]
        betas = [cell.network.beta for cell in study.cells]
        widths = sorted({cell.coords["width"] for cell in study.cells})
        engines = sorted({"guided scalar" if c.sampling == "guided" else c.engine.replace("_", "-") for c in study.cells})
        parts.append(
            f"Study '{study.name}' draws {study.config.seeds} independent networks in each of {len(study.cells)} cells "
            f"(widths {', '.join(map(str, widths))}; depths {min(c.network.depth for c in study.cells)} to "
            f"{max(c.network.depth for c in study.cells)}; beta {min(betas):.3g} to {max(betas):.3g}; "
            f"{study.cells[0].n_inputs} input(s), n_0 = {study.cells[0].network.input_dim}) "
            f"with the engine(s) {', '.join(engines)}, in {section['core_seconds'] / 3600:.3f} core-hours."
        )
    return (
        "We measured the neural tangent kernel (Jacot et al., 2018) of fully-connected networks at initialization with "
        f"ntkpipe {versions['ntkpipe']} (commit {provenance.git_commit()[:12]}). beta is the sum of inverse hidden widths. "
        + " ".join(parts)
        + " S2 = E[K^2]/E[K]^2 is the ratio of sample moments with a studentized bootstrap interval over blocks on the log scale; "
        "cells whose exact relative standard error (or, where there is none, effective sample size) is out of tolerance are "
        "flagged undersampled and left out of fits. Importance-sampled cells use paths guided by the moments of a network of "
        "3/4 of the width. Exact finite-width moments come from the transfer-matrix recursion of the ReLU kernel's law; Gram "
        "matrices are drawn matrix-free (cf. Lu, 2021). Slopes are unweighted least squares of log S2 on beta with intervals "
        "by variance recovery (Zou & Donner, 2008), compared with exp(5 beta) (Hanin & Nica, 2019). Run with Snakemake "
        f"{versions['snakemake']} (Moelder et al., 2021), Python {versions['python']}, NumPy {versions['numpy']}, "
        f"JAX {versions['jax']}, xarray {versions['xarray']}, zarr {versions['zarr']}."
    )
