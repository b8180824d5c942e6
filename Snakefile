from snakemake.utils import min_version

min_version("9.3")

# `--configfile mine.yaml` replaces the default studies; it is not merged into them.
if not config:

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/sample.smk"
include: "workflow/rules/collect.smk"
include: "workflow/rules/analyse.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/publish.smk"


rule all:
    default_target: True
    input:
        f"{RESULTS}/report/index.html",
        layout.published(PLAN),
        [layout.report_inputs(study) for study in PLAN.studies.values()],
        [shard.path for study in PLAN.studies.values() for shard in study.shards],
