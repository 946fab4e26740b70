# Predictions against references: per case, in 3-D, in millimeters; probabilities near the region, within the body.


rule evaluate:
    input:
        expand(
            "results/evaluate/{dataset}/{condition}/{dataset}/{model}/fold-{fold}_seed-{seed}/metrics.parquet",
            dataset=STUDY["datasets"],
            condition=STUDY["conditions"],
            model=STUDY["models"],
            fold=STUDY["folds"],
            seed=STUDY["seeds"],
        ),
    message:
        "All predictions are evaluated."


rule evaluate_predictions:
    input:
        predictions="results/predict/{dataset}/{condition}/{trained_on}/{model}/fold-{fold}_seed-{seed}",
        references=collect(
            "results/prepare/{{dataset}}/{case}/{case}_labels.nii.gz",
            case=cases_tested,
        ),
        bodies=collect(
            "results/prepare/{{dataset}}/{case}/{case}_body.nii.gz",
            case=cases_tested,
        ),
    output:
        "results/evaluate/{dataset}/{condition}/{trained_on}/{model}/fold-{fold}_seed-{seed}/metrics.parquet",
    log:
        "results/logs/evaluate/{dataset}/{condition}/{trained_on}/{model}/fold-{fold}_seed-{seed}.log",
    benchmark:
        "results/benchmarks/evaluate/{dataset}/{condition}/{trained_on}/{model}/fold-{fold}_seed-{seed}.tsv"
    params:
        cases=cases_tested,
        regions=lookup("{dataset}/regions", within=config["datasets"]),
        metrics=lookup("study/metrics", within=config),
        source=source_hash("metrics", "evaluation.py", "volumes.py", "tables.py"),
    message:
        "Evaluate {wildcards.model} on {wildcards.dataset}, condition {wildcards.condition}, fold {wildcards.fold}."
    script:
        "../scripts/evaluate_predictions.py"
