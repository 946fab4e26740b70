# Raw data, never edited, each dataset with a manifest of what it holds.


rule fetch:
    input:
        expand("data/raw/{dataset}.manifest.tsv", dataset=STUDY["datasets"]),
    message:
        "All raw data is in place."


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
        source_code=source_hash("fetching.py", "{source}"),
    message:
        "Fetch the raw files of {wildcards.dataset}."
    script:
        "../scripts/fetch_dataset.py"
