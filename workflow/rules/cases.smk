# Which cases, images and predictions belong to a dataset, a fold or the study: the input functions of all stages.
from diffufuse.cases import evenly_chosen


def cases_of(wildcards):
    return COHORTS[wildcards.dataset].names


def cases_trained_on(wildcards):
    return COHORTS[wildcards.dataset].training(int(wildcards.fold))


def cases_learned_from(wildcards):
    cohort, fold = COHORTS[wildcards.dataset], int(wildcards.fold)
    return cohort.training(fold) + cohort.validation(fold)


def cases_tested(wildcards):
    return COHORTS[wildcards.dataset].test(int(wildcards.fold))


def cases_in_the_gallery(wildcards):
    return evenly_chosen(COHORTS[wildcards.dataset].names)


def reading_of(wildcards):
    """What ingest reads of a dataset's block: where images and labels are, and what the labels mean."""
    block = config["datasets"][wildcards.dataset]
    reading = ("kind", "series", "file", "channel", "fill_gaps")
    return {
        "modalities": part_of_modalities(wildcards.dataset, reading),
        **{key: block[key] for key in ("format", "reference", "annotation", "labels")},
    }


def geometry_of_modalities(wildcards):
    return part_of_modalities(wildcards.dataset, ("kind", "follows", "bias_correction"))


def appearance_of_modalities(wildcards):
    return part_of_modalities(wildcards.dataset, ("kind", "normalization"))


def part_of_modalities(dataset, keys):
    blocks = config["datasets"][dataset]["modalities"]
    return {
        name: {key: block[key] for key in keys if key in block}
        for name, block in blocks.items()
    }


def trained_model(wildcards):
    """Plan and weights that a model predicts with: its own, or those of the model that its `weights_of` names."""
    model = config["models"][wildcards.model].get("weights_of", wildcards.model)
    run = f"{wildcards.trained_on}/{model}/fold-{wildcards.fold}_seed-{wildcards.seed}"
    return {
        "plan": f"results/train/{run}/plan.json",
        "weights": f"results/train/{run}/weights.safetensors",
    }


def conditions_learned_from(wildcards):
    """The conditions that a model's training corrupts images with, and no others."""
    training = config["models"][wildcards.model]["training"]
    return {
        name: config["conditions"][name]
        for name in training["corruption"]["conditions"]
    }


def conditions_of_the_study(wildcards):
    return {name: config["conditions"][name] for name in STUDY["conditions"]}


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
        for condition in STUDY["conditions"]
    ]


def overlays_of_the_study(wildcards):
    return [
        f"results/report/{STUDY['name']}/overlays/{dataset}/{model}/{case}.png"
        for dataset, cohort in COHORTS.items()
        for model in STUDY["models"]
        for fold in STUDY["folds"]
        for case in evenly_chosen(cohort.test(fold), STUDY["overlays"])
    ]
