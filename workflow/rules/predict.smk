# The cases of one part of a fold, as a model sees them under a condition, which is applied in memory. All cases of another
# dataset are test cases: in the one region that both call the lesion, with the modalities that both have.
# A model with `weights_of` is another one, trained as it is, with settings of its own at test time; one with
# `predictions_of` is another one whose probabilities are scaled by what its validation patients say.


rule predict:
    input:
        STUDY.tests(
            "results/predict/{dataset}/test/{condition}/{dataset}/{model}/fold-{fold}_seed-{seed}"
        ),
    message:
        "All test cases are predicted."


ruleorder: scale_predictions > predict_cases


rule predict_cases:
    input:
        plan=collect("results/train/{run}/plan.json", run=STUDY.trained_run),
        weights=collect("results/train/{run}/weights", run=STUDY.trained_run),
        cases=STUDY.prepared.read_in_part,
    output:
        directory(
            "results/predict/{dataset}/{part}/{condition}/{trained_on}/{model}/fold-{fold}_seed-{seed}"
        ),
    log:
        "results/logs/predict/{dataset}/{part}/{condition}/{trained_on}/{model}/fold-{fold}_seed-{seed}.log",
    benchmark:
        "results/benchmarks/predict/{dataset}/{part}/{condition}/{trained_on}/{model}/fold-{fold}_seed-{seed}.tsv"
    resources:
        mem_mb=growing(2500),
        runtime=growing(60),
    params:
        study_seed=STUDY.seed,
        cases=STUDY.cases_in,
        condition=STUDY.parameters.condition,
        model=STUDY.parameters.test_settings,
        transfer=STUDY.parameters.transfer_settings,
        code=STUDY.code_of("predict_cases.py"),
    message:
        "Predict the {wildcards.part} cases of {wildcards.dataset} with {wildcards.model} of {wildcards.trained_on}, condition {wildcards.condition}, fold {wildcards.fold}."
    script:
        "../scripts/predict_cases.py"


rule scale_predictions:
    input:
        predictions=collect(
            "results/predict/{{dataset}}/{{part}}/{{condition}}/{{trained_on}}/{run}",
            run=STUDY.scaled_run,
        ),
        calibration="results/evaluate/{trained_on}/validation/clean/{trained_on}/{model}/fold-{fold}_seed-{seed}/calibration.parquet",
    output:
        directory(
            "results/predict/{dataset}/{part}/{condition}/{trained_on}/{model}/fold-{fold}_seed-{seed}"
        ),
    log:
        "results/logs/predict/{dataset}/{part}/{condition}/{trained_on}/{model}/fold-{fold}_seed-{seed}.log",
    wildcard_constraints:
        model="|".join(STUDY.scaling) or "none",
    params:
        lesion=lookup("{trained_on}/lesion", within=config["datasets"], default=None),
        code=STUDY.code_of("scale_predictions.py"),
    message:
        "Scale the probabilities of {wildcards.model} on {wildcards.dataset}, condition {wildcards.condition}."
    script:
        "../scripts/scale_predictions.py"
