for _study in PLAN.studies.values():

    rule:
        name:
            f"figures_{_study.name}"
        input:
            layout.analysed(_study),
        output:
            [
                report(path, caption=layout.caption(name), category=_study.name)
                for name, path in layout.shown(_study)
            ],
            layout.files(_study),
        params:
            code=layout.code("ntkpipe.figures", "ntkpipe.tables"),
            study=_study.name,
            settings=layout.settings(_study),
        log:
            f"{_study.folder}/logs/figures.log",
        resources:
            mem_mb=1500,
            runtime=30,
        shell:
            "{NTKPIPE} figures --config {CONFIG} {params.study} 2>&1 | tee {log}"


rule report:
    input:
        [layout.report_inputs(study) for study in PLAN.studies.values()],
    output:
        f"{RESULTS}/report/index.html",
        f"{RESULTS}/report/verification.html",
        f"{RESULTS}/report/methods.md",
        f"{RESULTS}/report/references.bib",
    params:
        code=layout.code("ntkpipe.report"),
        title=PLAN.config.title,
    log:
        f"{RESULTS}/report/report.log",
    resources:
        mem_mb=1500,
        runtime=30,
    shell:
        "{NTKPIPE} report --config {CONFIG} 2>&1 | tee {log}"
