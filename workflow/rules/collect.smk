rule collect_sums:
    input:
        lambda wildcards: [shard.path for shard in study_of(wildcards).shards],
    output:
        directory(f"{RESULTS}/{{study}}/sums.zarr"),
        f"{RESULTS}/{{study}}/sums.zarr.sha256",
    log:
        f"{RESULTS}/{{study}}/logs/collect_sums.log",
    benchmark:
        f"{RESULTS}/{{study}}/logs/collect_sums.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1500,
        runtime=60,
    params:
        config=CONFIG,
        code=lambda wildcards: layout.code(
            "ntkpipe.collect", studies=[study_of(wildcards)]
        ),
        settings=lambda wildcards: layout.settings(study_of(wildcards)),
    shell:
        "python -m ntkpipe collect --config {params.config} {wildcards.study} sums 2>&1 | tee {log}"


rule collect_samples:
    input:
        lambda wildcards: [shard.path for shard in study_of(wildcards).shards],
    output:
        directory(f"{RESULTS}/{{study}}/samples.zarr"),
        f"{RESULTS}/{{study}}/samples.zarr.sha256",
    log:
        f"{RESULTS}/{{study}}/logs/collect_samples.log",
    benchmark:
        f"{RESULTS}/{{study}}/logs/collect_samples.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1500,
        runtime=60,
    params:
        config=CONFIG,
        code=lambda wildcards: layout.code(
            "ntkpipe.collect", studies=[study_of(wildcards)]
        ),
        settings=lambda wildcards: layout.settings(study_of(wildcards)),
    shell:
        "python -m ntkpipe collect --config {params.config} {wildcards.study} samples 2>&1 | tee {log}"
