"""Synthetic cohort of patients with a soft-tissue sarcoma of the thigh, written as DICOM, with ground truth."""

from diffufuse.phantom.hospital import write_phantom_cohort, write_phantom_patient

__all__ = ["write_phantom_cohort", "write_phantom_patient"]
