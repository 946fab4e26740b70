"""The catalogue of metrics of fused images. None of them has a reference: they compare with two sources, or with none.

A name here has one definition. Where the common evaluators compute something else under the same name, that has a
name of its own: `mi` and `mi_bits`, `psnr`, `psnr_of_mean` and `psnr_of_peak`, `ssim` and `ssim_sum`, `qabf` and
`qabf_inner`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from diffufuse.metrics.fusion import contrast, edges, features, fidelity, information, structure
from diffufuse.metrics.fusion.images import GRAY_LEVELS, SMALLEST_SIDE, SSIM_SIDE, Fusion

NAN = math.nan
INF = math.inf
MOST_MI = 2 * math.log(GRAY_LEVELS)


class Constant(NamedTuple):
    """The value of a metric where an image is constant: a number, or None where the formula applies.

    Attributes:
        fused: the fused image is constant, the sources are not.
        source: a source is constant, the other and the fused image are not.
    """

    fused: float | None = None
    source: float | None = None


ANY = Constant()
ALONE = Constant(fused=0)
UNDEFINED = Constant(fused=NAN, source=NAN)
SOURCE_UNDEFINED = Constant(source=NAN)


@dataclass(frozen=True)
class FusionMetric:
    """A quantity of a fused image and its two sources, and its properties.

    Attributes:
        function: images → value; symmetric in the sources.
        unit: of the value; `1` for a ratio; `level` for gray levels of 0..255.
        better: which direction is better.
        range: smallest and largest possible value.
        peak: the value of white in the formula, `max F` for the fused image's own maximum, or `any` if the value does
            not depend on it.
        window: the neighborhood or the bins of one term, and their weights.
        sources: how the two are combined; `none` if the fused image is scored alone.
        source: the paper or convention that defines it.
        constant: the values for constant images.
        smallest_side: pixels; the metric of a smaller image is NaN.
    """

    function: Callable[[Fusion], float]
    unit: str
    better: Literal["higher", "lower"]
    range: tuple[float, float]
    peak: Literal["1", "255", "max F", "any"]
    window: str
    sources: Literal["none", "mean", "sum", "weighted"]
    source: str
    constant: Constant = ANY
    smallest_side: int = SMALLEST_SIDE

    @property
    def name(self) -> str:
        """The function's name, which is also the key and the table entry."""
        return self.function.__name__

    @property
    def reads(self) -> Literal["image"]:
        """A fused image and its sources, where others read masks or probabilities."""
        return "image"

    def of(self, images: Fusion) -> float:
        """The metric's value; NaN where it is undefined."""
        return self.function(images)


BINS, NEIGHBORS, PIXEL = "256 bins", "neighbors", "whole image"
GAUSS, PLAIN, SOBEL = "11x11 Gaussian, SD 1.5", "7x7 plain", "3x3 Sobel"

SHANNON = "Shannon 1948, doi:10.1002/j.1538-7305.1948.tb01338.x; Roberts et al. 2008, doi:10.1117/1.2945910"
RAO = "Rao 1997, doi:10.1088/0957-0233/8/4/002"
ESKICIOGLU = "Eskicioglu and Fisher 1995, doi:10.1109/26.477498"
CUI = "Cui et al. 2015, doi:10.1016/j.optcom.2014.12.032"
QU = "Qu et al. 2002, doi:10.1049/el:20020212; nats, as scikit-learn"
BITS = "the same, as VIFB and Tang et al. count it"
ASLANTAS = "Aslantas and Bendes 2015, doi:10.1016/j.aeue.2015.09.004"
MA = "Ma et al. 2019, doi:10.1016/j.inffus.2018.02.004"
HORE = "Horé and Ziou 2010, doi:10.1109/ICPR.2010.579; the mean as the numbers of Fuse4Seg's table suggest"
CDDFUSE = "the evaluator of CDDFuse, Zhao et al. 2023, arXiv:2211.14461, which DM-FNet shares"
WANG = "Wang et al. 2004, doi:10.1109/TIP.2003.819861"
SCIKIT = "structural_similarity of scikit-image, as the evaluators of CDDFuse and DM-FNet call it"
SCALES = "Wang et al. 2003, doi:10.1109/ACSSC.2003.1292216"
XYDEAS = "Xydeas and Petrović 2000, doi:10.1049/el:20000267"
KUMAR = "Shreyamsha Kumar 2013, doi:10.1007/s11760-012-0361-x"
SHEIKH = "Sheikh and Bovik 2006, doi:10.1109/TIP.2005.859378; in the pixel domain, as piq's vif_p"
HAGHIGHAT = "Haghighat et al. 2011, doi:10.1016/j.compeleceng.2011.07.012; of pixels"

ROWS = (
    FusionMetric(information.en, "bit", "higher", (0, 8), "255", BINS, "none", SHANNON, ALONE),
    FusionMetric(contrast.sd, "level", "higher", (0, 127.5), "255", PIXEL, "none", RAO, ALONE),
    FusionMetric(contrast.sf, "level", "higher", (0, 255 * math.sqrt(2)), "255", NEIGHBORS, "none", ESKICIOGLU, ALONE),
    FusionMetric(contrast.ag, "level", "higher", (0, 255), "255", NEIGHBORS, "none", CUI, ALONE),
    FusionMetric(information.mi, "nat", "higher", (0, MOST_MI), "255", BINS, "sum", QU, ALONE),
    FusionMetric(information.mi_bits, "bit", "higher", (0, 16), "255", BINS, "sum", BITS, ALONE),
    FusionMetric(fidelity.scd, "1", "higher", (-2, 2), "any", PIXEL, "sum", ASLANTAS, SOURCE_UNDEFINED),
    FusionMetric(fidelity.cc, "1", "higher", (-1, 1), "any", PIXEL, "mean", MA, UNDEFINED),
    FusionMetric(fidelity.psnr, "dB", "higher", (0, INF), "1", PIXEL, "mean", HORE),
    FusionMetric(fidelity.psnr_of_mean, "dB", "higher", (0, INF), "1", PIXEL, "mean", MA),
    FusionMetric(fidelity.psnr_of_peak, "dB", "higher", (-INF, INF), "max F", PIXEL, "mean", CDDFUSE),
    FusionMetric(structure.ssim, "1", "higher", (-1, 1), "1", GAUSS, "mean", WANG, smallest_side=SSIM_SIDE),
    FusionMetric(
        structure.ssim_sum, "1", "higher", (-2, 2), "1", PLAIN, "sum", SCIKIT, smallest_side=structure.UNIFORM_SIDE
    ),
    FusionMetric(
        structure.ms_ssim, "1", "higher", (0, 1), "1", GAUSS, "mean", SCALES, smallest_side=structure.MS_SSIM_SIDE
    ),
    FusionMetric(edges.qabf, "1", "higher", (0, edges.MOST_PRESERVED), "any", SOBEL, "weighted", XYDEAS),
    FusionMetric(edges.qabf_inner, "1", "higher", (0, edges.MOST_PRESERVED), "any", SOBEL, "weighted", XYDEAS),
    FusionMetric(edges.nabf, "1", "lower", (0, 1), "255", SOBEL, "weighted", KUMAR, ALONE),
    FusionMetric(
        structure.vif,
        "1",
        "higher",
        (0, INF),
        "255",
        "17, 9, 5 and 3 pixels Gaussian, SD a fifth",
        "sum",
        SHEIKH,
        Constant(fused=0, source=NAN),
        structure.VIF_SIDE,
    ),
    FusionMetric(features.fmi, "1", "higher", (0, 1), "255", "3x3 plain", "mean", HAGHIGHAT),
)
FUSION_METRICS = {metric.name: metric for metric in ROWS}


def evaluate(images: Fusion) -> dict[str, float]:
    """Every metric of one fused image; NaN where it is undefined."""
    return {name: metric.of(images) for name, metric in FUSION_METRICS.items()}
