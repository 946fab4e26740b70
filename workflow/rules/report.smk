# One study's tables, figures and pictures. Everything but the pictures is computed from a few tables of the whole study.

EVIDENCE = dict(
    metrics="results/report/{study}/metrics.parquet",
    summary="results/report/{study}/summary.parquet",
    runs="results/report/{study}/runs.parquet",
    forecasts="results/report/{study}/forecasts.parquet",
    calibrations="results/report/{study}/calibrations.parquet",
    efficiency="results/report/{study}/efficiency.parquet",
    latencies="results/report/{study}/latencies.parquet",
    curves="results/report/{study}/curves.parquet",
    cohorts=expand("config/cohorts/{dataset}.tsv", dataset=STUDY.cohorts),
)


rule report:
    input:
        expand(
            "results/report/{study}/{file}",
            study=STUDY.name,
            file=["summary.json", "patients.csv", "results.md", "study.html"]
            + expand("tables/{table}.csv", table=config["study"]["tables"])
            + expand("figures/{figure}.png", figure=config["study"]["figures"])
            + expand("{picture}.png", picture=STUDY.pictures.names)
            + expand(
                "uncertainty/{case}.nii.gz", case=STUDY.pictures.uncertainty_maps
            ),
        ),
    message:
        "The tables, figures and pictures of the study are there."


rule join_tables:
    input:
        lookup("{joined}", within=JOINED),
    output:
        "results/report/{study}/{joined}.parquet",
    log:
        "results/logs/report/{study}/{joined}.log",
    wildcard_constraints:
        joined="|".join(JOINED),
    params:
        chosen=STUDY.parameters.joining,
        code=STUDY.code_of("join_tables.py"),
    message:
        "Join the {wildcards.joined} of the study {wildcards.study}."
    script:
        "../scripts/join_tables.py"


rule summarize_metrics:
    input:
        metrics="results/report/{study}/metrics.parquet",
        cohorts=EVIDENCE["cohorts"],
    output:
        summary="results/report/{study}/summary.parquet",
        record="results/report/{study}/summary.json",
        patients="results/report/{study}/patients.csv",
    log:
        "results/logs/report/{study}/summary.log",
    params:
        study_seed=STUDY.seed,
        code=STUDY.code_of("summarize_metrics.py"),
    message:
        "Summarize the study {wildcards.study} over patients."
    script:
        "../scripts/summarize_metrics.py"


rule write_table:
    input:
        **EVIDENCE,
        reported="config/reported.tsv",
        published="config/published_images.tsv",
    output:
        csv="results/report/{study}/tables/{table}.csv",
        markdown="results/report/{study}/tables/{table}.md",
        latex="results/report/{study}/tables/{table}.tex",
        html=report(
            "results/report/{study}/tables/{table}.html",
            caption="../report/table.rst",
            category="1 Results",
            labels={"result": "table: {table}"},
        ),
    log:
        "results/logs/report/{study}/tables/{table}.log",
    params:
        context=STUDY.parameters.context,
        code=STUDY.code_of("write_table.py"),
    message:
        "Write the table {wildcards.table}."
    script:
        "../scripts/write_table.py"


rule write_results:
    input:
        **EVIDENCE,
        reported="config/reported.tsv",
        published="config/published_images.tsv",
    output:
        "results/report/{study}/results.md",
    log:
        "results/logs/report/{study}/results.log",
    params:
        context=STUDY.parameters.context,
        tables=lookup("study/tables", within=config),
        code=STUDY.code_of("write_results.py"),
    message:
        "Write the results of the study {wildcards.study} as one page."
    script:
        "../scripts/write_results.py"


rule draw_figure:
    input:
        **EVIDENCE,
    output:
        pdf="results/report/{study}/figures/{figure}.pdf",
        png=report(
            "results/report/{study}/figures/{figure}.png",
            caption="../report/figure.rst",
            category="1 Results",
            labels={"result": "figure: {figure}"},
        ),
        csv="results/report/{study}/figures/{figure}.csv",
    log:
        "results/logs/report/{study}/figures/{figure}.log",
    params:
        context=STUDY.parameters.context,
        code=STUDY.code_of("draw_figure.py"),
    message:
        "Draw {wildcards.figure}."
    script:
        "../scripts/draw_figure.py"


rule draw_picture:
    input:
        cases=STUDY.prepared.pictured,
        predictions=collect(
            "results/predict/{{dataset}}/test/{run}", run=STUDY.pictures.tests
        ),
        metrics=collect(
            "results/evaluate/{{dataset}}/test/{run}/metrics.parquet",
            run=STUDY.pictures.evaluations,
        ),
    output:
        report(
            "results/report/{study}/{picture}/{dataset}/{subject}.png",
            caption="../report/picture.rst",
            category="2 Cases",
            subcategory="{dataset}, {picture}",
            labels={"picture": "{subject}"},
        ),
    log:
        "results/logs/report/{study}/{picture}/{dataset}/{subject}.log",
    params:
        settings=STUDY.pictures.settings,
        code=STUDY.code_of("draw_picture.py"),
    message:
        "Draw {wildcards.picture} of {wildcards.dataset}: {wildcards.subject}."
    script:
        "../scripts/draw_picture.py"


rule map_uncertainty:
    input:
        collect(
            "results/predict/{{dataset}}/test/clean/{{dataset}}/{{model}}/{run}",
            run=STUDY.pictures.test_of_case,
        ),
    output:
        "results/report/{study}/uncertainty/{dataset}/{model}/{case}.nii.gz",
    log:
        "results/logs/report/{study}/uncertainty/{dataset}/{model}/{case}.map.log",
    params:
        regions=lookup("{dataset}/regions", within=config["datasets"], default={}),
        code=STUDY.code_of("map_uncertainty.py"),
    message:
        "Map where {wildcards.model} is uncertain about {wildcards.case}."
    script:
        "../scripts/map_uncertainty.py"


rule describe_study:
    input:
        "results/report/{study}/runs.parquet",
    output:
        report(
            "results/report/{study}/study.html",
            caption="../report/study.rst",
            category="0 The study",
            labels={"result": "what was run"},
        ),
    log:
        "results/logs/report/{study}/study.log",
    params:
        study=lookup("study", within=config),
        context=STUDY.parameters.context,
        code=STUDY.code_of("describe_study.py"),
    message:
        "Describe the study {wildcards.study}: its exact configuration and the commits of its runs."
    script:
        "../scripts/describe_study.py"


# A page of another study is never filled with this one's numbers.
rule refuse_other_study:
    input:
        STUDY.refuse_other,
    output:
        "results/report/{other_study}/{file}",
    wildcard_constraints:
        other_study=rf"(?!{STUDY.name}/)[a-z0-9_]+",
