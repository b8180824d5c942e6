for _study in PLAN.studies.values():

    rule:
        name:
            f"analyse_{_study.name}"
        input:
            layout.sums_of(_study),
        output:
            [directory(path) for path in layout.datasets(_study)],
            layout.manifests(layout.datasets(_study)),
        log:
            f"{_study.folder}/logs/analyse.log",
        benchmark:
            f"{_study.folder}/logs/analyse.tsv"
        conda:
            "../../environment.yml"
        resources:
            mem_mb=resources.memory(_study.analysis_mb, PLAN),
            runtime=resources.runtime(_study.analysis_seconds),
            cpus_per_task=2,
        params:
            config=CONFIG,
            code=layout.code(studies=[_study], rooms=("analyse",)),
            study=_study.name,
            settings=layout.settings(_study),
        shell:
            "python -m ntkpipe analyse --config {params.config:q} {params.study:q} 2>&1 | tee {log:q}"
