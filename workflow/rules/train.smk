# One run per dataset, model, fold and seed. A model with `weights_of` is another one, trained as it is.

TRAINING_CODE = (
    "models/{architecture}",
    "models/pyramid.py",
    "corruptions/{learned}.py",
    "runs.py",
    "plans.py",
    "outputs.py",
    "constants.py",
    "training.py",
    "averaging.py",
    "budget.py",
    "chance.py",
    "checkpoints.py",
    "divergence.py",
    "prefetch.py",
    "batches.py",
    "augmentation.py",
    "objectives.py",
    "losses.py",
    "inference.py",
    "windows.py",
    "normalization.py",
    "conditions.py",
    "prepared.py",
    "scan.py",
    "slices.py",
    "packing.py",
    "cases.py",
    "seeds.py",
    "tables.py",
    "volumes.py",
    "metrics/overlap.py",
)


rule train:
    input:
        expand(
            "results/train/{dataset}/{model}/fold-{fold}_seed-{seed}/weights.safetensors",
            dataset=STUDY["datasets"],
            model=sorted({trained_as(model) for model in STUDY["models"]}),
            fold=STUDY["folds"],
            seed=STUDY["seeds"],
        ),
    message:
        "All models are trained."


rule fit_normalization:
    input:
        cases=collect(
            "results/prepare/{{dataset}}/{case}/{case}.json", case=cases_trained_on
        ),
        slices=collect(
            "results/prepare/{{dataset}}/{case}/{case}_slices.b2nd",
            case=cases_trained_on,
        ),
    output:
        "results/train/{dataset}/normalization/fold-{fold}.json",
    log:
        "results/logs/train/{dataset}/normalization/fold-{fold}.log",
    params:
        modalities=appearance_of_modalities,
        source=source_hash(
            "constants.py",
            "prepared.py",
            "scan.py",
            "slices.py",
            "packing.py",
            "tables.py",
            "volumes.py",
        ),
    message:
        "Measure the training cases of {wildcards.dataset}, fold {wildcards.fold}, for normalization."
    script:
        "../scripts/fit_normalization.py"


rule train_model:
    input:
        cohort="config/cohorts/{dataset}.tsv",
        index="results/prepare/{dataset}/patches.parquet",
        cases=collect(
            "results/prepare/{{dataset}}/{case}/{case}.json", case=cases_learned_from
        ),
        slices=collect(
            "results/prepare/{{dataset}}/{case}/{case}_slices.b2nd",
            case=cases_learned_from,
        ),
        constants="results/train/{dataset}/normalization/fold-{fold}.json",
        store=ancient("results/track/store.json"),
    output:
        weights="results/train/{dataset}/{model}/fold-{fold}_seed-{seed}/weights.safetensors",
        plan="results/train/{dataset}/{model}/fold-{fold}_seed-{seed}/plan.json",
        history="results/train/{dataset}/{model}/fold-{fold}_seed-{seed}/history.parquet",
        record="results/train/{dataset}/{model}/fold-{fold}_seed-{seed}/run.json",
    log:
        "results/logs/train/{dataset}/{model}/fold-{fold}_seed-{seed}.log",
    benchmark:
        "results/benchmarks/train/{dataset}/{model}/fold-{fold}_seed-{seed}.tsv"
    params:
        study_seed=lookup("study/seed", within=config),
        model=lookup("{model}", within=config["models"]),
        modalities=appearance_of_modalities,
        regions=lookup("{dataset}/regions", within=config["datasets"]),
        conditions=conditions_learned_from,
        checkpoints="results/train/{dataset}/{model}/fold-{fold}_seed-{seed}/checkpoints",
        source=source_hash(*TRAINING_CODE),
    message:
        "Train {wildcards.model} on {wildcards.dataset}, fold {wildcards.fold}, seed {wildcards.seed}."
    script:
        "../scripts/train_model.py"
