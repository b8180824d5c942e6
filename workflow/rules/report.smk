for _study in PLAN.studies.values():

    rule:
        name:
            f"figures_{_study.name}"
        input:
            layout.analysed(_study),
        output:
            [
                report(
                    path, caption=layout.caption(_study, name), category=_study.name
                )
                for name, path in layout.shown(_study)
            ],
            layout.files(_study),
        log:
            f"{_study.folder}/logs/figures.log",
        benchmark:
            f"{_study.folder}/logs/figures.tsv"
        conda:
            "../../environment.yml"
        resources:
            mem_mb=resources.memory(1500, PLAN),
            runtime=resources.runtime(600),
        params:
            config=CONFIG,
            code=layout.code(
                "ntkpipe.figures",
                "ntkpipe.tables",
                studies=[_study],
                rooms=("figures",),
            ),
            study=_study.name,
            settings=layout.settings(_study),
        shell:
            "python -m ntkpipe figures --config {params.config:q} {params.study:q} 2>&1 | tee {log:q}"


rule report:
    input:
        [layout.report_inputs(study) for study in PLAN.studies.values()],
    output:
        f"{RESULTS}/report/index.html",
        f"{RESULTS}/report/verification.html",
        f"{RESULTS}/report/methods.md",
        f"{RESULTS}/report/references.bib",
    log:
        f"{RESULTS}/report/report.log",
    benchmark:
        f"{RESULTS}/report/report.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=resources.memory(1500, PLAN),
        runtime=resources.runtime(600),
    params:
        config=CONFIG,
        code=layout.code(
            "ntkpipe.report",
            studies=PLAN.studies.values(),
            rooms=("report",),
        ),
        texts=layout.texts(PLAN.studies.values()),
        title=PLAN.config.title,
    shell:
        "python -m ntkpipe report --config {params.config:q} 2>&1 | tee {log:q}"
