# What stands behind the numbers: test cases with their predictions, and cases as they were prepared.

OVERLAY_CODE = (
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
        conditions=conditions_of_the_study,
        modalities=geometry_of_modalities,
        regions=lookup("{dataset}/regions", within=config["datasets"]),
        source=source_hash(
            "figures/overlay.py",
            "figures/panels.py",
            "figures/style.py",
            "overlays.py",
            *OVERLAY_CODE,
        ),
    message:
        "Show the predictions of {wildcards.model} for {wildcards.case}."
    script:
        "../scripts/draw_overlay.py"


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
            category="3 Registration",
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
