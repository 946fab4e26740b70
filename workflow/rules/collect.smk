# What the runs of a study found, joined into one table of each kind, from which alone the report is computed.

REPORTING_CODE = (
    "reporting",
    "metrics",
    "statistics.py",
    "conditions.py",
    "scan.py",
    "transfer.py",
    "cases.py",
    "seeds.py",
    "tables.py",
)
EVIDENCE = dict(
    metrics="results/report/{study}/metrics.parquet",
    summary="results/report/{study}/summary.parquet",
    runs="results/report/{study}/runs.parquet",
    forecasts="results/report/{study}/forecasts.parquet",
    calibrations="results/report/{study}/calibrations.parquet",
    efficiency="results/report/{study}/efficiency.parquet",
    latencies="results/report/{study}/latencies.parquet",
    cohorts=expand(
        "config/cohorts/{dataset}.tsv", dataset=STUDY["datasets"] + TRANSFERS
    ),
)
TRAINED = sorted({trained_as(model) for model in STUDY["models"]})


rule collect_metrics:
    input:
        rules.evaluate.input,
        evaluations_abroad,
    output:
        "results/report/{study}/metrics.parquet",
    log:
        "results/logs/report/{study}/metrics.log",
    params:
        source=source_hash("tables.py"),
    message:
        "Collect the metrics of the study {wildcards.study}."
    script:
        "../scripts/collect_metrics.py"


rule collect_forecasts:
    input:
        expand(
            "results/evaluate/{dataset}/clean/{dataset}/{model}/fold-{fold}_seed-{seed}/forecasts.parquet",
            dataset=STUDY["datasets"],
            model=STUDY["models"],
            fold=STUDY["folds"],
            seed=STUDY["seeds"],
        ),
    output:
        "results/report/{study}/forecasts.parquet",
    log:
        "results/logs/report/{study}/forecasts.log",
    params:
        source=source_hash(
            "evaluation.py", "metrics", "samples.py", "volumes.py", "tables.py"
        ),
    message:
        "Collect what was forecast of the voxels of the study {wildcards.study}."
    script:
        "../scripts/collect_forecasts.py"


rule collect_calibrations:
    input:
        expand(
            "results/evaluate/{dataset}/validation/{model}/fold-{fold}_seed-{seed}/calibration.parquet",
            dataset=STUDY["datasets"],
            model=STUDY["models"],
            fold=STUDY["folds"],
            seed=STUDY["seeds"],
        ),
    output:
        "results/report/{study}/calibrations.parquet",
    log:
        "results/logs/report/{study}/calibrations.log",
    params:
        source=source_hash("tables.py"),
    message:
        "Collect what the validation cases of the study {wildcards.study} say."
    script:
        "../scripts/collect_calibrations.py"


rule collect_efficiency:
    input:
        efficiency=expand(
            "results/evaluate/{dataset}/efficiency/{model}/fold-{fold}_seed-{seed}/efficiency.parquet",
            dataset=STUDY["datasets"],
            model=TRAINED,
            fold=STUDY["folds"][0],
            seed=STUDY["seeds"][0],
        ),
        latencies=expand(
            "results/evaluate/{dataset}/efficiency/{model}/fold-{fold}_seed-{seed}/latencies.parquet",
            dataset=STUDY["datasets"],
            model=TRAINED,
            fold=STUDY["folds"][0],
            seed=STUDY["seeds"][0],
        ),
    output:
        efficiency="results/report/{study}/efficiency.parquet",
        latencies="results/report/{study}/latencies.parquet",
    log:
        "results/logs/report/{study}/efficiency.log",
    params:
        source=source_hash("tables.py"),
    message:
        "Collect what the models of the study {wildcards.study} cost where they are used."
    script:
        "../scripts/collect_efficiency.py"


rule collect_runs:
    input:
        rules.train.input,
    output:
        "results/report/{study}/runs.parquet",
    log:
        "results/logs/report/{study}/runs.log",
    params:
        trained_as={model: trained_as(model) for model in STUDY["models"]},
        source=source_hash("reporting/runs.py", "tables.py"),
    message:
        "Collect the runs of the study {wildcards.study}."
    script:
        "../scripts/collect_runs.py"


rule summarize_metrics:
    input:
        metrics="results/report/{study}/metrics.parquet",
        cohorts=EVIDENCE["cohorts"],
    output:
        summary="results/report/{study}/summary.parquet",
        record="results/report/{study}/summary.json",
    log:
        "results/logs/report/{study}/summary.log",
    params:
        study_seed=lookup("study/seed", within=config),
        source=source_hash(*REPORTING_CODE),
    message:
        "Summarize the study {wildcards.study} over patients."
    script:
        "../scripts/summarize_metrics.py"
