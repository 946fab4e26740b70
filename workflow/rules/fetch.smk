# Raw data, never edited, each dataset with a manifest of what it holds.


rule fetch:
    input:
        expand("data/raw/{dataset}.manifest.tsv", dataset=COHORTS),
    message:
        "All raw data is in place."


# Fetched data is held to the hashes of its first fetch, so that only the source's own module is named.
rule fetch_dataset:
    output:
        manifest="data/raw/{dataset}.manifest.tsv",
    log:
        "results/logs/fetch/{dataset}.log",
    params:
        source=lookup("datasets/{dataset}/source", within=config),
        license=lookup("datasets/{dataset}/license", within=config),
        citation=lookup("datasets/{dataset}/citation", within=config),
        study_seed=lookup("study/seed", within=config),
        source_code=source_hash("fetching/{source}.py"),
        # Only the phantom has patients to make.
        phantom_code=branch(
            lookup("datasets/{dataset}/source/patients", within=config, default=0),
            then=source_hash("phantom"),
        ),
    message:
        "Fetch the raw files of {wildcards.dataset}."
    script:
        "../scripts/fetch_dataset.py"


rule plan_fetch:
    log:
        "results/logs/fetch/plan.log",
    localrule: True
    params:
        datasets={name: config["datasets"][name] for name in COHORTS},
        source_code=source_hash("fetching"),
    message:
        "What a fetch would bring; nothing is written."
    script:
        "../scripts/plan_fetch.py"
