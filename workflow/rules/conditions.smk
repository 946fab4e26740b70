# What a condition looks like, on one case of a dataset, with the same random numbers as in its prediction.

FIRST_CASE = {dataset: cohort.names[0] for dataset, cohort in COHORTS.items()}


rule draw_condition:
    input:
        case=collect(
            "results/prepare/{{dataset}}/{case}/{case}.json",
            case=lookup("{dataset}", within=FIRST_CASE),
        ),
        slices=collect(
            "results/prepare/{{dataset}}/{case}/{case}_slices.b2nd",
            case=lookup("{dataset}", within=FIRST_CASE),
        ),
    output:
        report(
            "results/report/{study}/conditions/{dataset}/{condition}.png",
            caption="../report/condition.rst",
            category="4 Conditions",
            subcategory="{dataset}",
            labels={"condition": "{condition}"},
        ),
    log:
        "results/logs/report/{study}/conditions/{dataset}/{condition}.log",
    params:
        study_seed=lookup("study/seed", within=config),
        condition=lookup("{condition}", within=config["conditions"]),
        modalities=appearance_of_modalities,
        source=source_hash(
            "figures/condition.py",
            "figures/panels.py",
            "figures/style.py",
            "corruptions/{corruption}.py",
            "conditions.py",
            "constants.py",
            "inference.py",
            "normalization.py",
            "outputs.py",
            "packing.py",
            "plans.py",
            "prepared.py",
            "scan.py",
            "seeds.py",
            "slices.py",
            "tables.py",
            "volumes.py",
            "windows.py",
            "cases.py",
        ),
    message:
        "Show what {wildcards.condition} does to a case of {wildcards.dataset}."
    script:
        "../scripts/draw_condition.py"
