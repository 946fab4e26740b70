"""Reduce a series description to imaging terms, so that it cannot name a person."""

import re

TOKEN = re.compile(r"[^\W_]+")
HIDDEN = "…"
MOST_DIGITS = 2
VOCABULARY = """
pet pt ct mr mri nm spect suv rt rtstruct rtdose rtplan seg gtv ctv ptv roi dose plan
t1 t1w t1n t1c t1ce t1gd t2 t2w t2f t2fs t2st t2sp t2star pd pdw flair stir tirm ir se fse frfse tse irfse gre
ge epi swi dwi adc dti b0 dce asl tof mra haste trufi fiesta space cube vibe lava dixon ideal mprage bravo
spgr flash medic localizer localiser scout survey loc long longte te tr ti fast turbo echo spin gradient
estir et1w w pict plus sense ipat grappa propeller blade pre post contrast gad gd
fs fat fatsat sat spair spir water phase in opp out supp suppressed saturated
ax axi axial tra trans transverse cor coronal sag sagittal obl oblique o 2d 3d 4d lt rt left right bilat
bilateral upper lower both distal proximal
wb whole body head neck brain chest thorax abdomen liver pelvis hip thigh thighs leg legs knee tib fib foot arm
arms shoulder spine extremity tumor tumour mass edema only haut
ac nac uncorrected corrected attenuation standard full soft bone lung kernel recon mip mpr images image series
aligned alligned registered registration t1topet t2fstopet stirtopet alignedt1topet alignedt2fstopet
alignedstirtopet box to and research
axialt1 axialt2 axt1 axt2 axt2sp
"""
WORDS = frozenset(VOCABULARY.split())
# Codes of the kinds of objects that DICOM defines; the tag is free to hold anything.
CODES = """CT MR PT NM US CR DX MG XA RF OT SC RTSTRUCT RTDOSE RTPLAN RTIMAGE SEG REG SR PR KO"""
MODALITIES = frozenset(CODES.split())


def imaging_words(description: str) -> str:
    """Return the imaging terms of a description, in lower case, with an ellipsis for all other words.

    A number of at most two digits is kept if it is the only one, so that no date can be reconstructed.

    >>> imaging_words("AX T1 Smith 12345")
    'ax t1 …'
    """
    tokens = [token.lower() for token in TOKEN.findall(description)]
    one_number = sum(token.isdigit() for token in tokens) == 1
    words: list[str] = []
    for token in tokens:
        short_number = token.isdigit() and one_number and len(token) <= MOST_DIGITS
        word = token if token in WORDS or short_number else HIDDEN
        if word != HIDDEN or words[-1:] != [HIDDEN]:
            words.append(word)
    return " ".join(words)


def modality_code(modality: str) -> str:
    """Return a DICOM modality code; an ellipsis for anything else."""
    return modality if modality in MODALITIES else HIDDEN
