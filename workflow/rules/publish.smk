# With `execution.remote` all results go to a bucket. Shards are there already: `sample` puts them there one by one.
if layout.published(PLAN):

    rule publish:
        input:
            f"{RESULTS}/report/index.html",
            [layout.report_inputs(study) for study in PLAN.studies.values()],
            [shard.path for study in PLAN.studies.values() for shard in study.shards],
        output:
            layout.published(PLAN),
        log:
            f"{RESULTS}/report/publish.log",
        benchmark:
            f"{RESULTS}/report/publish.tsv"
        conda:
            "../../environment.yml"
        resources:
            mem_mb=resources.memory(1500, PLAN),
            runtime=resources.runtime(1200),
        params:
            config=CONFIG,
            remote=PLAN.config.execution.remote,
        shell:
            "python -m ntkpipe publish --config {params.config:q} 2>&1 | tee {log:q}"
