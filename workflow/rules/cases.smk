# Which cases, images and predictions belong to a dataset, a fold or the study: the input functions of all stages.


def cases_of(wildcards):
    return COHORTS[wildcards.dataset].names


def cases_learned_from(wildcards):
    cohort, fold = COHORTS[wildcards.dataset], int(wildcards.fold)
    return cohort.training(fold) + cohort.validation(fold)


def cases_tested(wildcards):
    return COHORTS[wildcards.dataset].test(int(wildcards.fold))


def modalities_of(wildcards):
    return list(config["datasets"][wildcards.dataset]["modalities"])


def geometry_of_modalities(wildcards):
    blocks = config["datasets"][wildcards.dataset]["modalities"]
    return {
        name: {key: block[key] for key in ("kind", "follows") if key in block}
        for name, block in blocks.items()
    }


def conditions_of_the_study(wildcards):
    return {name: config["conditions"][name] for name in STUDY["conditions"]}


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
        for case in cohort.test(fold)
    ]
