# Models trained on one dataset, tested on all cases of another: in the one region that both call the lesion, with the
# modalities that both have. A pair that has nothing in common is refused, and no rule runs for it.


# A model tests its own dataset fold by fold; one with scaled probabilities predicts nothing by itself.
ruleorder: scale_predictions > predict_cohort > predict_transfer


rule predict_transfer:
    input:
        unpack(trained_model),
        cases=collect(
            "results/prepare/{{dataset}}/{case}/{case}.json", case=cases_tested_abroad
        ),
        slices=collect(
            "results/prepare/{{dataset}}/{case}/{case}_slices.b2nd",
            case=cases_tested_abroad,
        ),
    output:
        directory(
            "results/predict/{dataset}/{condition}/{trained_on}/{model}/fold-{fold}_seed-{seed}"
        ),
    log:
        "results/logs/predict/{dataset}/{condition}/{trained_on}/{model}/fold-{fold}_seed-{seed}.log",
    benchmark:
        "results/benchmarks/predict/{dataset}/{condition}/{trained_on}/{model}/fold-{fold}_seed-{seed}.tsv"
    params:
        study_seed=lookup("study/seed", within=config),
        condition=lookup("{condition}", within=config["conditions"]),
        settings=lookup("{model}/settings", within=config["models"], default={}),
        samples=lookup("{model}/samples", within=config["models"], default=1),
        modalities=contrast_of_modalities,
        spacing_mm=lookup("{trained_on}/spacing_mm", within=config["datasets"]),
        learned=lookup("{trained_on}/lesion", within=config["datasets"]),
        lesion=lookup("{dataset}/lesion", within=config["datasets"]),
        source=source_hash(
            "abroad.py",
            "transfer.py",
            "resampling.py",
            "transforms.py",
            *PREDICTION_CODE,
        ),
    message:
        "Predict {wildcards.dataset} with {wildcards.model} of {wildcards.trained_on}, fold {wildcards.fold}."
    script:
        "../scripts/predict_transfer.py"
