# One run per dataset, model, fold and seed. A model with `weights_of` is another one, trained as it is; one with
# `input.fuser` learns from the images that its fuser, of the same fold, makes of the training and validation cases.


rule train:
    input:
        STUDY.runs("results/train/{dataset}/{model}/fold-{fold}_seed-{seed}/weights"),
    message:
        "All models are trained."


rule fit_normalization:
    input:
        STUDY.prepared.trained_on,
    output:
        "results/train/{dataset}/normalization/fold-{fold}.json",
    log:
        "results/logs/train/{dataset}/normalization/fold-{fold}.log",
    params:
        modalities=STUDY.parameters.appearance,
        cases=STUDY.cases_trained_on,
        code=STUDY.code_of("fit_normalization.py"),
    message:
        "Measure the training cases of {wildcards.dataset}, fold {wildcards.fold}, for normalization."
    script:
        "../scripts/fit_normalization.py"


rule train_model:
    input:
        index="results/prepare/{dataset}/patches.parquet",
        cases=STUDY.prepared.learned_from,
        constants="results/train/{dataset}/normalization/fold-{fold}.json",
    output:
        weights=directory(
            "results/train/{dataset}/{model}/fold-{fold}_seed-{seed}/weights"
        ),
        plan="results/train/{dataset}/{model}/fold-{fold}_seed-{seed}/plan.json",
        history="results/train/{dataset}/{model}/fold-{fold}_seed-{seed}/history.parquet",
        record="results/train/{dataset}/{model}/fold-{fold}_seed-{seed}/run.json",
    log:
        "results/logs/train/{dataset}/{model}/fold-{fold}_seed-{seed}.log",
    benchmark:
        "results/benchmarks/train/{dataset}/{model}/fold-{fold}_seed-{seed}.tsv"
    threads: PROCESSES
    resources:
        mem_mb=growing(2500 * PROCESSES),
        runtime=growing(240),
    params:
        study_seed=STUDY.seed,
        model=lookup("{model}", within=config["models"]),
        modalities=STUDY.parameters.read,
        regions=STUDY.parameters.learned,
        split=STUDY.parameters.split,
        conditions=STUDY.parameters.conditions_learned,
        store=STUDY.parameters.store,
        checkpoints="results/train/{dataset}/{model}/fold-{fold}_seed-{seed}/checkpoints",
        code=STUDY.code_of("train_model.py"),
    message:
        "Train {wildcards.model} on {wildcards.dataset}, fold {wildcards.fold}, seed {wildcards.seed}."
    script:
        "../scripts/train_model.py"
