# What stands behind the numbers: test cases with their predictions, and cases as they were prepared.

OVERLAY_CODE = (
    "overlays.py",
    "figures/overlay.py",
    "figures/extremes.py",
    "figures/panels.py",
    "figures/style.py",
    "conditions.py",
    "corruptions",
    "scan.py",
    "prepared.py",
    "slices.py",
    "packing.py",
    "volumes.py",
    "seeds.py",
    "tables.py",
    "metrics",
)


rule draw_overlay:
    input:
        case="results/prepare/{dataset}/{case}/{case}.json",
        slices="results/prepare/{dataset}/{case}/{case}_slices.b2nd",
        predictions=predictions_of_case,
    output:
        report(
            "results/report/{study}/overlays/{dataset}/{model}/{case}.png",
            caption="../report/overlay.rst",
            category="2 Test cases",
            subcategory="{dataset}, {model}",
            labels={"case": "{case}"},
        ),
    log:
        "results/logs/report/{study}/overlays/{dataset}/{model}/{case}.log",
    params:
        study_seed=lookup("study/seed", within=config),
        conditions=conditions_of_the_overlays,
        modalities=geometry_of_modalities,
        regions=lookup("{dataset}/regions", within=config["datasets"]),
        source=source_hash(*OVERLAY_CODE),
    message:
        "Show the predictions of {wildcards.model} for {wildcards.case}."
    script:
        "../scripts/draw_overlay.py"


rule draw_uncertainty:
    input:
        case="results/prepare/{dataset}/{case}/{case}.json",
        slices="results/prepare/{dataset}/{case}/{case}_slices.b2nd",
        predictions=clean_predictions_of_case,
    output:
        map="results/report/{study}/uncertainty/{dataset}/{model}/{case}.nii.gz",
        picture=report(
            "results/report/{study}/uncertainty/{dataset}/{model}/{case}.png",
            caption="../report/uncertainty.rst",
            category="3 Uncertainty",
            subcategory="{dataset}, {model}",
            labels={"case": "{case}"},
        ),
    log:
        "results/logs/report/{study}/uncertainty/{dataset}/{model}/{case}.log",
    params:
        modalities=geometry_of_modalities,
        regions=lookup("{dataset}/regions", within=config["datasets"]),
        source=source_hash("figures/uncertainty.py", *OVERLAY_CODE),
    message:
        "Show where {wildcards.model} is in doubt about {wildcards.case}."
    script:
        "../scripts/draw_uncertainty.py"


rule draw_extremes:
    input:
        clean_predictions,
        metrics="results/report/{study}/metrics.parquet",
        cases=collect(
            "results/prepare/{{dataset}}/{case}/{case}.json", case=cases_in_the_study
        ),
        slices=collect(
            "results/prepare/{{dataset}}/{case}/{case}_slices.b2nd",
            case=cases_in_the_study,
        ),
    output:
        report(
            "results/report/{study}/extremes/{dataset}/{model}.png",
            caption="../report/extremes.rst",
            category="2 Test cases",
            subcategory="{dataset}, {model}",
            labels={"case": "best, median, worst"},
        ),
    log:
        "results/logs/report/{study}/extremes/{dataset}/{model}.log",
    params:
        predictions=folders_of_predictions,
        modalities=geometry_of_modalities,
        regions=lookup("{dataset}/regions", within=config["datasets"]),
        source=source_hash(*OVERLAY_CODE),
    message:
        "Show the best, the median and the worst case of {wildcards.model} on {wildcards.dataset}."
    script:
        "../scripts/draw_extremes.py"


rule draw_gallery:
    input:
        cases=collect(
            "results/prepare/{{dataset}}/{case}/{case}.json", case=cases_in_the_gallery
        ),
        slices=collect(
            "results/prepare/{{dataset}}/{case}/{case}_slices.b2nd",
            case=cases_in_the_gallery,
        ),
    output:
        report(
            "results/report/{study}/gallery/{dataset}.png",
            caption="../report/gallery.rst",
            category="5 Registration",
            subcategory="{dataset}",
            labels={"case": "gallery"},
        ),
    log:
        "results/logs/report/{study}/gallery/{dataset}.log",
    params:
        modalities=geometry_of_modalities,
        labels=lookup("{dataset}/labels", within=config["datasets"]),
        source=source_hash(
            "figures/gallery.py",
            "figures/panels.py",
            "figures/style.py",
            "prepared.py",
            "scan.py",
            "slices.py",
            "packing.py",
            "volumes.py",
            "tables.py",
        ),
    message:
        "Show cases of {wildcards.dataset} as they were prepared."
    script:
        "../scripts/draw_gallery.py"
