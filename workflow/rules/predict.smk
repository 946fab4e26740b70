# The test cases of a fold, as a model sees them under a condition. The condition is applied in memory.
# A model with `weights_of` is another one, trained as it is, with settings of its own at test time.

PREDICTION_CODE = (
    "models/{architecture}",
    "models/pyramid.py",
    "corruptions/{corruption}.py",
    "conditions.py",
    "inference.py",
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


rule predict:
    input:
        expand(
            "results/predict/{dataset}/{condition}/{dataset}/{model}/fold-{fold}_seed-{seed}",
            dataset=STUDY["datasets"],
            condition=STUDY["conditions"],
            model=STUDY["models"],
            fold=STUDY["folds"],
            seed=STUDY["seeds"],
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
        source=source_hash(*PREDICTION_CODE),
    message:
        "Predict {wildcards.dataset} with {wildcards.model}, condition {wildcards.condition}, fold {wildcards.fold}."
    script:
        "../scripts/predict_cohort.py"
