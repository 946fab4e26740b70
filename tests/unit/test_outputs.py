import numpy as np
import pytest
import torch

from diffufuse.plan.outputs import Outputs

REGIONS = {"whole": [1, 2, 4], "core": [1, 4]}
LABELS = np.array([[0, 1, 2, 4]])


def test_regions_have_a_channel_each_and_may_overlap():
    outputs = Outputs("regions", REGIONS)
    assert outputs.channels == 2
    assert outputs.reference(LABELS)[:, 0].tolist() == [[0, 1, 1, 1], [0, 1, 0, 1]]


def test_labels_and_background_exclude_each_other():
    outputs = Outputs("labels", REGIONS)
    assert outputs.channels == 4
    assert np.array_equal(outputs.reference(LABELS).sum(axis=0), np.ones_like(LABELS))


def test_shares_of_a_softmax_sum_to_one_exactly_once():
    outputs = Outputs("labels", REGIONS)
    logits = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(0)) * 4
    shares = outputs.probabilities(logits)
    assert torch.allclose(shares.sum(dim=1), torch.ones(5, 3))
    assert torch.allclose(shares, torch.softmax(logits, dim=1))
    assert shares.max() > 0.9  # a second softmax would allow 0.475 at most


def test_a_region_is_the_sum_of_its_labels():
    outputs = Outputs("labels", REGIONS)
    logits = torch.randn(1, 4, 2, generator=torch.Generator().manual_seed(0))
    shares = outputs.probabilities(logits)
    whole, core = outputs.region_probabilities(logits)[0]
    assert torch.allclose(whole, 1 - shares[0, 0])
    assert torch.allclose(core, shares[0, 1] + shares[0, 3])


def test_reference_as_logits_gives_back_the_regions():
    for kind in ("regions", "labels"):
        outputs = Outputs(kind, REGIONS)
        logits = torch.from_numpy(outputs.reference(LABELS))[None] * 40 - 20
        found = outputs.region_probabilities(logits)[0] > 0.5
        assert np.array_equal(found.numpy(), np.stack([np.isin(LABELS, values) for values in REGIONS.values()]))


@pytest.mark.parametrize(
    ("kind", "squash"), [("labels", lambda x: torch.softmax(x, dim=0)), ("regions", torch.sigmoid)]
)
def test_a_softmax_or_sigmoid_that_was_applied_before_is_refused(kind, squash):
    outputs = Outputs(kind, {"mass": [1], "edema": [2]})
    logits = torch.randn(outputs.channels, 500, generator=torch.Generator().manual_seed(0))
    outputs.require_logits(logits)
    outputs.require_logits(torch.zeros_like(logits))
    with pytest.raises(ValueError, match="applies it already; remove it there"):
        outputs.require_logits(squash(logits))
