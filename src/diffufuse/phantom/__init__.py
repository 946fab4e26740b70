"""A cohort of made-up patients with a sarcoma of the thigh, written as DICOM, for which the truth is known."""

from diffufuse.phantom.hospital import write_phantom_cohort, write_phantom_patient

__all__ = ["write_phantom_cohort", "write_phantom_patient"]
