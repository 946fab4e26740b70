# Raw data, never edited, each dataset with a manifest of what it holds.


rule fetch:
    input:
        expand("data/raw/{dataset}.manifest.tsv", dataset=STUDY.cohorts),
    message:
        "All raw data is in place."


rule fetch_dataset:
    output:
        manifest="data/raw/{dataset}.manifest.tsv",
    log:
        "results/logs/fetch/{dataset}.log",
    params:
        source=lookup("{dataset}/source", within=config["datasets"]),
        study_seed=STUDY.seed,
        # Fetched data is held to the hashes of its first fetch; only what is made here depends on how it is made.
        code=STUDY.code_of_source,
    message:
        "Fetch the raw files of {wildcards.dataset}."
    script:
        "../scripts/fetch_dataset.py"


rule plan_fetch:
    log:
        "results/logs/fetch/plan.log",
    params:
        datasets={name: config["datasets"][name] for name in STUDY.cohorts},
    message:
        "What a fetch would bring; nothing is written."
    script:
        "../scripts/plan_fetch.py"
