for _study in PLAN.studies.values():
    if not _study.shards:
        continue

    rule:
        name:
            f"collect_{_study.name}"
        input:
            [shard.path for shard in _study.shards],
        output:
            [directory(path) for path in layout.collected(_study)],
            layout.manifests(layout.collected(_study)),
        log:
            f"{_study.folder}/logs/collect.log",
        benchmark:
            f"{_study.folder}/logs/collect.tsv"
        conda:
            "../../environment.yml"
        resources:
            mem_mb=resources.memory(_study.analysis_mb, PLAN),
            runtime=resources.runtime(_study.analysis_seconds),
            cpus_per_task=2,
        params:
            config=CONFIG,
            code=layout.code("ntkpipe.collect", studies=[_study]),
            study=_study.name,
            settings=layout.settings(_study),
        shell:
            "python -m ntkpipe collect --config {params.config:q} {params.study:q} 2>&1 | tee {log:q}"
