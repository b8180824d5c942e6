rule analyse:
    input:
        lambda wildcards: layout.sums_of(study_of(wildcards)),
    output:
        directory(f"{RESULTS}/{{study}}/moments.zarr"),
        f"{RESULTS}/{{study}}/moments.zarr.sha256",
        directory(f"{RESULTS}/{{study}}/fits.zarr"),
        f"{RESULTS}/{{study}}/fits.zarr.sha256",
    log:
        f"{RESULTS}/{{study}}/logs/analyse.log",
    benchmark:
        f"{RESULTS}/{{study}}/logs/analyse.tsv"
    wildcard_constraints:
        study=layout.of_kind(PLAN, "initialization"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1500,
        runtime=60,
    params:
        config=CONFIG,
        code=layout.code("ntkpipe.analyse"),
        settings=lambda wildcards: layout.settings(study_of(wildcards)),
    shell:
        "python -m ntkpipe analyse --config {params.config} {wildcards.study} 2>&1 | tee {log}"


rule gram:
    input:
        lambda wildcards: layout.sums_of(study_of(wildcards)),
        f"{RESULTS}/{{study}}/moments.zarr",
    output:
        directory(f"{RESULTS}/{{study}}/gram.zarr"),
        f"{RESULTS}/{{study}}/gram.zarr.sha256",
    log:
        f"{RESULTS}/{{study}}/logs/gram.log",
    benchmark:
        f"{RESULTS}/{{study}}/logs/gram.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1500,
        runtime=60,
    params:
        config=CONFIG,
        code=layout.code("ntkpipe.analyse"),
        settings=lambda wildcards: layout.settings(study_of(wildcards)),
    shell:
        "python -m ntkpipe gram --config {params.config} {wildcards.study} 2>&1 | tee {log}"


rule first_step:
    input:
        lambda wildcards: layout.sums_of(study_of(wildcards)),
    output:
        directory(f"{RESULTS}/{{study}}/first_step.zarr"),
        f"{RESULTS}/{{study}}/first_step.zarr.sha256",
        directory(f"{RESULTS}/{{study}}/fits.zarr"),
        f"{RESULTS}/{{study}}/fits.zarr.sha256",
    log:
        f"{RESULTS}/{{study}}/logs/first_step.log",
    benchmark:
        f"{RESULTS}/{{study}}/logs/first_step.tsv"
    wildcard_constraints:
        study=layout.of_kind(PLAN, "first_step"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1500,
        runtime=60,
    params:
        config=CONFIG,
        code=layout.code("ntkpipe.analyse_step"),
        settings=lambda wildcards: layout.settings(study_of(wildcards)),
    shell:
        "python -m ntkpipe first-step --config {params.config} {wildcards.study} 2>&1 | tee {log}"
