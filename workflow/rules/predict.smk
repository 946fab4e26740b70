# The test cases of a fold, as a model sees them under a condition. The condition is applied in memory.
# A model with `weights_of` is another one, trained as it is, with settings of its own at test time; one with
# `predictions_of` is another one whose probabilities are scaled by what its validation patients say.

PREDICTION_CODE = (
    "models/{architecture}",
    "models/pyramid.py",
    "corruptions/{corruption}.py",
    "conditions.py",
    "inference.py",
    "samples.py",
    "sampling.py",
    "windows.py",
    "outputs.py",
    "plans.py",
    "constants.py",
    "normalization.py",
    "prepared.py",
    "scan.py",
    "slices.py",
    "packing.py",
    "cases.py",
    "seeds.py",
    "tables.py",
    "volumes.py",
)
EVALUATION_CODE = (
    "metrics",
    "evaluation.py",
    "samples.py",
    "volumes.py",
    "tables.py",
)
SCALED = [name for name, block in config["models"].items() if "predictions_of" in block]


rule predict:
    input:
        runs_at_home(
            "results/predict/{dataset}/{condition}/{dataset}/{model}/fold-{fold}_seed-{seed}"
        ),
    message:
        "All test cases are predicted."


rule predict_cohort:
    input:
        unpack(trained_model),
        cases=collect(
            "results/prepare/{{dataset}}/{case}/{case}.json", case=cases_tested
        ),
        slices=collect(
            "results/prepare/{{dataset}}/{case}/{case}_slices.b2nd", case=cases_tested
        ),
    output:
        directory(
            "results/predict/{dataset}/{condition}/{dataset}/{model}/fold-{fold}_seed-{seed}"
        ),
    log:
        "results/logs/predict/{dataset}/{condition}/{dataset}/{model}/fold-{fold}_seed-{seed}.log",
    benchmark:
        "results/benchmarks/predict/{dataset}/{condition}/{dataset}/{model}/fold-{fold}_seed-{seed}.tsv"
    params:
        study_seed=lookup("study/seed", within=config),
        condition=lookup("{condition}", within=config["conditions"]),
        settings=lookup("{model}/settings", within=config["models"], default={}),
        samples=lookup("{model}/samples", within=config["models"], default=1),
        source=source_hash(*PREDICTION_CODE),
    message:
        "Predict {wildcards.dataset} with {wildcards.model}, condition {wildcards.condition}, fold {wildcards.fold}."
    script:
        "../scripts/predict_cohort.py"


rule predict_validation:
    input:
        unpack(trained_model),
        cases=collect(
            "results/prepare/{{dataset}}/{case}/{case}.json", case=cases_validated
        ),
        slices=collect(
            "results/prepare/{{dataset}}/{case}/{case}_slices.b2nd",
            case=cases_validated,
        ),
    output:
        directory(
            "results/predict/{dataset}/validation/{model}/fold-{fold}_seed-{seed}"
        ),
    log:
        "results/logs/predict/{dataset}/validation/{model}/fold-{fold}_seed-{seed}.log",
    params:
        settings=lookup("{model}/settings", within=config["models"], default={}),
        samples=lookup("{model}/samples", within=config["models"], default=1),
        source=source_hash(*PREDICTION_CODE),
    message:
        "Predict the validation cases of {wildcards.dataset} with {wildcards.model}, fold {wildcards.fold}."
    script:
        "../scripts/predict_validation.py"


rule scale_predictions:
    input:
        predictions=predictions_scaled,
        calibration="results/evaluate/{trained_on}/validation/{model}/fold-{fold}_seed-{seed}/calibration.parquet",
    output:
        directory(
            "results/predict/{dataset}/{condition}/{trained_on}/{model}/fold-{fold}_seed-{seed}"
        ),
    log:
        "results/logs/predict/{dataset}/{condition}/{trained_on}/{model}/fold-{fold}_seed-{seed}.log",
    wildcard_constraints:
        model="|".join(SCALED) or "none",
    params:
        lesion=lookup("{trained_on}/lesion", within=config["datasets"], default=None),
        source=source_hash("scaling.py", *EVALUATION_CODE),
    message:
        "Scale the probabilities of {wildcards.model} on {wildcards.dataset}, condition {wildcards.condition}."
    script:
        "../scripts/scale_predictions.py"
