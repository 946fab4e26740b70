# Every case on one grid: registered to its reference modality, bias-corrected, with body and presence masks.

CASE_CODE = (
    "prepared.py",
    "scan.py",
    "slices.py",
    "packing.py",
    "tables.py",
    "volumes.py",
)
IMAGE_CODE = (
    "ingested.py",
    "normalization.py",
    "resampling.py",
    "similarity.py",
    "figures/style.py",
)


rule prepare:
    input:
        [
            f"results/prepare/{dataset}/{case}/{case}_registration.png"
            for dataset, cohort in COHORTS.items()
            for case in cohort.names
        ],
        expand("results/prepare/{dataset}/patches.parquet", dataset=COHORTS),
    message:
        "All cases are prepared."


rule prepare_case:
    input:
        "results/ingest/{dataset}/{case}",
    output:
        images=directory("results/prepare/{dataset}/{case}/images"),
        labels="results/prepare/{dataset}/{case}/{case}_labels.nii.gz",
        body="results/prepare/{dataset}/{case}/{case}_body.nii.gz",
        masks=directory("results/prepare/{dataset}/{case}/masks"),
        transforms=directory("results/prepare/{dataset}/{case}/transforms"),
        slices="results/prepare/{dataset}/{case}/{case}_slices.b2nd",
        record="results/prepare/{dataset}/{case}/{case}.json",
        picture=report(
            "results/prepare/{dataset}/{case}/{case}_registration.png",
            caption="../report/registration.rst",
            category="5 Registration",
            subcategory="{dataset}",
            labels={"case": "{case}"},
        ),
    log:
        text="results/logs/prepare/{dataset}/{case}.log",
        picture="results/logs/prepare/{dataset}/{case}.png",
    params:
        modalities=geometry_of_modalities,
        reference=lookup("{dataset}/reference", within=config["datasets"]),
        spacing_mm=lookup("{dataset}/spacing_mm", within=config["datasets"]),
        transform=lookup(
            "{dataset}/registration/transform",
            within=config["datasets"],
            default="rigid",
        ),
        gate=lookup(
            "{dataset}/registration/gate", within=config["datasets"], default={}
        ),
        source=source_hash(
            "preparation.py",
            "bias.py",
            "body.py",
            "registration",
            "transforms.py",
            "figures/registration.py",
            *CASE_CODE,
            *IMAGE_CODE,
        ),
    message:
        "Register and prepare {wildcards.case} of {wildcards.dataset}."
    script:
        "../scripts/prepare_case.py"


rule index_slices:
    input:
        cases=collect("results/prepare/{{dataset}}/{case}/{case}.json", case=cases_of),
        slices=collect(
            "results/prepare/{{dataset}}/{case}/{case}_slices.b2nd", case=cases_of
        ),
    output:
        "results/prepare/{dataset}/patches.parquet",
    log:
        "results/logs/prepare/{dataset}/patches.log",
    params:
        regions=lookup("{dataset}/regions", within=config["datasets"]),
        source=source_hash(*CASE_CODE),
    message:
        "Index the slices of {wildcards.dataset}."
    script:
        "../scripts/index_slices.py"
