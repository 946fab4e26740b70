# MLflow as a window on the runs; the files stay the truth.


rule track:
    input:
        STUDY.runs("results/track/{dataset}/{model}/fold-{fold}_seed-{seed}.json"),
        f"results/track/studies/{STUDY.name}.json",
    message:
        "All runs are shown in MLflow."


rule track_run:
    input:
        plan="results/train/{dataset}/{model}/fold-{fold}_seed-{seed}/plan.json",
        record="results/train/{dataset}/{model}/fold-{fold}_seed-{seed}/run.json",
        history="results/train/{dataset}/{model}/fold-{fold}_seed-{seed}/history.parquet",
        metrics="results/evaluate/{dataset}/test/clean/{dataset}/{model}/fold-{fold}_seed-{seed}/metrics.parquet",
    output:
        "results/track/{dataset}/{model}/fold-{fold}_seed-{seed}.json",
    log:
        "results/logs/track/{dataset}/{model}/fold-{fold}_seed-{seed}.log",
    resources:
        mlflow_writer=1,
    params:
        store=STUDY.parameters.store,
        license=lookup("{dataset}/license", within=config["datasets"]),
        code=STUDY.code_of("track_run.py"),
    message:
        "Show {wildcards.model} on {wildcards.dataset}, fold {wildcards.fold}, seed {wildcards.seed}, in MLflow."
    script:
        "../scripts/track_run.py"


rule track_study:
    input:
        summary="results/report/{study}/summary.parquet",
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
        "results/track/studies/{study}.json",
    log:
        "results/logs/track/studies/{study}.log",
    resources:
        mlflow_writer=1,
    params:
        store=STUDY.parameters.store,
        study=lookup("study", within=config),
        code=STUDY.code_of("track_study.py"),
    message:
        "Show the study {wildcards.study} in MLflow: its tables, figures and pictures as one run."
    script:
        "../scripts/track_study.py"
