"""The tables of the report: a name under `tables` in `config/config.yaml` is a key of `TABLES`."""

from diffufuse.report.evidence import Table
from diffufuse.report.tables.ablation import ablation
from diffufuse.report.tables.calibration import calibration
from diffufuse.report.tables.comparison import comparison
from diffufuse.report.tables.coverage import coverage
from diffufuse.report.tables.efficiency import efficiency
from diffufuse.report.tables.fusion import fusion
from diffufuse.report.tables.fusion_ablation import fusion_ablation
from diffufuse.report.tables.fusion_ranking import fusion_ranking
from diffufuse.report.tables.fusion_segmentation import fusion_segmentation
from diffufuse.report.tables.missing_modalities import missing_modalities
from diffufuse.report.tables.robustness import robustness
from diffufuse.report.tables.seeds import seeds
from diffufuse.report.tables.segmentation import segmentation
from diffufuse.report.tables.transfer import transfer

TABLES = {
    "segmentation": Table(
        segmentation,
        "Mean over patients [95 % bootstrap interval]; n is given where undefined values were left out, and missed, "
        "spurious, both_empty and lost count patients. Two intervals that overlap do not show that two rows are equal. "
        "A model that only scales another's probabilities has the same masks and no row. The costs are those of one "
        "training: GMACs (10^9 multiply-accumulates, half of what torch's FlopCounterMode counts) for the logits of a "
        "million voxels, at the size of a training patch, a unit in which slices and volumes compare; and seconds in "
        "optimizer steps, which compare only on machines of one kind. A segmenter of fused images is counted without "
        "its fuser.",
    ),
    "ablation": Table(
        ablation,
        "The method without one of its parts, under `clean`: mean over n patients [95 % bootstrap interval], and the "
        "difference to the full model on the same patients, positive where the row has more. `no ...` was trained "
        "anew without the part; uniform gates are switched at test time, on the weights of the full model: two "
        "different questions. The CNN backbone alone is the Multi-Encoder CNN. For the significance of differences, "
        "see the table of comparisons.",
    ),
    "robustness": Table(
        robustness,
        "Dice, mean over patients, and in parentheses its change against `clean` in points (hundredths) on the same "
        "patients. Unseen: no corruption of this family in the training, at any severity. What the paper reports is "
        "of DiffuFuseMed.",
    ),
    "missing_modalities": Table(
        missing_modalities,
        "Dice, mean over patients, and in parentheses its change against `clean` in points (hundredths) on the same "
        "patients. Unseen: the training never withheld a modality. A model with uniform gates has the weights of the "
        "model to its left; the gain of gates is Dice with them minus Dice without, in points, positive where gates "
        "help. The averages give every subset of so many modalities the same weight. More modalities, worse: of the "
        "pairs of subsets of which one holds all modalities of the other and more, the share in which the larger has "
        "the smaller mean Dice; 0 is ideal. What the paper reports is of DiffuFuseMed.",
    ),
    "transfer": Table(
        transfer,
        "Trained on one dataset and tested on n patients of another, whom no training saw, in the modalities that "
        "both have and in the one region that each calls the lesion; without any adaptation, under `clean`. Mean over "
        "patients [95 % bootstrap interval]; the change is external minus in-domain, of different patients, so it is "
        "not paired. It is a stress test: the lesions are of different diseases. A pair without a meaning is "
        "refused.",
    ),
    "efficiency": Table(
        efficiency,
        "The logits of one batch: of slices, or of volumes for a model that works in 3-D, each of so many voxels. "
        "Latency over the repeats after warm-up, median and 95th percentile. GMACs are 10^9 multiply-accumulates of "
        "one slice or volume, half of the operations that torch's FlopCounterMode counts in matrix products, "
        "convolutions and attention. Memory is the peak beyond what the process held before. Times compare only on "
        "one machine, and slices with volumes only per million voxels. A segmenter of fused images is counted without "
        "its fuser.",
    ),
    "calibration": Table(
        calibration,
        "Under `clean`: mean over patients [95 % bootstrap interval], then, pooled, of the voxels of all patients "
        "together. Near: voxels within 10 mm of reference or prediction; body: all voxels of the body, most of them "
        "unambiguous background. ECE does not measure discrimination; Brier and NLL include it and depend on the "
        "prevalence: a constant forecast of a prevalence of 10 % has a Brier score of 0.090 and an NLL of 0.325. T "
        "divides the logits; it was fitted on validation patients of each fold, and its mean over folds stands here.",
    ),
    "coverage": Table(
        coverage,
        "Under `clean`: mean over patients [95 % bootstrap interval] of the share of voxels whose prediction set "
        "holds the true class, in all, inside and outside the reference; 0.95 is ideal, and more is not better, as "
        "sets that hold both classes always cover. The set size is 1 if the model is certain and 2 if it is "
        "uninformative. The threshold is that of the fold's validation patients. Volumes: share of patients whose "
        "true volume lies in the 95 % interval of several samples, and its width. AURC: mean of 1 - Dice over the "
        "least uncertain patients, averaged over all numbers of them; random is uninformative uncertainty, best is "
        "uncertainty that orders the patients as their Dice does.",
    ),
    "comparison": Table(
        comparison,
        "Each model minus the model it is compared with, patient by patient: mean difference [95 % bootstrap "
        "interval], the Hodges-Lehmann estimate, the matched-pairs rank-biserial correlation as effect size (1 if "
        "every patient who differs has more, -1 if every one has less), and Wilcoxon's signed-rank p (zero "
        "differences by Pratt), adjusted by Holm over the models of one metric and one condition. Left out are "
        "patients without a value under one of the two. Where a test is refused, the note gives the reason.",
    ),
    "seeds": Table(
        seeds,
        "Two sources of variation, separately, under `clean`. Between seeds: how far the mean over patients moves if "
        "the model is trained again. Between patients: how much patients differ. The intervals of the other tables "
        "reflect the patients alone.",
    ),
    "fusion": Table(
        fusion,
        "Fused images under `clean`, on the display scale of the sources: mean over n patients or pairs [95 % "
        "bootstrap interval]; a volume counts by the mean over its slices with body. Higher is better unless the "
        "heading says otherwise. The best mean of a dataset is in bold, which does not say how far it leads. A model "
        "that was trained on another dataset saw none of these images; one that was trained on nothing is a rule. The "
        "average of "
        "the sources is close to the largest PSNR by construction, and the pixelwise maximum is hard to beat in MI, "
        "SSIM and Qabf: a method is worth its training where it beats both. EN and SD rise with noise and with a "
        "lifted background too.",
    ),
    "fusion_ranking": Table(
        fusion_ranking,
        "Under `clean`. By each metric of fused images that the study reports, the fusers of a dataset are ranked by "
        "their means over n patients or pairs, 1 for the best, ties shared; the mean of these ranks stands here [95 % "
        "percentile bootstrap interval over patients or pairs, each drawn with all its values]. Every metric weighs "
        "alike, so that what is reported in several forms (PSNR, SSIM, MI) counts as often; the second mean is over "
        "those that read the sources, as EN, SD, SF and AG rise with noise. A rank says who leads, not by how much. "
        "With several seeds, Kendall's tau compares the orders of two of them, on average: 1 is the same order, 0 none "
        "in common, -1 the reverse. Rules are the same under every seed, which raises it, so that it stands for the "
        "trained fusers alone, too. Its interval is over patients; the seeds are few.",
    ),
    "fusion_segmentation": Table(
        fusion_segmentation,
        "Under `clean`: mean over n patients [95 % bootstrap interval]. Every row has the same follower, schedule and "
        "budget, but reads something else: the fused images of a fuser that knew no masks, the modalities themselves, "
        "or images that were learned together with the masks. `mean` is that of each patient over the regions of one "
        "label, as the whole tumor would count its parts again. "
        "Points are hundredths of that Dice, of the row minus the best pipeline by its mean (which was chosen on these "
        "patients, and so is flattered) and minus the follower on two channels, patient by patient, with Wilcoxon's "
        "p, not adjusted for the number of rows and refused below 6 patients who differ; the table of comparisons has "
        "adjusted ones.",
    ),
    "fusion_ablation": Table(
        fusion_ablation,
        "Under `clean`: mean over n patients [95 % bootstrap interval], and the paired difference of the mean Dice to "
        "the full game in points (hundredths), negative where the row has less, with Wilcoxon's p, not adjusted. What "
        "a row is follows from its settings: inner steps are those of the follower for one of the leader, the other "
        "numbers are weights of the fusion loss. The disjoint baseline has the same leader, trained by the same terms "
        "without masks. Two channels and single modalities are controls: what the bottleneck of one fused image costs, "
        "and what the second modality brings.",
    ),
}
