"""Register the images of a patient, and measure the quality of a registration.

ANTs optimizes rigid, affine or deformable transforms by mutual information, initialized by a multi-start search. A
transform maps **RAS mm of the reference to RAS mm of the moving image**, see `diffufuse.space.transforms`.
"""

from diffufuse.prepare.registration.files import read_transform, write_transforms
from diffufuse.prepare.registration.quality import LIMITS, first_violation
from diffufuse.prepare.registration.registering import KINDS, Kind, Registration, assess, register

__all__ = [
    "KINDS",
    "LIMITS",
    "Kind",
    "Registration",
    "assess",
    "first_violation",
    "read_transform",
    "register",
    "write_transforms",
]
