"""What an edit reruns: for each edit of the code, the jobs whose digest changes, and no others.

These are the jobs that rerun directly; what is behind them in the graph follows if their results differ.
"""

import importlib.metadata
import re
import shutil
from dataclasses import dataclass, replace

import pytest
from study_jobs import ROOT, RULES, codes_of_rules, job, study_of

from diffufuse.study import code_digest
from diffufuse.study.code_digest import Code
from diffufuse.study.members import REGISTRIES
from diffufuse.track import registry

STUDY = {
    "name": "edits",
    "datasets": ["phantom", "sts_ibsi"],
    "transfers": ["msd_brats"],
    "conditions": ["clean", "no-pet", "gauss-0.5", "bias", "missing-slices"],
    "models": ["unet2d_tiny", "unet2d_small_plain", "diffufusemed_tiny", "diffufusemed_tiny_scaled"],
    "only": {},
    "overlay_conditions": ["clean", "bias"],
    "tables": ["segmentation", "efficiency"],
}
RUN = {"fold": "0", "seed": "0"}
UNET, PLAIN, OURS, SCALED = STUDY["models"]


def trial(model, condition="clean", dataset="phantom", trained_on="phantom"):
    return {
        "dataset": dataset,
        "part": "test",
        "condition": condition,
        "trained_on": trained_on,
        "model": model,
        **RUN,
    }


def shown(picture, subject):
    return {"study": "edits", "picture": picture, "dataset": "phantom", "subject": subject}


def of_study(**wildcards):
    return {"study": "edits", **wildcards}


# Name of a job to its rule and wildcards.
JOBS = {
    "fetch phantom": ("fetch_dataset", {"dataset": "phantom"}),
    "fetch sts_ibsi": ("fetch_dataset", {"dataset": "sts_ibsi"}),
    "ingest phantom": ("ingest_case", {"dataset": "phantom", "case": "PH-001"}),
    "ingest sts_ibsi": ("ingest_case", {"dataset": "sts_ibsi", "case": "STS-001"}),
    "draft phantom": ("draft_cohort", {"dataset": "phantom"}),
    "draft sts_ibsi": ("draft_cohort", {"dataset": "sts_ibsi"}),
    "prepare": ("prepare_case", {"dataset": "phantom", "case": "PH-001"}),
    "prepare pairs": ("prepare_pairs", {"dataset": "phantom_pairs"}),
    "list": ("list_cases", {"dataset": "phantom", "listed": "training-0"}),
    "index": ("index_slices", {"dataset": "phantom"}),
    "constants": ("fit_normalization", {"dataset": "phantom", "fold": "0"}),
    "train unet": ("train_model", {"dataset": "phantom", "model": UNET, **RUN}),
    "train plain": ("train_model", {"dataset": "phantom", "model": PLAIN, **RUN}),
    "train ours": ("train_model", {"dataset": "phantom", "model": OURS, **RUN}),
    "train average": ("train_model", {"dataset": "phantom", "model": "average", **RUN}),
    "train leader": ("train_model", {"dataset": "phantom", "model": "fuse4seg_leader_small", **RUN}),
    "train game": ("train_model", {"dataset": "phantom", "model": "fuse4seg_small", **RUN}),
    "train on average": ("train_model", {"dataset": "phantom", "model": "convnext_unet_small_on_average", **RUN}),
    "predict unet": ("predict_cases", trial(UNET)),
    "predict unet no-pet": ("predict_cases", trial(UNET, "no-pet")),
    "predict unet gauss": ("predict_cases", trial(UNET, "gauss-0.5")),
    "predict unet bias": ("predict_cases", trial(UNET, "bias")),
    "predict unet missing": ("predict_cases", trial(UNET, "missing-slices")),
    "predict unet transfer": ("predict_cases", trial(UNET, dataset="msd_brats")),
    "predict ours": ("predict_cases", trial(OURS)),
    "predict average": ("predict_cases", trial("average")),
    "scale": ("scale_predictions", trial(SCALED)),
    "calibrate": ("fit_calibration", {"dataset": "phantom", "model": UNET, **RUN}),
    "evaluate": ("evaluate_predictions", trial(UNET)),
    "efficiency unet": ("measure_efficiency", {"dataset": "phantom", "model": UNET, **RUN}),
    "efficiency ours": ("measure_efficiency", {"dataset": "phantom", "model": OURS, **RUN}),
    "join metrics": ("join_tables", of_study(joined="metrics")),
    "join efficiency": ("join_tables", of_study(joined="efficiency")),
    "summarize": ("summarize_metrics", of_study()),
    "table segmentation": ("write_table", of_study(table="segmentation")),
    "table efficiency": ("write_table", of_study(table="efficiency")),
    "results": ("write_results", of_study()),
    "figure roc": ("draw_figure", of_study(figure="roc")),
    "figure latency": ("draw_figure", of_study(figure="latency")),
    "picture gallery": ("draw_picture", shown("gallery", "cases")),
    "picture gauss": ("draw_picture", shown("conditions", "gauss-0.5")),
    "picture bias": ("draw_picture", shown("conditions", "bias")),
    "picture extremes": ("draw_picture", shown("extremes", UNET)),
    "picture overlay": ("draw_picture", shown("overlays", f"{UNET}/PH-001")),
    "picture uncertainty": ("draw_picture", shown("uncertainty", f"{UNET}/PH-001")),
    "map": ("map_uncertainty", of_study(dataset="phantom", model=UNET, case="PH-001")),
    "describe": ("describe_study", of_study()),
    "track study": ("track_study", of_study()),
}
ALL = set(JOBS)


def jobs(*beginnings):
    """The jobs whose names begin so."""
    found = {name for name in JOBS if name.startswith(beginnings)}
    assert all(any(name.startswith(beginning) for name in found) for beginning in beginnings)
    return found


FETCH, INGEST, DRAFT, TRAIN = (jobs(word) for word in ("fetch phantom", "ingest", "draft", "train"))
PREDICT, EFFICIENCY, TABLE, FIGURE = (jobs(word) for word in ("predict", "efficiency", "table", "figure"))
PICTURE, TRACK, JOIN = (jobs(word) for word in ("picture", "track", "join"))
UNETS = {"train unet", "efficiency unet", *jobs("predict unet")}
PLAINS = {"train plain"}
# They show prepared cases, and most of them a prediction.
PREDICTION_PICTURES = PICTURE - {"picture gallery", "picture gauss", "picture bias"}
# All that name a metric: beside evaluation, the report, which depends on every evaluation anyway.
METRIC = {"evaluate", "summarize", "results"} | TABLE | FIGURE
# All that read the store.
STORED = {"index", "constants"} | TRAIN | PREDICT | PICTURE | EFFICIENCY


@dataclass
class Edit:
    """What is done to a file, and which jobs rerun directly.

    Attributes:
        path: below the library, or `scripts/...`.
        reruns: names of `JOBS`.
        old: a pattern in the file, whose first match is replaced; None to add to its end.
        new: what comes there.
    """

    path: str
    reruns: set
    old: str | None = None
    new: str = "EDITED = 1\n"


def docstring(path):
    return Edit(path, set(), '"""', '"""Edited. ')


EDITS = {
    # What no result follows from.
    "a docstring of the loop": docstring("train/loop.py"),
    "a docstring of the ground": docstring("files/atomic.py"),
    "a comment": Edit("space/volumes.py", set(), None, "# edited\n"),
    "layout": Edit("store/scan.py", set(), r"\n\n\n", "\n\n\n\n\n"),
    "a log's text": Edit("logs.py", set()),
    "the curves in MLflow while a training runs": Edit("track/live.py", set()),
    "what a record says of its making": Edit("study/provenance.py", set()),
    "the number of a release": Edit("__init__.py", set(), '__version__ = "[^"]+"', '__version__ = "9.9.9"'),
    "the reading of a study": Edit("study/study.py", set()),
    "the plan of a fetch": Edit("fetch/plan.py", set()),
    # The ground.
    "writing a file": Edit("files/atomic.py", ALL - jobs("fetch sts_ibsi")),
    # Data.
    "the phantom's DICOM": Edit("phantom/dicom_writing.py", FETCH),
    "a source that downloads": Edit("fetch/sources/idc.py", set()),
    "SUV": Edit("dicom/suv.py", {"ingest phantom", "draft phantom"}),
    "the DICOM format": Edit("ingest/formats/dicom.py", {"ingest phantom", "draft phantom"}),
    "the NIfTI format": Edit("ingest/formats/nifti.py", {"ingest sts_ibsi", "draft sts_ibsi"}),
    "registration": Edit("prepare/registration/search.py", {"prepare"}),
    "the picture of a registration": Edit("prepare/picture.py", {"prepare"}),
    "body mask": Edit("prepare/body.py", {"prepare"}),
    "the store": Edit("store/slices.py", {"prepare", "prepare pairs", "calibrate", "evaluate", "scale"} | STORED),
    "lists of cases": Edit(
        "store/case_lists.py", {"list", "constants", "calibrate", "evaluate"} | TRAIN | PREDICT | PICTURE
    ),
    "normalization": Edit("store/normalization.py", TRAIN | PREDICT | {"evaluate", "picture gauss", "picture bias"}),
    "constants of normalization": Edit(
        "plan/constants.py", {"constants", "picture gauss", "picture bias"} | TRAIN | PREDICT | EFFICIENCY
    ),
    # Models.
    "build_model": Edit(
        "models/__init__.py",
        TRAIN | PREDICT | EFFICIENCY,
        r"    return (MODELS.*\]\(.*\n)",
        r"    network = \1    return network\n",
    ),
    "a model": Edit("models/unet2d.py", UNETS | PLAINS),
    "a part of our model": Edit("models/layers/diffusion.py", {"train ours", "predict ours", "efficiency ours"}),
    "the order of models": Edit(
        "models/__init__.py", set(), r'(    "unet2d": UNet2D,\n)(    "unet3d": UNet3D,\n)', r"\2\1"
    ),
    "a newly listed model": Edit(
        "models/__init__.py",
        set(),
        r"(from diffufuse.models.unet2d)((?:.|\n)*MODELS = \{\n)",
        r'from diffufuse.models.unet2d import UNet2D as UNetAgain\n\1\2    "unet_again": UNetAgain,\n',
    ),
    "another class under a model's name": Edit(
        "models/__init__.py",
        UNETS | PLAINS,
        r'from diffufuse.models.unet2d import UNet2D\n((?:.|\n)*)"unet2d": UNet2D',
        r'\1"unet2d": AttentionUNet',
    ),
    # Fusers. What a segmenter reads of them reruns behind them, as its input is another one.
    "a fuser": Edit("models/fusers/pixelwise.py", {"train average", "predict average"}),
    "another fuser": Edit("models/fusers/wavelet.py", set()),
    "the leader": Edit("models/fuse4seg/leader.py", {"train leader", "train game"}),
    "the follower within the game": Edit("models/fuse4seg/network.py", {"train game"}),
    "the follower": Edit("models/convnext_unet.py", {"train game", "train on average"}),
    "the mean from which fusers start": Edit(
        "models/present.py", {"train average", "predict average", "train leader", "train game"}
    ),
    "the game": Edit("train/regimens/bilevel.py", {"train game"}),
    # Conditions.
    "a corruption that no training learns from": Edit(
        "conditions/corruptions/bias_field.py", {"predict unet bias", "picture bias", "picture overlay"}
    ),
    "a corruption that trainings learn from": Edit(
        "conditions/corruptions/gaussian_noise.py",
        {"train unet", "train ours", "predict unet gauss", "picture gauss"},
    ),
    "what takes slices away": Edit("conditions/corruptions/missing_slices.py", {"predict unet missing"}),
    "a corruption that nobody asks for": Edit("conditions/corruptions/streaks.py", set()),
    "how a condition is applied": Edit(
        "conditions/apply.py", TRAIN | PREDICT | {"picture gauss", "picture bias", "picture overlay"}
    ),
    "the order of corruptions": Edit(
        "conditions/corruptions/__init__.py",
        set(),
        r'(    "gaussian_noise": gaussian_noise,\n)(    "rician_noise": rician_noise,\n)',
        r"\2\1",
    ),
    # Training.
    "the loop": Edit("train/loop.py", TRAIN),
    "a regimen": Edit("train/regimens/supervised.py", TRAIN - {"train average", "train game"}),
    "losses": Edit("train/losses.py", TRAIN - {"train average"}),
    "a column of the curves": Edit(
        "train/history.py", TRAIN | JOIN | {"track study"}, r'\("unit"', '("time", pa.int32()), ("unit"'
    ),
    # Prediction and what is measured of it.
    "inference": Edit("predict/inference.py", TRAIN | PREDICT),
    "sampling": Edit("predict/sampling.py", PREDICT),
    "fusing": Edit("predict/fusing.py", TRAIN | PREDICT),
    "pictures of fused images": Edit("predict/fused_pictures.py", PREDICT),
    "which slices of a fused image are scored": Edit("evaluate/fused.py", {"evaluate"}),
    "a metric of fused images": Edit("metrics/fusion/edges.py", METRIC | TRAIN),
    "transfer": Edit("predict/transfer.py", PREDICT),
    "a metric of probabilities": Edit("metrics/discrimination.py", METRIC),
    "a metric of masks": Edit("metrics/overlap.py", METRIC | JOIN | PREDICTION_PICTURES),
    # What is near a region is measured as surfaces are.
    "a metric of surfaces": Edit("metrics/surface.py", METRIC | {"calibrate", "scale"} | PREDICTION_PICTURES),
    "a newly listed metric": Edit("metrics/catalogue.py", METRIC),
    "a column of the metrics": Edit(
        "evaluate/schemas.py", METRIC | JOIN | {"calibrate", "scale", "picture extremes", "track study"}
    ),
    "a column of the efficiency": Edit("evaluate/cost_schemas.py", EFFICIENCY | TABLE | FIGURE | JOIN | {"results"}),
    "a column of the runs": Edit(
        "report/schemas.py", {"summarize", "results", "describe", "track study"} | TABLE | FIGURE | JOIN
    ),
    "scaling": Edit("evaluate/scaling.py", {"calibrate", "scale"}),
    "efficiency": Edit("evaluate/efficiency.py", EFFICIENCY),
    # Report.
    "statistics over patients": Edit("report/statistics.py", {"summarize", "results"} | TABLE | FIGURE),
    "a figure": Edit("report/figures/latency.py", {"figure latency"}),
    "the style of figures": Edit("report/style.py", FIGURE | PICTURE),
    "a table": Edit("report/tables/efficiency.py", {"table efficiency", "results"}),
    "a picture": Edit("report/pictures/gallery.py", {"picture gallery"}),
    "the page of results": Edit("report/page.py", {"results"}),
    "the map of uncertainty": Edit("evaluate/uncertainty.py", {"map"}),
    "runs in MLflow": Edit("track/runs.py", TRACK),
    # Scripts.
    "a script": Edit("scripts/train_model.py", TRAIN, r"time\(\)", "time() + 0"),
    "a script's comment": Edit("scripts/train_model.py", set(), None, "# edited\n"),
}


@pytest.fixture(scope="module", autouse=True)
def parsed_once():
    """The same text has the same part, so that the files that an edit leaves alone are parsed once for all tests."""
    known, part_of = {}, code_digest.part_of

    def remembered(source, narrowed):
        key = source, tuple(sorted((name, tuple(keys)) for name, keys in narrowed.items()))
        if key not in known:
            known[key] = part_of(source, narrowed)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code_digest, "part_of", remembered)
        yield


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the code; a test that edits it puts it back."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("src/diffufuse", "workflow/scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def study():
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return study_of(**STUDY)


def digests(study, folder):
    """Job to the digest of its code, which lies in that folder."""
    study, rules = replace(study, code=Code(folder / "src", folder / "workflow" / "scripts")), codes_of_rules()
    found = {}
    for name, (rule, wildcards) in JOBS.items():
        ask = study.code_of_source if rules[rule] == "source" else study.code_of(rules[rule])
        found[name] = ask(job(**wildcards))
    return found


@pytest.fixture(scope="module")
def before(study):
    return digests(study, ROOT)


@pytest.fixture
def reruns(study, before):
    """The jobs whose digest in that folder is another one than in the repository."""

    def compare(folder):
        after = digests(study, folder)
        return {name for name in JOBS if before[name] != after[name]}

    return compare


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_reruns_these_jobs_and_no_others(name, reruns, checkout):
    edit = EDITS[name]
    path = checkout / ("workflow" if edit.path.startswith("scripts/") else "src/diffufuse") / edit.path
    text = path.read_text()
    changed = text + edit.new if edit.old is None else re.sub(edit.old, edit.new, text, count=1)
    assert changed != text
    try:
        path.write_text(changed)
        found = reruns(checkout)
    finally:
        path.write_text(text)
    assert found - edit.reruns == set(), "these rerun and should not"
    assert edit.reruns - found == set(), "these do not rerun and should"


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        ("antspyx", {"prepare"}),
        ("SimpleITK", {"prepare", "prepare pairs"}),
        ("torch", TRAIN | PREDICT | EFFICIENCY),
        ("matplotlib", set()),
    ],
)
def test_another_version_of_a_computing_library_reruns_what_it_computes(distribution, expected, reruns, monkeypatch):
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "99" if name == distribution else version(name))
    assert reruns(ROOT) == expected


def test_a_copy_elsewhere_reruns_nothing(reruns, checkout):
    assert reruns(checkout) == set()


def test_every_rule_with_a_script_asks_for_its_code_but_those_that_write_no_result():
    rules = codes_of_rules()
    assert {rule for rule, code in rules.items() if code is None} == {"plan_fetch"}
    assert {rule for rule, code in rules.items() if code == "source"} == {"fetch_dataset"}
    scripts = {rule: code for rule, code in rules.items() if code not in (None, "source")}
    assert set(scripts.values()) <= {path.name for path in (ROOT / "workflow" / "scripts").glob("*.py")}
    assert {rule for rule, _ in JOBS.values()} == set(rules) - {"plan_fetch"}


def test_every_module_of_the_library_is_reached_by_a_script_or_by_the_rules(tmp_path):
    shutil.copytree(ROOT / "workflow" / "scripts", tmp_path, dirs_exist_ok=True)
    imports = re.findall(r"^(?:from|import) diffufuse.*$", RULES, flags=re.M)
    (tmp_path / "rules.py").write_text("\n".join(imports))
    code = Code(ROOT / "src", tmp_path)
    reached = {name for path in tmp_path.glob("*.py") for name in code.modules(path.name, dict.fromkeys(REGISTRIES))}
    modules = {
        ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "src" / "diffufuse").rglob("*.py")
    }
    # MLflow imports what loads a model, by the name that the registry gives it; a stage of dvc.yaml starts one, and
    # benchmarks/published_images.py the other.
    elsewhere = {registry.LOADER, "diffufuse.study.vault", "diffufuse.evaluate.published"}
    assert modules - reached == {*code_digest.DISPLAY, *elsewhere}, "nobody imports these"
