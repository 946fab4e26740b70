# Predictions against references: per case, in 3-D, in millimeters; probabilities near the region and within the body.
# What a run's validation patients say of its probabilities comes first: a temperature, the threshold of its sets.


rule evaluate:
    input:
        runs_at_home(
            "results/evaluate/{dataset}/{condition}/{dataset}/{model}/fold-{fold}_seed-{seed}/metrics.parquet"
        ),
    message:
        "All predictions are evaluated."


rule fit_calibration:
    input:
        predictions=validation_predictions,
        references=collect(
            "results/prepare/{{dataset}}/{case}/{case}_labels.nii.gz",
            case=cases_validated,
        ),
        bodies=collect(
            "results/prepare/{{dataset}}/{case}/{case}_body.nii.gz",
            case=cases_validated,
        ),
    output:
        "results/evaluate/{dataset}/validation/{model}/fold-{fold}_seed-{seed}/calibration.parquet",
    log:
        "results/logs/evaluate/{dataset}/validation/{model}/fold-{fold}_seed-{seed}.log",
    params:
        cases=cases_validated,
        regions=lookup("{dataset}/regions", within=config["datasets"]),
        scaling=lookup("{model}/scaling", within=config["models"], default="none"),
        source=source_hash("scaling.py", *EVALUATION_CODE),
    message:
        "Fit what the validation cases say of {wildcards.model} on {wildcards.dataset}, fold {wildcards.fold}."
    script:
        "../scripts/fit_calibration.py"


rule evaluate_predictions:
    input:
        predictions="results/predict/{dataset}/{condition}/{trained_on}/{model}/fold-{fold}_seed-{seed}",
        calibration="results/evaluate/{trained_on}/validation/{model}/fold-{fold}_seed-{seed}/calibration.parquet",
        references=collect(
            "results/prepare/{{dataset}}/{case}/{case}_labels.nii.gz",
            case=cases_tested,
        ),
        bodies=collect(
            "results/prepare/{{dataset}}/{case}/{case}_body.nii.gz",
            case=cases_tested,
        ),
    output:
        metrics="results/evaluate/{dataset}/{condition}/{trained_on}/{model}/fold-{fold}_seed-{seed}/metrics.parquet",
        forecasts="results/evaluate/{dataset}/{condition}/{trained_on}/{model}/fold-{fold}_seed-{seed}/forecasts.parquet",
    log:
        "results/logs/evaluate/{dataset}/{condition}/{trained_on}/{model}/fold-{fold}_seed-{seed}.log",
    benchmark:
        "results/benchmarks/evaluate/{dataset}/{condition}/{trained_on}/{model}/fold-{fold}_seed-{seed}.tsv"
    params:
        cases=cases_tested,
        regions=regions_tested,
        lesion=lookup("{trained_on}/lesion", within=config["datasets"], default=None),
        metrics=lookup("study/metrics", within=config),
        source=source_hash(*EVALUATION_CODE),
    message:
        "Evaluate {wildcards.model} on {wildcards.dataset}, condition {wildcards.condition}, fold {wildcards.fold}."
    script:
        "../scripts/evaluate_predictions.py"
