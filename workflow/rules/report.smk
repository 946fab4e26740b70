# One study's tables and figures, all computed from its one table of metrics.

SUMMARY_CODE = (
    "reporting.py",
    "statistics.py",
    "cases.py",
    "seeds.py",
    "tables.py",
    "metrics",
)


rule report:
    input:
        "results/report/{study}/summary.json".format(study=STUDY["name"]),
        expand(
            "results/report/{study}/tables/{table}.csv",
            study=STUDY["name"],
            table=STUDY["tables"],
        ),
        expand(
            "results/report/{study}/figures/{figure}.png",
            study=STUDY["name"],
            figure=STUDY["figures"],
        ),
        overlays_of_the_study,
        expand(
            "results/report/{study}/gallery/{dataset}.png",
            study=STUDY["name"],
            dataset=STUDY["datasets"],
        ),
    message:
        "The tables, figures and pictures of the study are there."


rule collect_metrics:
    input:
        rules.evaluate.input,
    output:
        "results/report/{study}/metrics.parquet",
    log:
        "results/logs/report/{study}/metrics.log",
    params:
        source=source_hash("tables.py"),
    message:
        "Collect the metrics of the study {wildcards.study}."
    script:
        "../scripts/collect_metrics.py"


rule summarize_metrics:
    input:
        metrics="results/report/{study}/metrics.parquet",
        cohorts=expand("config/cohorts/{dataset}.tsv", dataset=STUDY["datasets"]),
    output:
        summary="results/report/{study}/summary.parquet",
        record="results/report/{study}/summary.json",
    log:
        "results/logs/report/{study}/summary.log",
    params:
        study_seed=lookup("study/seed", within=config),
        source=source_hash(*SUMMARY_CODE),
    message:
        "Summarize the study {wildcards.study} over patients."
    script:
        "../scripts/summarize_metrics.py"


rule write_table:
    input:
        "results/report/{study}/summary.parquet",
    output:
        csv="results/report/{study}/tables/{table}.csv",
        markdown="results/report/{study}/tables/{table}.md",
        html=report(
            "results/report/{study}/tables/{table}.html",
            caption="../report/table.rst",
            category="1 Results",
            labels={"result": "table: {table}"},
        ),
    log:
        "results/logs/report/{study}/{table}.log",
    params:
        metrics=lookup("study/metrics", within=config),
        source=source_hash(*SUMMARY_CODE),
    message:
        "Write the table {wildcards.table}."
    script:
        "../scripts/write_table.py"


rule draw_figure:
    input:
        metrics="results/report/{study}/metrics.parquet",
        cohorts=expand("config/cohorts/{dataset}.tsv", dataset=STUDY["datasets"]),
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
        "results/logs/report/{study}/{figure}.log",
    params:
        study_seed=lookup("study/seed", within=config),
        source=source_hash("figures/{figure}.py", "figures/style.py", *SUMMARY_CODE),
    message:
        "Draw {wildcards.figure}."
    script:
        "../scripts/draw_figure.py"
