# Predictions against references: per case, in 3-D, in millimeters; probabilities near the region and within the body. All
# metrics are computed; a study chooses among them in its report. And what a trained model costs where it is used.


# What the report joins into tables of the whole study.
JOINED = dict(
    metrics=STUDY.tests(
        "results/evaluate/{dataset}/test/{condition}/{dataset}/{model}/fold-{fold}_seed-{seed}/metrics.parquet"
    )
    + STUDY.transfer_tests(
        "results/evaluate/{dataset}/test/clean/{trained_on}/{model}/fold-{fold}_seed-{seed}/metrics.parquet"
    ),
    forecasts=STUDY.runs(
        "results/evaluate/{dataset}/test/clean/{dataset}/{model}/fold-{fold}_seed-{seed}/forecasts.parquet",
        STUDY.segmenting,
    ),
    calibrations=STUDY.runs(
        "results/evaluate/{dataset}/validation/clean/{dataset}/{model}/fold-{fold}_seed-{seed}/calibration.parquet",
        STUDY.segmenting,
    ),
    efficiency=STUDY.first_runs(
        "results/evaluate/{dataset}/efficiency/{model}/fold-{fold}_seed-{seed}/efficiency.parquet"
    ),
    latencies=STUDY.first_runs(
        "results/evaluate/{dataset}/efficiency/{model}/fold-{fold}_seed-{seed}/latencies.parquet"
    ),
    runs=STUDY.runs("results/train/{dataset}/{model}/fold-{fold}_seed-{seed}/run.json"),
    curves=STUDY.runs(
        "results/train/{dataset}/{model}/fold-{fold}_seed-{seed}/history.parquet"
    ),
)


rule evaluate:
    input:
        *JOINED.values(),
    message:
        "All predictions are evaluated, and the costs of all models measured."


# What a run's validation cases say of its probabilities: a temperature, and the threshold of its prediction sets.
rule fit_calibration:
    input:
        predictions=collect(
            "results/predict/{{dataset}}/validation/clean/{{dataset}}/{run}",
            run=STUDY.scaled_run,
        ),
        cases=STUDY.prepared.in_part,
    output:
        "results/evaluate/{dataset}/validation/clean/{dataset}/{model}/fold-{fold}_seed-{seed}/calibration.parquet",
    log:
        "results/logs/evaluate/{dataset}/validation/clean/{dataset}/{model}/fold-{fold}_seed-{seed}/calibration.log",
    params:
        regions=lookup("{dataset}/regions", within=config["datasets"]),
        scaling=lookup("{model}/scaling", within=config["models"], default="none"),
        code=STUDY.code_of("fit_calibration.py"),
    message:
        "Calibrate {wildcards.model} on the validation cases of {wildcards.dataset}, fold {wildcards.fold}."
    script:
        "../scripts/fit_calibration.py"


rule evaluate_predictions:
    input:
        predictions="results/predict/{dataset}/{part}/{condition}/{trained_on}/{model}/fold-{fold}_seed-{seed}",
        calibration=collect(
            "results/evaluate/{{trained_on}}/validation/clean/{{trained_on}}/{run}/calibration.parquet",
            run=STUDY.calibrated_run,
        ),
        cases=STUDY.prepared.in_part,
    output:
        metrics="results/evaluate/{dataset}/{part}/{condition}/{trained_on}/{model}/fold-{fold}_seed-{seed}/metrics.parquet",
        forecasts="results/evaluate/{dataset}/{part}/{condition}/{trained_on}/{model}/fold-{fold}_seed-{seed}/forecasts.parquet",
    log:
        "results/logs/evaluate/{dataset}/{part}/{condition}/{trained_on}/{model}/fold-{fold}_seed-{seed}.log",
    benchmark:
        "results/benchmarks/evaluate/{dataset}/{part}/{condition}/{trained_on}/{model}/fold-{fold}_seed-{seed}.tsv"
    resources:
        mem_mb=growing(1000),
        runtime=growing(20),
    params:
        regions=STUDY.parameters.regions_tested,
        cases=STUDY.cases_in,
        sources=STUDY.parameters.sources,
        lesion=lookup("{trained_on}/lesion", within=config["datasets"], default=None),
        code=STUDY.code_of("evaluate_predictions.py"),
    message:
        "Evaluate {wildcards.model} on {wildcards.dataset}, condition {wildcards.condition}, fold {wildcards.fold}."
    script:
        "../scripts/evaluate_predictions.py"


# A job runs alone, as it asks for all cores, so that its timings mean something; it measures with one thread.
rule measure_efficiency:
    input:
        plan="results/train/{dataset}/{model}/fold-{fold}_seed-{seed}/plan.json",
        weights="results/train/{dataset}/{model}/fold-{fold}_seed-{seed}/weights",
    output:
        efficiency="results/evaluate/{dataset}/efficiency/{model}/fold-{fold}_seed-{seed}/efficiency.parquet",
        latencies="results/evaluate/{dataset}/efficiency/{model}/fold-{fold}_seed-{seed}/latencies.parquet",
    log:
        "results/logs/evaluate/{dataset}/efficiency/{model}/fold-{fold}_seed-{seed}.log",
    benchmark:
        "results/benchmarks/evaluate/{dataset}/efficiency/{model}/fold-{fold}_seed-{seed}.tsv"
    threads: 1000
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=STUDY.code_of("measure_efficiency.py"),
    message:
        "Measure what {wildcards.model}, trained on {wildcards.dataset}, costs where it is used."
    script:
        "../scripts/measure_efficiency.py"
