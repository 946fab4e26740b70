# From a source's own files to one NIfTI per image, in patient coordinates and physical units.


rule ingest:
    input:
        [f"results/ingest/{dataset}/{case}.json" for dataset, case in STUDY.cases],
    message:
        "All cases are ingested."


rule ingest_case:
    input:
        manifest="data/raw/{dataset}.manifest.tsv",
    output:
        folder=directory("results/ingest/{dataset}/{case}"),
        record="results/ingest/{dataset}/{case}.json",
    log:
        "results/logs/ingest/{dataset}/{case}.log",
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        block=STUDY.parameters.reading,
        code=STUDY.code_of("ingest_case.py"),
    message:
        "Ingest {wildcards.case} of {wildcards.dataset}."
    script:
        "../scripts/ingest_case.py"


rule draft_cohort:
    input:
        manifest="data/raw/{dataset}.manifest.tsv",
    output:
        sheet="results/ingest/{dataset}/cohort.tsv",
        names="results/ingest/{dataset}/names.tsv",
    log:
        "results/logs/ingest/{dataset}.log",
    params:
        block=STUDY.parameters.reading,
        study_seed=STUDY.seed,
        code=STUDY.code_of("draft_cohort.py"),
    message:
        "Propose folds for the cases of {wildcards.dataset}; review them into config/cohorts/."
    script:
        "../scripts/draft_cohort.py"
