# One study's tables and figures, all computed from the tables of what it found.

KNOWN = dict(
    conditions={name: config["conditions"][name] for name in STUDY["conditions"]},
    models={name: config["models"][name] for name in STUDY["models"]},
    datasets={
        name: config["datasets"][name]
        for name in STUDY["datasets"] + STUDY.get("transfers", [])
    },
    asked=STUDY["metrics"],
    compare_with=STUDY.get("compare_with", STUDY["models"][0]),
    transfers=STUDY.get("transfers", []),
    study_seed=STUDY["seed"],
)


rule report:
    input:
        pictures_of_the_study,
        expand(
            f"results/report/{STUDY['name']}/{{file}}",
            file=["summary.json", "results.md", "study.html"]
            + expand("tables/{table}.csv", table=STUDY["tables"])
            + expand("figures/{figure}.png", figure=STUDY["figures"]),
        ),
    message:
        "The tables, figures and pictures of the study are there."


rule write_table:
    input:
        **EVIDENCE,
        reported="config/reported.tsv",
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
        "results/logs/report/{study}/{table}.log",
    params:
        known=KNOWN,
        source=source_hash(*REPORTING_CODE),
    message:
        "Write the table {wildcards.table}."
    script:
        "../scripts/write_table.py"


rule write_results:
    input:
        **EVIDENCE,
        reported="config/reported.tsv",
    output:
        "results/report/{study}/results.md",
    log:
        "results/logs/report/{study}/results.log",
    params:
        known=KNOWN,
        tables=lookup("study/tables", within=config),
        source=source_hash(*REPORTING_CODE),
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
        "results/logs/report/{study}/{figure}.log",
    params:
        known=KNOWN,
        source=source_hash(
            "figures/{figure}.py",
            "figures/parts.py",
            "figures/looks.py",
            "figures/curves.py",
            "figures/forecasts.py",
            "figures/style.py",
            *REPORTING_CODE,
        ),
    message:
        "Draw {wildcards.figure}."
    script:
        "../scripts/draw_figure.py"


rule describe_study:
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
        study=STUDY,
        known=KNOWN,
        source=source_hash("reporting/study_page.py", "reporting/writing.py"),
    message:
        "Describe the study {wildcards.study}: its exact configuration, its data, their licenses."
    script:
        "../scripts/describe_study.py"
