"""What the workflow makes, by name: the bridge between a plan and the Snakemake rules.

Light to import: the Snakefile is parsed anew by every cluster job.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from ntkpipe import config as configuration
from ntkpipe import kinds
from ntkpipe import plan as planning
from ntkpipe.engines import catalogue
from ntkpipe.errors import ConfigError
from ntkpipe.files import beside
from ntkpipe.plan import Job, Plan, Study
from ntkpipe.provenance import source_hash, text_hash

FORMATS = ("svg", "pdf", "png")


def plan_from(tree: dict[str, Any], files: list[str]) -> Plan:
    """The plan of the config that Snakemake has merged from files and the command line.

    Raises
    ------
    ConfigError: anything in it is wrong.
    """
    source = str(files[-1]) if files else "config"
    for file in files:  # Snakemake's loader keeps the last of two equal keys without a word; ours refuses
        configuration.read_tree(file)
    tree = dict(tree)
    if isinstance(said := tree.get("execution"), dict):  # a profile's and the command line's numbers come as text
        tree["execution"] = {
            k: _read(v, f"{source}: execution.{k}") if isinstance(v, str) else v for k, v in said.items()
        }
    plan = planning.make(configuration.parse(tree, source), source)
    keep_own(plan, files, source)
    return plan


def _read(text: str, key: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(key, "a plain value", text) from None


def use_this_python(checkout: str) -> None:
    """Let the rules' ``python -m ntkpipe`` be this interpreter, and this checkout where nothing is installed."""
    for name, first in (("PATH", str(Path(sys.executable).parent)), ("PYTHONPATH", checkout)):
        os.environ[name] = os.pathsep.join(filter(None, [first, os.environ.get(name)]))


def resolved(plan: Plan) -> Path:
    """Where every step reads the merged config."""
    return Path(plan.config.results) / "config.yaml"


def _resolved_bytes(plan: Plan) -> bytes:
    return yaml.safe_dump(plan.config.model_dump(mode="json", exclude_none=True), sort_keys=False).encode()


def keep_own(plan: Plan, files: list[str], source: str) -> None:
    """Refuse results where a run would write its config over one of these files.

    Raises
    ------
    ConfigError: one is ``<results>/config.yaml``, and another text than a run writes.
    """
    path = resolved(plan)
    ours = path.is_file() and any(os.path.exists(file) and os.path.samefile(file, path) for file in files)
    if ours and path.read_bytes() != _resolved_bytes(plan):
        must = (
            "another folder than that of this config.yaml: a run would write over it (or the file is named otherwise)"
        )
        raise ConfigError(f"{source}: results", must, plan.config.results)


def check(plan: Plan, files: list[str]) -> None:
    """Refuse a run that this machine cannot end; before it draws anything.

    Raises
    ------
    UserError: too little room on the disk, or no sign of the scheduler that ``execution.dask`` asks for.
    """
    from ntkpipe import disk, parallel

    disk.check(plan, str(files[-1]) if files else "config")
    parallel.check(plan.config.execution.dask)


def write_resolved(plan: Plan) -> None:
    """Write the merged config; once a run holds the lock, so that a dry run beside it changes nothing."""
    path, text = resolved(plan), _resolved_bytes(plan)
    if not path.exists() or path.read_bytes() != text:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError("results", f"a folder that can be made ({error.strerror})", plan.config.results) from None
        with beside(path) as temporary:
            temporary.write_bytes(text)
            os.replace(temporary, path)
    if plan.config.execution.remote is not None:  # no draw is made that could not be put there
        from ntkpipe import remote

        remote.Bucket(plan.config.execution.remote, plan.config.results).begin(path)


def code(*modules: str, studies: Iterable[Study] = (), rooms: tuple[str, ...] = ()) -> str:
    """Hash of the code of a step: modules, and these rooms of the studies' kinds; changed code reruns the step."""
    own = {kinds.module(study, *room) for study in studies for room in ((), *((room,) for room in rooms))}
    return source_hash(*modules, *sorted(own))


def sample_code(study: Study, job: Job) -> str:
    """Hash of the code that a sampling job runs."""
    cells = {(shard.cell.engine, shard.cell.sampling) for shard in job.shards}
    modules = {name for cell in cells for name in catalogue.code(*cell, study.config.kind)}
    return source_hash(*sorted(modules))


def settings(study: Study) -> str:
    """What of a study's config the steps after sampling depend on."""
    return json.dumps(study.config.model_dump(mode="json"), sort_keys=True)


def first_study(plan: Plan) -> str:
    """The study that runs first, so that the main figure comes first."""
    return next(iter(plan.studies))


def collected(study: Study) -> list[str]:
    """What collecting writes."""
    kind = kinds.of(study)
    names = ["sums"] * bool(study.shards and kind.sums) + [kind.collection] * study.keeps_draws
    return [f"{study.folder}/{name}.zarr" for name in names]


def sums_of(study: Study) -> list[str]:
    """What the analysis reads."""
    sums = collected(study)[:1]
    return sums + manifests(sums)


def analysed(study: Study) -> list[str]:
    """What figures and tables read."""
    return datasets(study) + sums_of(study)[:1]


def datasets(study: Study) -> list[str]:
    """What the analysis writes."""
    return [f"{study.folder}/{name}.zarr" for name in kinds.of(study).tables(study)]


def manifests(paths: list[str]) -> list[str]:
    """The manifest beside each dataset."""
    return [f"{path}.sha256" for path in paths]


def shown(study: Study) -> list[tuple[str, str]]:
    """(caption name, file) of what ``snakemake --report`` shows."""
    figures = [(name, f"{study.folder}/figures/{name}.svg") for name in kinds.of(study).figures(study)]
    tables = [(f"table_{name}", f"{study.folder}/tables/{name}.html") for name in kinds.of(study).tables(study)]
    return figures + tables


def caption(study: Study, name: str) -> str:
    """The caption of a figure or table, for Snakemake's report and for ours."""
    return str(Path(__file__).parent / "kinds" / study.config.kind / "captions" / f"{name}.rst")


def texts(studies: Iterable[Study]) -> str:
    """Hash of what the report prints beside the code: its templates, and the captions of the studies' kinds."""
    folder = Path(__file__).parent
    captions = {Path(caption(study, name)) for study in studies for name, _ in shown(study)}
    return text_hash(*folder.joinpath("templates").iterdir(), *captions)


def files(study: Study) -> list[str]:
    """The other formats of figures and tables."""
    figures = [f"{study.folder}/figures/{n}.{ext}" for n in kinds.of(study).figures(study) for ext in FORMATS[1:]]
    tables = [f"{study.folder}/tables/{n}.{ext}" for n in kinds.of(study).tables(study) for ext in ("csv", "tex")]
    return figures + tables


def published(plan: Plan) -> list[str]:
    """What notes that everything is in the bucket; nothing where the config names none."""
    return [f"{plan.config.results}/report/published.txt"] * (plan.config.execution.remote is not None)


def report_inputs(study: Study) -> list[str]:
    """What the report reads, and what a run is to leave behind."""
    kept = datasets(study) + collected(study)
    return kept + manifests(kept) + [path for _, path in shown(study)] + files(study)
