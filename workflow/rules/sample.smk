# One rule per planned job; a job makes several shards. `update` keeps the shards that are there:
# the step skips valid ones, so a killed job goes on and a longer grid recomputes nothing.
for _study in PLAN.studies.values():
    for _job in _study.jobs:

        rule:
            name:
                f"sample_{_study.name}_{_job.number}"
            output:
                update(_job.paths),
            log:
                f"{_study.folder}/logs/sample_{_job.number}.log",
            benchmark:
                f"{_study.folder}/logs/sample_{_job.number}.tsv"
            priority: 100 if _study.name == layout.first_study(PLAN) else 50
            conda:
                "../../environment.yml"
            threads: 1
            resources:
                mem_mb=resources.memory(_job.memory_mb, PLAN),
                runtime=resources.runtime(_job.seconds),
                gpu=resources.gpus(_job, PLAN.config.execution.gpus),
            params:
                config=CONFIG,
                code=layout.sample_code(_study, _job),
            shell:
                "python -m ntkpipe sample --config {params.config:q} {output:q} 2>&1 | tee {log:q}"
