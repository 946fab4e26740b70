# What the study asks for beyond one run: evaluations on other datasets, and the pictures of its cases.
from snakemake.exceptions import WorkflowError

from diffufuse.study.transfer import refusal

# The models that predict by themselves, and the conditions that overlays show.
PREDICTING = [
    name for name in STUDY["models"] if "predictions_of" not in config["models"][name]
]
OVERLAID = STUDY.get("overlay_conditions", STUDY["conditions"])


def conditions_of(model):
    """The conditions that a model is tested under: all, unless the study's `only` names some."""
    asked = STUDY.get("only", {}).get(model, STUDY["conditions"])
    return [condition for condition in STUDY["conditions"] if condition in asked]


def runs_at_home(pattern, models=STUDY["models"]):
    """A path for every run of the study on the dataset that it was trained on, under every condition."""
    return [
        pattern.format(
            dataset=dataset, condition=condition, model=model, fold=fold, seed=seed
        )
        for dataset in STUDY["datasets"]
        for model in models
        for condition in conditions_of(model)
        for fold in STUDY["folds"]
        for seed in STUDY["seeds"]
    ]


def conditions_of_the_overlays(wildcards):
    shown = [name for name in conditions_of(wildcards.model) if name in OVERLAID]
    return {name: config["conditions"][name] for name in shown}


def conditions_of_the_model(wildcards):
    return conditions_of(wildcards.model)


def cases_in_the_study(wildcards):
    cohort = COHORTS[wildcards.dataset]
    return [case for fold in STUDY["folds"] for case in cohort.test(fold)]


def folders_of_predictions(wildcards):
    """Case to the folder with its prediction under `clean`, by the study's first seed."""
    runs = f"results/predict/{wildcards.dataset}/clean/{wildcards.dataset}/{wildcards.model}"
    seed = STUDY["seeds"][0]
    return {
        case: f"{runs}/fold-{fold}_seed-{seed}"
        for fold in STUDY["folds"]
        for case in COHORTS[wildcards.dataset].test(fold)
    }


def clean_predictions_of_case(wildcards):
    return folders_of_predictions(wildcards)[wildcards.case]


def clean_predictions(wildcards):
    return sorted(set(folders_of_predictions(wildcards).values()))


def evaluations_abroad(wildcards):
    """The evaluations on datasets that a model was not trained on, of models that are tested under all conditions."""
    return [
        f"results/evaluate/{abroad}/clean/{home}/{model}/fold-{fold}_seed-{seed}/metrics.parquet"
        for home in STUDY["datasets"]
        for abroad in TRANSFERS
        if refusal(config["datasets"][home], config["datasets"][abroad]) is None
        for model in STUDY["models"]
        if model not in STUDY.get("only", {})
        for fold in STUDY["folds"]
        for seed in STUDY["seeds"]
    ]


def cases_shown(wildcards):
    return evenly_chosen(cases_tested(wildcards), STUDY["overlays"])


def predictions_of_case(wildcards):
    [fold] = [
        case.fold
        for case in COHORTS[wildcards.dataset].cases
        if case.name == wildcards.case
    ]
    run = f"{wildcards.dataset}/{wildcards.model}/fold-{fold}_seed-{STUDY['seeds'][0]}"
    return [
        f"results/predict/{wildcards.dataset}/{condition}/{run}"
        for condition in conditions_of_the_overlays(wildcards)
    ]


def pictures_of_the_study(wildcards):
    """Everything that is a picture of cases: overlays, uncertainty, galleries, best and worst cases, conditions."""
    study = f"results/report/{STUDY['name']}"
    return overlays_of_the_study(wildcards) + [
        f"{study}/{picture}"
        for dataset in STUDY["datasets"]
        for picture in [f"gallery/{dataset}.png"]
        + [f"extremes/{dataset}/{model}.png" for model in PREDICTING]
        + [
            f"conditions/{dataset}/{condition}.png"
            for condition in STUDY["conditions"]
            if config["conditions"][condition]
        ]
    ]


def overlays_of_the_study(wildcards):
    return [
        f"results/report/{STUDY['name']}/{kind}/{dataset}/{model}/{case}.png"
        for kind in ("overlays", "uncertainty")
        for dataset in STUDY["datasets"]
        for model in PREDICTING
        for fold in STUDY["folds"]
        for case in evenly_chosen(COHORTS[dataset].test(fold), STUDY["overlays"])
    ]


def cases_tested_abroad(wildcards):
    """All cases, if the pair and the condition have a meaning: what acts after normalization acts on the model's own."""
    trained_on, tested = wildcards.trained_on, wildcards.dataset
    reason = refusal(config["datasets"][trained_on], config["datasets"][tested])
    if "after" in config["conditions"][wildcards.condition]:
        reason = f"{wildcards.condition} acts on normalized images; choose another condition."
    if reason:
        raise WorkflowError(f"{trained_on} is not tested on {tested}. {reason}")
    return cases_tested(wildcards)


def contrast_of_modalities(wildcards):
    return part_of_modalities(wildcards.dataset, ("kind", "like"))
