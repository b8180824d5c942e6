"""All results of a plan -> its bucket; run again, it puts there only what is not there yet."""

from __future__ import annotations

from pathlib import Path

from ntkpipe import layout, remote, store
from ntkpipe.errors import ConfigError
from ntkpipe.files import beside, parsed
from ntkpipe.plan import Plan, Study


def run(plan: Plan) -> str:
    """Publish shards, datasets, figures, tables and report; note what is there in ``<results>/report/published.txt``.

    Raises
    ------
    ConfigError: the config names no bucket.
    RemoteError: the bucket cannot be used.
    DamagedFile: a dataset is missing or damaged here; it is not put there.
    """
    bucket = remote.of(plan.config)
    if bucket is None:
        raise ConfigError("execution.remote", "given to publish results, as s3://bucket/folder", None)
    bucket.check()
    said = [_study(bucket, study) for study in plan.studies.values()]
    marker = Path(layout.published(plan)[0])
    page = [file for file in marker.parent.iterdir() if file.suffix in (".html", ".md", ".bib")]
    bucket.push_all([*sorted(page), layout.resolved(plan)])
    text = "\n".join(said) + "\n"
    with beside(marker) as note:
        note.write_text(text)
        note.replace(marker)
    return text.rstrip()


def _study(bucket: remote.Bucket, study: Study) -> str:
    files = [path for _, path in layout.shown(study)] + layout.files(study) + [shard.path for shard in study.shards]
    new = bucket.push_all(files)
    datasets = layout.datasets(study) + layout.collected(study)
    renewed = sum(_dataset(bucket, Path(path)) for path in datasets)
    return (
        f"{bucket.url}/{study.name}: {len(files)} files ({new} of them new), "
        f"{len(datasets)} datasets ({renewed} of them new)"
    )


def _dataset(bucket: remote.Bucket, path: Path) -> bool:
    store.verify(path)
    return bucket.push_dataset(path, parsed(path.with_name(path.name + ".sha256").read_text()))
