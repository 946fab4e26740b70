"""Where one image of a patient lies in another, and how far that can be trusted.

ANTs finds rigid, affine or deformable transforms by mutual information, from a start that we search for. A transform
maps **RAS mm of the reference to RAS mm of the moving image**, see `diffufuse.transforms`.
"""

from diffufuse.prepare.registration.files import read_transform, write_transforms
from diffufuse.prepare.registration.quality import LIMITS, first_fault
from diffufuse.prepare.registration.registering import KINDS, Kind, Registration, assess, register

__all__ = [
    "KINDS",
    "LIMITS",
    "Kind",
    "Registration",
    "assess",
    "first_fault",
    "read_transform",
    "register",
    "write_transforms",
]
