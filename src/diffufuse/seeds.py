"""Every random number in a study follows from its one seed and the names of what is drawn."""

import hashlib


def seed_of(study_seed: int, *names: str | int) -> int:
    """A 63-bit seed that depends on the study's seed and the names alone, not on order, process or machine.

    Args:
        study_seed: the study's one seed.
        names: what the numbers are for, e.g. dataset, case, condition, modality.
    """
    text = "\x1f".join(str(part) for part in (study_seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
