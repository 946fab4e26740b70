# MLflow as a window on the runs; the files stay the truth.


rule track:
    input:
        f"results/track/{STUDY.name}.json",
    message:
        "The study and all its runs are shown in MLflow."


rule track_study:
    input:
        runs=JOINED["runs"],
        weights=STUDY.runs(
            "results/train/{dataset}/{model}/fold-{fold}_seed-{seed}/weights"
        ),
        curves=JOINED["curves"],
        metrics="results/report/{study}/metrics.parquet",
        summary="results/report/{study}/summary.parquet",
        manifests=expand("data/raw/{dataset}.manifest.tsv", dataset=STUDY.datasets),
        page="results/report/{study}/results.md",
        configuration="results/report/{study}/study.html",
        tables=expand(
            "results/report/{{study}}/tables/{table}.{kind}",
            table=config["study"]["tables"],
            kind=["csv", "html"],
        ),
        figures=expand(
            "results/report/{{study}}/figures/{figure}.{kind}",
            figure=config["study"]["figures"],
            kind=["png", "csv"],
        ),
        pictures=expand(
            "results/report/{{study}}/{picture}.png", picture=STUDY.pictures.names
        ),
    output:
        "results/track/{study}.json",
    log:
        "results/logs/track/{study}.log",
    params:
        store=STUDY.parameters.store,
        tracked=STUDY.parameters.tracked,
        code=STUDY.code_of("track_study.py"),
    message:
        "Show the study {wildcards.study} in MLflow: its models, trainings, tables, figures and pictures."
    script:
        "../scripts/track_study.py"
