# Which cases, images and predictions belong to a dataset, a fold or the study: the input functions of all stages.
from diffufuse.study.cohorts import evenly_chosen

# Datasets on which the study's models are tested beside their own: those with a sheet, as check_study read it.
TRANSFERS = [name for name in COHORTS if name not in STUDY["datasets"]]


def cases_of(wildcards):
    return COHORTS[wildcards.dataset].names


def cases_trained_on(wildcards):
    return COHORTS[wildcards.dataset].training(int(wildcards.fold))


def cases_learned_from(wildcards):
    cohort, fold = COHORTS[wildcards.dataset], int(wildcards.fold)
    return cohort.training(fold) + cohort.validation(fold)


def cases_validated(wildcards):
    return COHORTS[wildcards.dataset].validation(int(wildcards.fold))


def cases_tested(wildcards):
    """A fold's test cases; all cases of a dataset that no model was trained on."""
    cohort = COHORTS[wildcards.dataset]
    at_home = wildcards.get("trained_on", wildcards.dataset) == wildcards.dataset
    return cohort.test(int(wildcards.fold)) if at_home else cohort.names


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


def predicted_as(model):
    """The model whose predictions a model scales, or itself."""
    return config["models"][model].get("predictions_of", model)


def trained_as(model):
    """The model whose weights a model uses, or itself."""
    source = predicted_as(model)
    return config["models"][source].get("weights_of", source)


def trained_model(wildcards):
    """Plan and weights that a model predicts with: its own, or those of the model that its `weights_of` names."""
    trained_on = wildcards.get("trained_on", wildcards.dataset)
    run = f"{trained_on}/{trained_as(wildcards.model)}/fold-{wildcards.fold}_seed-{wildcards.seed}"
    return {
        "plan": f"results/train/{run}/plan.json",
        "weights": f"results/train/{run}/weights.safetensors",
    }


def predictions_scaled(wildcards):
    run = f"{predicted_as(wildcards.model)}/fold-{wildcards.fold}_seed-{wildcards.seed}"
    return f"results/predict/{wildcards.dataset}/{wildcards.condition}/{wildcards.trained_on}/{run}"


def validation_predictions(wildcards):
    run = f"{predicted_as(wildcards.model)}/fold-{wildcards.fold}_seed-{wildcards.seed}"
    return f"results/predict/{wildcards.dataset}/validation/{run}"


def regions_tested(wildcards):
    """All regions of a dataset; of one that no model was trained on, the lesion."""
    block = config["datasets"][wildcards.dataset]
    if wildcards.trained_on == wildcards.dataset:
        return block["regions"]
    return {block["lesion"]: block["regions"][block["lesion"]]}


def conditions_learned_from(wildcards):
    """The conditions that a model's training corrupts images with, and no others."""
    training = config["models"][wildcards.model]["training"]
    return {
        name: config["conditions"][name]
        for name in training["corruption"]["conditions"]
    }
