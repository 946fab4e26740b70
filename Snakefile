# From raw scans to a report: fetch, ingest, prepare, train, predict, evaluate, report, track.
from snakemake.utils import min_version

min_version("9.27")


include: "workflow/rules/texts.smk"


configfile: "config/config.yaml"
configfile: "config/datasets.yaml"
configfile: "config/conditions.yaml"
configfile: "config/models.yaml"
configfile: "config/changes.yaml"


container: "docker://ghcr.io/diffufusemed/diffufuse:0.1.0"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/fetch.smk"
include: "workflow/rules/ingest.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/predict.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/track.smk"


localrules:
    all,
    fetch,
    ingest,
    prepare,
    train,
    predict,
    evaluate,
    report,
    track,
    fetch_dataset,
    plan_fetch,
    draft_cohort,
    track_study,


rule all:
    default_target: True
    input:
        rules.report.input,
        rules.track.input,
    message:
        "The study is complete."
