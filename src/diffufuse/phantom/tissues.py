"""Physical properties of the tissues."""

from dataclasses import dataclass
from enum import IntEnum


class Kind(IntEnum):
    """Values of a tissue map."""

    AIR = 0
    SKIN = 1
    FAT = 2
    MUSCLE = 3
    CORTEX = 4
    MARROW = 5
    ARTERY = 6
    VEIN = 7
    NERVE = 8
    NODE = 9
    CYST = 10
    INFLAMED = 11
    EDEMA = 12
    VIABLE = 13
    MYXOID = 14
    NECROTIC = 15
    HEMORRHAGE = 16
    FIBROUS = 17


TUMOR = (Kind.VIABLE, Kind.MYXOID, Kind.NECROTIC, Kind.HEMORRHAGE, Kind.FIBROUS)
FATTY = (Kind.FAT, Kind.MARROW)


@dataclass(frozen=True)
class Tissue:
    """The physical properties of one tissue.

    Attributes:
        suv: uptake of FDG, as standardized uptake value by body weight.
        hu: attenuation without contrast agent, HU.
        t1_ms: longitudinal relaxation time at 1.5 T, ms.
        t2_ms: transverse relaxation time at 1.5 T, ms.
        proton_density: visible protons relative to water.
    """

    suv: float
    hu: float
    t1_ms: float
    t2_ms: float
    proton_density: float


# Rounded values as reported at 1.5 T; flowing blood has little signal, as in a spin echo. The tissues of the tumor are
# replaced for each patient.
TYPICAL = {
    Kind.AIR: Tissue(suv=0.0, hu=-1000, t1_ms=1000, t2_ms=50, proton_density=0.0),
    Kind.SKIN: Tissue(suv=0.5, hu=15, t1_ms=900, t2_ms=35, proton_density=0.70),
    Kind.FAT: Tissue(suv=0.25, hu=-102, t1_ms=290, t2_ms=160, proton_density=0.95),
    Kind.MUSCLE: Tissue(suv=0.65, hu=55, t1_ms=1010, t2_ms=42, proton_density=0.85),
    Kind.CORTEX: Tissue(suv=0.3, hu=1150, t1_ms=800, t2_ms=10, proton_density=0.03),
    Kind.MARROW: Tissue(suv=0.7, hu=-30, t1_ms=300, t2_ms=140, proton_density=0.85),
    Kind.ARTERY: Tissue(suv=1.7, hu=42, t1_ms=1450, t2_ms=150, proton_density=0.08),
    Kind.VEIN: Tissue(suv=1.7, hu=42, t1_ms=1450, t2_ms=180, proton_density=0.60),
    Kind.NERVE: Tissue(suv=0.6, hu=25, t1_ms=1000, t2_ms=75, proton_density=0.80),
    Kind.NODE: Tissue(suv=4.0, hu=42, t1_ms=1100, t2_ms=85, proton_density=0.90),
    Kind.CYST: Tissue(suv=0.4, hu=8, t1_ms=2500, t2_ms=500, proton_density=1.0),
    Kind.INFLAMED: Tissue(suv=2.0, hu=48, t1_ms=1120, t2_ms=62, proton_density=0.88),
    Kind.EDEMA: Tissue(suv=0.9, hu=44, t1_ms=1150, t2_ms=72, proton_density=0.90),
    Kind.VIABLE: Tissue(suv=5.0, hu=40, t1_ms=1100, t2_ms=80, proton_density=0.90),
    Kind.MYXOID: Tissue(suv=1.2, hu=25, t1_ms=1500, t2_ms=160, proton_density=0.95),
    Kind.NECROTIC: Tissue(suv=0.6, hu=20, t1_ms=1700, t2_ms=140, proton_density=0.95),
    Kind.HEMORRHAGE: Tissue(suv=0.9, hu=58, t1_ms=480, t2_ms=70, proton_density=0.90),
    Kind.FIBROUS: Tissue(suv=1.2, hu=54, t1_ms=1020, t2_ms=43, proton_density=0.75),
}
