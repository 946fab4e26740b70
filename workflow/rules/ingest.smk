# From a source's own files to one NIfTI per image, in patient coordinates and physical units.


rule ingest:
    input:
        [
            f"results/ingest/{dataset}/{case}"
            for dataset, cohort in COHORTS.items()
            for case in cohort.names
        ],
    message:
        "All cases are ingested."


rule ingest_case:
    input:
        manifest="data/raw/{dataset}.manifest.tsv",
    output:
        directory("results/ingest/{dataset}/{case}"),
    log:
        "results/logs/ingest/{dataset}/{case}.log",
    params:
        block=reading_of,
        source=source_hash(
            "ingestion.py",
            "fetching/manifest.py",
            "formats/{format}.py",
            "dicom",
            "volumes.py",
            "tables.py",
        ),
    message:
        "Ingest {wildcards.case} of {wildcards.dataset}."
    script:
        "../scripts/ingest_case.py"


rule draft_cohort:
    input:
        manifest="data/raw/{dataset}.manifest.tsv",
    output:
        "results/ingest/{dataset}/cohort.tsv",
    log:
        "results/logs/ingest/{dataset}.log",
    params:
        block=reading_of,
        study_seed=lookup("study/seed", within=config),
        source=source_hash(
            "cases.py", "seeds.py", "formats/{format}.py", "dicom", "volumes.py"
        ),
    message:
        "Propose folds for the cases of {wildcards.dataset}; review them into config/cohorts/."
    script:
        "../scripts/draft_cohort.py"
