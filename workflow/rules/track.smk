# MLflow as a window on the runs; deleting results/track/ and asking for `track` rebuilds it from the files.


rule track:
    input:
        expand(
            "results/track/{dataset}/{model}/fold-{fold}_seed-{seed}.json",
            dataset=STUDY["datasets"],
            model=[name for name in STUDY["models"] if trained_as(name) == name],
            fold=STUDY["folds"],
            seed=STUDY["seeds"],
        ),
        f"results/track/studies/{STUDY['name']}.json",
    message:
        "All runs are shown in MLflow."


rule init_tracking:
    output:
        "results/track/store.json",
    log:
        "results/logs/track/store.log",
    params:
        experiments=lookup("study/datasets", within=config),
    message:
        "Create the MLflow store."
    script:
        "../scripts/init_tracking.py"


rule track_run:
    input:
        store=ancient("results/track/store.json"),
        plan="results/train/{dataset}/{model}/fold-{fold}_seed-{seed}/plan.json",
        record="results/train/{dataset}/{model}/fold-{fold}_seed-{seed}/run.json",
        history="results/train/{dataset}/{model}/fold-{fold}_seed-{seed}/history.parquet",
        metrics=collect(
            "results/evaluate/{{dataset}}/{condition}/{{dataset}}/{{model}}/fold-{{fold}}_seed-{{seed}}/metrics.parquet",
            condition=conditions_of_the_model,
        ),
        overlays=collect(
            f"results/report/{STUDY['name']}/overlays/{{{{dataset}}}}/{{{{model}}}}/{{case}}.png",
            case=cases_shown,
        ),
        figures=expand(
            "results/report/{study}/figures/{figure}.png",
            study=STUDY["name"],
            figure=STUDY["figures"],
        ),
        registrations=collect(
            "results/prepare/{{dataset}}/{case}/{case}_registration.png",
            case=cases_shown,
        ),
    output:
        "results/track/{dataset}/{model}/fold-{fold}_seed-{seed}.json",
    log:
        "results/logs/track/{dataset}/{model}/fold-{fold}_seed-{seed}.log",
    resources:
        mlflow_writer=1,
    params:
        license=lookup("{dataset}/license", within=config["datasets"]),
        source=source_hash("tracking.py", "tables.py"),
    message:
        "Show {wildcards.model} on {wildcards.dataset}, fold {wildcards.fold}, seed {wildcards.seed}, in MLflow."
    script:
        "../scripts/track_run.py"


rule track_study:
    input:
        store=ancient("results/track/store.json"),
        summary="results/report/{study}/summary.parquet",
        page="results/report/{study}/results.md",
        configuration="results/report/{study}/study.html",
        tables=expand(
            "results/report/{{study}}/tables/{table}.{kind}",
            table=STUDY["tables"],
            kind=["csv", "html"],
        ),
        figures=expand(
            "results/report/{{study}}/figures/{figure}.{kind}",
            figure=STUDY["figures"],
            kind=["png", "csv"],
        ),
        pictures=pictures_of_the_study,
    output:
        "results/track/studies/{study}.json",
    log:
        "results/logs/track/studies/{study}.log",
    resources:
        mlflow_writer=1,
    params:
        study=STUDY,
        source=source_hash("tracking.py", "tables.py"),
    message:
        "Show the study {wildcards.study} in MLflow: its tables, figures and pictures as one run."
    script:
        "../scripts/track_study.py"
