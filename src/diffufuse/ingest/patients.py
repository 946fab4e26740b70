"""Which cases of a dataset are of one patient: by their headers, or as they hold the same files."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffufuse.dicom.identities import NO_ISSUER
from diffufuse.errors import BadInput
from diffufuse.fetch.manifest import raw_folder_of, read_manifest
from diffufuse.files.names import first_of
from diffufuse.ingest.formats import Format

log = logging.getLogger(__name__)

HEADERS, FILES = "their headers name one patient or one study", "they hold the same image files"


def patients_of(
    format: Format, manifest: str | Path, names: Sequence[str], *, block: Mapping[str, Any]
) -> dict[str, str]:
    """Return a pseudonym of the patient of each case: the name of the first case of that patient.

    Cases of one patient are logged, with the reason. What only a person can know stays open: whether cases that share
    nothing are of one patient, and whether an identifier that all share is but a placeholder.

    Args:
        format: reads the raw files.
        manifest: of the dataset's raw files.
        names: the cases.
        block: settings of the dataset.

    Returns:
        Case to patient.
    """
    shared = {HEADERS: _by_headers(format, manifest, names, block), FILES: _by_files(format, manifest, names, block)}
    patients = {name: name for name in sorted(names)}
    for reason, groups in shared.items():
        for group in groups:
            log.warning(
                "%d cases (%s) are drafted as one patient, as %s; if they are not, correct column patient.",
                *(len(group), first_of(sorted(group)), reason),
            )
            joined = {patients[name] for name in group}
            first = min(joined)
            patients = {name: first if patient in joined else patient for name, patient in patients.items()}
    return patients


def _by_headers(
    format: Format, manifest: str | Path, names: Sequence[str], block: Mapping[str, Any]
) -> list[frozenset[str]]:
    raw, cases = raw_folder_of(manifest), defaultdict[str, set[str]](set)
    for name in names:
        try:
            for identity in format.identities(raw, name, block):
                cases[identity].add(name)
        except BadInput as error:
            log.warning("%s is drafted as a patient of its own: %s", name, error)
    return _several(_joined(identity, cases) for identity in cases)


def _joined(identity: str, cases: Mapping[str, set[str]]) -> set[str]:
    """Return the cases of an identity; of a patient without an issuer, with those of that patient with any."""
    of_any_issuer = identity.endswith(NO_ISSUER)
    others = [cases[other] for other in cases if of_any_issuer and other.startswith(identity)]
    return cases[identity].union(*others)


def _by_files(
    format: Format, manifest: str | Path, names: Sequence[str], block: Mapping[str, Any]
) -> list[frozenset[str]]:
    paths: dict[str, list[str]] = defaultdict(list)
    for path, content in read_manifest(manifest)[0].items():
        if content.bytes:
            paths[content.sha256].append(path)
    drafted = set(names)
    owners = ({format.case_of_image(path, block) for path in same} for same in paths.values() if len(same) > 1)
    return _several({case for case in cases if case in drafted} for cases in owners)


def _several(groups: Iterable[set[str]]) -> list[frozenset[str]]:
    """Return the distinct groups of more than one case, largest first."""
    distinct = {frozenset(group) for group in groups if len(group) > 1}
    return sorted(distinct, key=lambda group: (-len(group), sorted(group)))
