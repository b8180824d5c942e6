"""``python -m ntkpipe STEP ...``: one thin command per rule, usable by hand."""

from __future__ import annotations

import os
import sys

import click

from ntkpipe import __version__
from ntkpipe.errors import UserError

_CONFIG = click.option(
    "--config", "config_path", default="config/config.yaml", show_default=True, help="The YAML file of the studies."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Reproducible beta-scaling studies of the finite-width neural tangent kernel."""


def _plan(config_path: str):
    from ntkpipe import config, plan

    return plan.make(config.load(config_path), config_path)


def _study(config_path: str, name: str):
    """The plan, and a study of it."""
    planned = _plan(config_path)
    if name not in planned.studies:
        raise UserError(f"{config_path}: studies has no {name!r}; it has {', '.join(planned.studies)}")
    return planned, planned.studies[name]


@cli.command()
@_CONFIG
@click.option("--cores", default=os.cpu_count() or 1, show_default=True, help="Cores to reckon with.")
def plan(config_path: str, cores: int) -> None:
    """Show what a run would do: cells, jobs, draws, time, memory, disk. Runs nothing."""
    from ntkpipe import layout, remote
    from ntkpipe import plan as planning

    planned = _plan(config_path)
    layout.keep_own(planned, [config_path], config_path)
    layout.check(planned, [config_path])
    if bucket := remote.of(planned.config):
        bucket.check()
    click.echo(planning.summary(planned, cores))


@cli.command()
@_CONFIG
@click.argument("shards", nargs=-1, required=True)
def sample(config_path: str, shards: tuple[str, ...]) -> None:
    """Draw SHARDS (paths as `plan` lays them out). A valid shard that is there, or in the bucket, is kept."""
    _one_thread()
    from ntkpipe import jobs, progress

    planned = _plan(config_path)
    _use_compilation_cache(planned.config.results)
    jobs.run(planned, shards)
    click.echo(progress.line(planned), err=True)


@cli.command()
@_CONFIG
@click.argument("study")
def collect(config_path: str, study: str) -> None:
    """Put the shards of STUDY together: sums (for statistics) and, where draws are kept, samples."""
    from ntkpipe import collect as collecting
    from ntkpipe import parallel

    plan, planned = _study(config_path, study)
    with parallel.workers(plan.config.execution.dask):
        collecting.run(planned)


@cli.command()
@_CONFIG
@click.argument("study")
def analyse(config_path: str, study: str) -> None:
    """Statistics and fits of STUDY, as its kind has them, from its sums."""
    _one_thread()
    from ntkpipe import kinds, parallel

    plan, planned = _study(config_path, study)
    with parallel.workers(plan.config.execution.dask):
        kinds.load(planned, "analyse").run(planned)


@cli.command()
@_CONFIG
@click.argument("study")
def figures(config_path: str, study: str) -> None:
    """Draw the figures and write the tables of STUDY."""
    from ntkpipe import figures as drawing
    from ntkpipe import tables

    _, planned = _study(config_path, study)
    drawing.run(planned)
    tables.run(planned)


@cli.command()
@_CONFIG
def report(config_path: str) -> None:
    """Write the self-contained HTML report over all studies."""
    from ntkpipe import report as reporting

    click.echo(reporting.run(_plan(config_path)))


@cli.command()
@_CONFIG
def progress(config_path: str) -> None:
    """Say how far a run is: shards and draws done, draws per second, time left."""
    from ntkpipe import progress as reckoning

    click.echo(reckoning.line(_plan(config_path)))


@cli.command()
@_CONFIG
def publish(config_path: str) -> None:
    """Put all results into the bucket of `execution.remote`; what is there already stays."""
    from ntkpipe import publish as publishing

    click.echo(publishing.run(_plan(config_path)))


@cli.command()
@click.argument("paths", nargs=-1, required=True)
def verify(paths: tuple[str, ...]) -> None:
    """Check results byte by byte: a results or study folder, a dataset (*.zarr, also s3://), a shard (*.zarr.zip).

    One line a dataset, with its config's hash, commit and versions; exit code 2 where something is missing or altered.
    """
    from ntkpipe import verify as checking

    damaged = False
    for path in paths:
        for whole, line in checking.lines(path):
            damaged |= not whole
            click.echo(line if whole else f"error: {line}", err=not whole)
    if damaged:
        raise SystemExit(2)


@cli.command()
@click.argument("folder")
@click.option("--output", default=None, help="The zip to write.  [default: <folder's name>.crate.zip]")
@click.option("--license", "license_", default=None, help="The licence of the data, best as an SPDX URL.")
@click.option("--author", "authors", multiple=True, help="'Name' or 'Name https://orcid.org/...'; may be repeated.")
@click.option("--shards", is_flag=True, help="With the shards; datasets hold the same numbers.")
def archive(folder: str, output: str | None, license_: str | None, authors: tuple[str, ...], shards: bool) -> None:
    """Put a results or study FOLDER, checked, into one zip with RO-Crate metadata and checksums, for a repository."""
    from ntkpipe import archive as archiving

    click.echo(archiving.run(folder, output, license_, authors, shards))


@cli.command()
def keys() -> None:
    """Print every config key with its default and meaning (this is config/README.md)."""
    from ntkpipe.config import document_keys

    click.echo(document_keys())


@cli.command()
@click.option("--widths", required=True, help="Hidden widths: 256x128 (256 wide, 128 deep) or 64,128,64.")
@click.option("--input-dim", default=10, show_default=True, help="Input dimension n_0.")
@click.option("--norm", default=1.0, show_default=True, help="|x|.")
@click.option("--biases/--no-biases", default=False, help="Trained biases that start at zero.")
@click.option("--sigma-b", default=1.0, show_default=True, help="Scale of the biases.")
@click.option("--parametrization", type=click.Choice(["ntk", "standard"]), default="ntk", show_default=True)
def exact(widths: str, input_dim: int, norm: float, biases: bool, sigma_b: float, parametrization: str) -> None:
    """Exact E[K], S2, limit and exp(5 beta) of a ReLU network: an answer without a run."""
    from ntkpipe.exact_answer import answer

    click.echo(answer(widths, input_dim, norm, biases, sigma_b, parametrization))


def _one_thread() -> None:
    """Sums in one order whatever the cores: the same numbers on every machine of one kind."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"


def _use_compilation_cache(results: str) -> None:
    """Compile once per shape, across jobs too."""
    from ntkpipe import compiling

    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(compiling.folder(results)))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")


def main() -> None:
    """Run a command; a user's error is one line on stderr and exit code 2."""
    try:
        cli(standalone_mode=False)
    except UserError as error:
        click.echo(f"ntkpipe: error: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        from ntkpipe import failures

        if (told := failures.of_disk(error)) is None:
            raise
        click.echo(f"ntkpipe: error: {told}", err=True)
        sys.exit(2)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
