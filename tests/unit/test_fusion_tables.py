"""The tables of fusion: of images, of masks of fused images, and of the parts of the game."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from evidence import an_evidence
from fusion_evidence import BLOCKS, FUSION_MODELS, a_study_of_fused_patients, a_study_of_pairs

from diffufuse.models.fuse4seg.head import Head
from diffufuse.report.figures import FIGURES
from diffufuse.report.invariants import require_sound
from diffufuse.report.page import results_page
from diffufuse.report.patients import headline, patient_values
from diffufuse.report.published import read_published
from diffufuse.report.reported import IMPOSSIBLE, beside, least_iou, read_reported
from diffufuse.report.roles import DIRECT, DISJOINT, FUSER, GAME, JOINT, MIN_MAX, role_of
from diffufuse.report.statistics import signed_rank_p
from diffufuse.report.tables import TABLES
from diffufuse.report.tables.comparison import compare
from diffufuse.report.tables.fusion_ablation import TERMS
from diffufuse.report.tables.fusion_segmentation import averaged
from diffufuse.train.fusion_objectives import TERMS as LOSS_TERMS
from diffufuse.train.regimens import REGIMENS

CONFIG = Path(__file__).parents[2] / "config"
REPORTED = read_reported(CONFIG / "reported.tsv")
PUBLISHED = read_published(CONFIG / "published_images.tsv")
OF_FUSION = ("fusion", "fusion_segmentation", "fusion_ablation")


@pytest.fixture(scope="module")
def patients():
    return a_study_of_fused_patients()


@pytest.fixture(scope="module")
def pairs():
    return a_study_of_pairs()


def built(name, evidence):
    return TABLES[name].build(evidence)


def told(name, evidence):
    table, note = beside(built(name, evidence), name, reported=REPORTED, evidence=evidence)
    return table, note


def test_studies_of_fusion_are_sound(patients, pairs):
    require_sound(patients)
    require_sound(pairs)


def test_a_model_s_role_is_read_from_its_block():
    kinds = {name: role_of(BLOCKS, name).kind for name in BLOCKS}
    assert {name for name, kind in kinds.items() if kind == FUSER} == {"average", "maximum", "fuse4seg_leader_small"}
    assert {name for name, kind in kinds.items() if kind == DISJOINT} == {
        "average_follower",
        "maximum_follower",
        "leader_follower",
    }
    assert {name for name, kind in kinds.items() if kind == DIRECT} == {"two_channels", "structure_alone"}
    assert kinds["fuse4seg_small"] == GAME
    assert kinds["fuse4seg_small_joint"] == JOINT
    assert role_of(BLOCKS, "average_follower").fuser == "average"
    assert role_of(BLOCKS, "fuse4seg_small").fuser == "fuse4seg_small"
    assert role_of(BLOCKS, "two_channels").fuser is None
    assert role_of(BLOCKS, "fuse4seg_small_no_gradient").weights == {
        "decomposition": 0.2,
        "gradient": 0.0,
        "anchor": 0.1,
    }


def test_the_settings_that_are_read_are_those_of_the_library():
    assert MIN_MAX in get_args(Head)
    assert {*TERMS, "anchor"} <= set(LOSS_TERMS)
    assert {"bilevel", "joint", "label_free"} <= set(REGIMENS)


def test_a_model_with_the_weights_of_another_has_its_role():
    models = {**BLOCKS, "same": {"task": "segment", "weights_of": "fuse4seg_small", "settings": {}}}
    assert role_of(models, "same") == replace(role_of(BLOCKS, "fuse4seg_small"), fuser="same")


def test_every_model_that_fuses_has_a_row_and_no_other(patients):
    table = built("fusion", patients)
    assert set(table["model"]) == {name for name, (_, _, quality) in FUSION_MODELS.items() if quality is not None}
    row = table.set_index("model").loc["average"]
    mean = patients.metrics.query("model == 'average' and metric == 'psnr'")["value"].mean()
    assert row["psnr (dB)"].startswith(f"{mean:.2f} [")
    assert row["n"] == "10"
    assert "nabf (lower is better)" in table.columns


def test_own_images_come_before_those_of_other_sets(pairs):
    table = built("fusion", pairs)
    assert table[["dataset", "trained on"]].drop_duplicates().to_numpy().tolist() == [
        ["harvard_pet_mri", "harvard_pet_mri"],
        ["harvard_pet_mri", "nothing"],
        ["harvard_spect_mri", "harvard_pet_mri"],
        ["harvard_spect_mri", "nothing"],
    ]


def test_a_row_has_the_paired_difference_to_the_best_pipeline_and_to_two_channels(patients):
    table = built("fusion_segmentation", patients).set_index("model")
    values = patients.metrics.query("metric == 'dice' and region != 'image'")
    wide = values.pivot_table(index="case", columns="model", values="value")  # the mean over regions
    pipelines = ["average_follower", "maximum_follower", "leader_follower"]
    assert wide[pipelines].mean().idxmax() == "leader_follower"
    difference = wide["fuse4seg_small"] - wide["leader_follower"]
    row = table.loc["fuse4seg_small"]
    assert row["points over the best pipeline"].startswith(f"+{100 * difference.mean():.1f} [")
    assert float(row["p, the best pipeline"]) == pytest.approx(signed_rank_p(difference.to_numpy()), rel=0.05)
    assert row["points over two channels"].startswith("-")
    assert table.loc["leader_follower", "points over the best pipeline"] == ""
    assert table.loc["two_channels", "points over two channels"] == ""
    assert table["group"].drop_duplicates().tolist() == ["disjoint pipeline", "raw modalities", "one loss", "game"]


def test_the_mean_over_regions_stands_beside_them_where_there_are_several(patients):
    table = built("fusion_segmentation", patients).set_index("model")
    means = patients.metrics.query("model == 'two_channels'").groupby(["region", "metric"])["value"].mean()
    row = table.loc["two_channels"]
    for region in ("ncr", "ed", "et"):
        assert row[f"{region} iou"].startswith(f"{means[region, 'iou']:.3f} [")
    overall = means[:, "dice"].mean()
    assert row["mean dice"].startswith(f"{overall:.3f} [")


def test_a_region_that_joins_others_is_not_counted_again_in_the_mean(patients):
    whole = patients.metrics.query("region == 'ncr'").assign(region="wt")
    whole = whole.assign(value=np.where(whole["metric"] == "dice", 1.0, whole["value"]))
    volumes = {"brats": patients.datasets["brats"] | {"regions": {"wt": [1, 2, 3], "ncr": [1], "ed": [2], "et": [3]}}}
    with_whole = replace(patients, metrics=pd.concat([whole, patients.metrics]), datasets=volumes)
    table, before = (built("fusion_segmentation", study).set_index("model") for study in (with_whole, patients))
    assert table["wt dice"].str.startswith("1.000").all()
    for column in ("mean dice", "mean iou", "points over the best pipeline"):
        assert table[column].tolist() == before[column].tolist()


def test_regions_that_all_join_labels_are_all_averaged():
    assert averaged({"wt": [1, 2], "tc": [1, 3]}, ["wt", "tc"]) == ["wt", "tc"]
    assert averaged({"wt": [1, 2, 3], "et": [3]}, ["wt", "et"]) == ["wt", "et"]
    assert averaged({"wt": [1, 2, 3], "et": [3], "ncr": [1]}, ["wt", "et"]) == ["wt", "et"]


def test_a_difference_says_of_how_many_patients_it_is_and_a_refused_test_how_few(patients):
    undefined = (patients.metrics["case"] == "P-00") & (patients.metrics["model"] == "leader_follower")
    metrics = patients.metrics.assign(
        value=patients.metrics["value"].mask(undefined & (patients.metrics["region"] == "ed"))
    )
    few = metrics[metrics["case"].isin([f"P-0{number}" for number in range(5)])]
    row, of_few = (
        built("fusion_segmentation", replace(patients, metrics=values)).set_index("model").loc["fuse4seg_small"]
        for values in (metrics, few)
    )
    assert row["n"] == "10"
    assert row["points over the best pipeline"].endswith("] (n=9)")
    assert row["points over two channels"].endswith("]")
    assert float(row["p, the best pipeline"]) < 0.05
    assert of_few["p, the best pipeline"] == "refused (n=4)"


def test_one_region_needs_no_mean(patients):
    kept = {
        name: frame[frame["region"].isin(["ed", "image"])]
        for name, frame in (("metrics", patients.metrics), ("summary", patients.summary))
    }
    table = built("fusion_segmentation", replace(patients, **kept))
    assert {"ed dice", "ed iou"} <= set(table)
    assert not any(column.startswith("mean ") for column in table)
    assert table.set_index("model").loc["fuse4seg_small", "points over the best pipeline"].startswith("+")


def test_a_mean_over_regions_needs_all_of_them(patients):
    first = (patients.metrics["case"] == "P-00") & (patients.metrics["region"] == "ncr")
    metrics = patients.metrics.assign(value=patients.metrics["value"].mask(first))
    row = built("fusion_segmentation", replace(patients, metrics=metrics)).set_index("model").loc["two_channels"]
    assert row["mean dice"].endswith("(n=9)")
    assert row["ncr dice"].endswith("(n=9)")
    assert not row["ed dice"].endswith(")")


def test_variants_are_named_by_their_settings_and_not_by_their_names(patients):
    renamed = {name: f"m{number}" for number, name in enumerate(BLOCKS)}
    blocks = {renamed[name]: copy.deepcopy(block) for name, block in BLOCKS.items()}
    for block in blocks.values():
        if "fuser" in block["input"]:
            block["input"] = {"fuser": renamed[block["input"]["fuser"]]}
    frames = {name: getattr(patients, name).replace({"model": renamed}) for name in ("metrics", "summary")}
    found = replace(patients, models=blocks, compare_with=renamed["fuse4seg_small"], **frames)
    table = built("fusion_ablation", found)
    assert table["variant"].tolist() == [
        "disjoint baseline",
        "bi-level",
        "bi-level, decomposition",
        "bi-level, decomposition, gradient",
        "bi-level, decomposition, gradient, K = 3",
        "bi-level, decomposition, gradient, min-max output",
        "one loss for both, decomposition, gradient",
        "two channels",
        "structure alone",
    ]
    assert table.set_index("variant").loc["bi-level", "gradient"] == "0"


def test_the_paper_s_rows_stand_beside_ours_or_after_them(patients, pairs):
    table, note = told("fusion_ablation", patients)
    heading = table.columns[-1]
    assert heading == "reported, not reproduced here"
    assert (table[heading] != "").sum() == 4
    table, note = told("fusion_segmentation", patients)
    rows = table.set_index("model")
    assert rows.loc["fuse4seg_small", heading].startswith("ncr dice 0.884, ncr iou 0.807")
    assert rows.loc["nnunet (paper)", "n"] == ""
    assert "Table 1 of Fuse4Seg, arXiv:2409.10328" in note
    table, note = told("fusion", pairs)
    assert (
        "psnr 23.85 dB" in table.set_index(["dataset", "model"]).loc[("harvard_pet_mri", "fuse4seg (paper)"), heading]
    )
    assert "out of reach" in note


def test_no_row_of_the_paper_follows_where_its_cohort_has_no_counterpart(patients):
    elsewhere = a_study_of_fused_patients(patients=3, dataset="phantom")
    ours = built("fusion_segmentation", elsewhere)
    both, note = beside(ours, "fusion_segmentation", reported=REPORTED, evidence=elsewhere)
    assert both.equals(ours)
    assert note == ""


def test_an_impossible_iou_of_the_paper_is_found_by_computation():
    marked = set()
    for (table, row), values in REPORTED.groupby(["table", "row"]):
        if table in OF_FUSION:
            marked |= {(table, row, column) for column in least_iou(values)}
    by_label = {key for key in marked if not key[2].startswith("mean")}
    segmentation = {(row, column) for table, row, column in by_label if table == "fusion_segmentation"}
    assert segmentation == {
        *((model, f"{label} iou") for model in ("transunet", "nnunet", "cenet") for label in ("ed", "et")),
        ("vmunet", "ed iou"),
        ("fusionmamba_seg", "ed iou"),
    }
    assert {(row, column) for table, row, column in by_label if table == "fusion_ablation"} == {
        ("bi-level", "et iou"),
        ("bi-level, decomposition", "et iou"),
    }


def test_a_possible_iou_is_not_marked():
    rows = [{"column": "et dice", "value": "0.800", "unit": "1"}, {"column": "et iou", "value": "0.667", "unit": "1"}]
    assert least_iou(pd.DataFrame(rows)) == {}
    assert least_iou(pd.DataFrame([rows[0], rows[1] | {"value": "0.665"}])) == {"et iou": pytest.approx(2 / 3)}


def test_what_is_impossible_is_explained(patients):
    table, note = told("fusion_segmentation", patients)
    assert table.iloc[:, -1].str.contains(IMPOSSIBLE).sum() == 5
    assert "convex" in note


def test_images_are_compared_pair_by_pair(pairs):
    found = compare(pairs)
    assert list(dict.fromkeys(found["metric"])) == ["psnr", "ssim", "sf", "qabf", "vif"]
    assert set(found["region"]) == {"image"}
    assert set(found["dataset"]) == {"harvard_pet_mri", "harvard_spect_mri"}
    assert set(found["trained_on"]) == {"harvard_pet_mri"}
    assert (found["patients"] == 9).all()
    text = built("comparison", pairs)
    assert "pairs" in text.columns
    assert "patients" not in text.columns
    assert "psnr (dB)" in set(text["metric"])


def test_a_study_of_pairs_has_its_page(pairs):
    page = results_page(pairs, TABLES, study="pairs", reported=REPORTED, published=PUBLISHED)
    assert page.startswith("# Results of the study pairs\n\nFusion of images in harvard_pet_mri, harvard_spect_mri: 3")
    assert "Every pair is tested by models that never saw it" in page
    assert "neighboring slices of one, also of one in the training, intervals are too short, p too small" in page
    assert "- Pairs: harvard_pet_mri: 9 pairs, 0 cases excluded" in page
    assert "No mask was predicted in this study." in page
    assert "## Fusion (Table 2 of Fuse4Seg, arXiv:2409.10328)" in page


def test_a_study_of_both_says_so(patients):
    page = results_page(patients, {}, study="both", reported=REPORTED, published=PUBLISHED)
    assert "Segmentation of ncr, ed, et and fusion of images in brats: 14 models" in page
    assert "Every patient is tested by models that never saw them, and counts once. Written by" in page


def test_values_and_headline_of_images_are_kept(pairs):
    kept = patient_values(pairs.metrics, pairs.patients)
    assert {"psnr", "qabf", "vif"} <= set(kept["metric"])
    assert "harvard_pet_mri/average/image/qabf" in headline(pairs.summary)


def test_a_table_of_masks_has_no_row_of_images(patients):
    assert "image" not in set(built("segmentation", patients)["region"])


@pytest.mark.parametrize("name", OF_FUSION)
def test_a_study_without_fusion_gets_a_sentence(name):
    assert list(built(name, an_evidence(patients=3))) == ["note"]


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_of_a_study_of_pairs_is_drawn_or_says_why_not(name, pairs):
    FIGURES[name].draw(FIGURES[name].data(pairs))


def test_a_refusal_of_few_pairs_speaks_of_pairs():
    note = built("comparison", a_study_of_pairs(pairs=4))["note"]
    assert note.str.startswith("Too few pairs: n = 4;").all()
