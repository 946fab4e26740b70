"""What a study reports: a name under `tables` in `config/config.yaml` is a key of `TABLES`."""

from diffufuse.reporting.comparison import comparison
from diffufuse.reporting.drops import missing_modalities, robustness
from diffufuse.reporting.evidence import Table
from diffufuse.reporting.patients import QUANTITY, patient_statistics, per_patient, summarize
from diffufuse.reporting.segmentation import segmentation
from diffufuse.reporting.writing import write_csv

__all__ = ["QUANTITY", "TABLES", "patient_statistics", "per_patient", "summarize", "write_csv"]


TABLES = {
    "segmentation": Table(
        segmentation,
        "Mean over patients [95 % bootstrap interval]; n is told where undefined values were left out, and missed, "
        "spurious and both_empty count patients. Two intervals that overlap do not show that two rows are equal. The "
        "costs are those of one training: GMACs (10^9 multiply-accumulates) for the logits of a million voxels, at the "
        "size of a training patch, a unit in which slices and volumes compare; and seconds in optimizer steps, which "
        "compare only on machines of one kind.",
    ),
    "comparison": Table(
        comparison,
        "Each model minus the model it stands against, patient by patient: mean difference [95 % bootstrap interval], "
        "the Hodges-Lehmann estimate, and Wilcoxon's signed-rank p (zero differences by Pratt), adjusted by Holm over "
        "the models of one metric and one condition. Left out are patients without a value under one of the two; with "
        "fewer than six differences that are not zero no p can be small, so none is told.",
    ),
    "missing_modalities": Table(
        missing_modalities,
        "Dice, mean over patients, and in parentheses its change against `clean` in points (hundredths) on the same "
        "patients. Unseen: the training never withheld a modality.",
    ),
    "robustness": Table(
        robustness,
        "Dice, mean over patients, and in parentheses its change against `clean` in points (hundredths) on the same "
        "patients. Unseen: no corruption of this family in the training, at any severity.",
    ),
}
