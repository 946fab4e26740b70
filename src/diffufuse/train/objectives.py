"""The training objective (Eq. 27), its terms, and diagnostics of the fusion."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from diffufuse.collective import total, whole
from diffufuse.plan.outputs import Outputs
from diffufuse.plan.plans import plan_outputs
from diffufuse.train import losses
from diffufuse.train.batches import Batch

Objective = Callable[..., dict[str, Tensor]]
GOOD = 0.5


@dataclass(frozen=True)
class Weights:
    """Weights of the loss terms; the defaults are those of the study, the paper calls them tunable.

    Attributes:
        cross_entropy: alpha of Eq. 23.
        dice: beta.
        boundary: gamma at the end of training; it grows from 0 in proportion to the steps done.
        noise: lambda of Eq. 24; its gradient reaches the denoiser alone.
        restoration: of the restoration loss.
        alignment: lambda of Eq. 25.
        reliability: lambda of Eq. 26.
        entropy: tau of Eq. 26.
    """

    cross_entropy: float = 1.0
    dice: float = 1.0
    boundary: float = 0.1
    noise: float = 1.0
    restoration: float = 0.1
    alignment: float = 0.1
    reliability: float = 0.1
    entropy: float = 0.01


def objective_of(plan: Mapping[str, Any]) -> Objective:
    """The objective of a plan, a function of network, batch, progress and generator."""
    weights, outputs = Weights(**plan["block"].get("loss", {})), plan_outputs(plan)

    def objective(
        network: nn.Module, batch: Batch, *, progress: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Terms of the loss as scalars.

        Args:
            network: in training mode.
            batch: on the network's device.
            progress: completed share of the training, 0..1.
            generator: of the random draws of the network, on the CPU.

        Returns:
            `loss` with gradient, all other terms without.
        """
        pass_with_trace = getattr(network, "trace", None)
        if pass_with_trace is None:
            logits = network(batch.images, batch.presence)
            return summed(segmentation_terms(logits, batch, weights, outputs, progress), {})
        logits, trace = pass_with_trace(batch.images, batch.presence, clean=batch.clean, generator=generator)
        weighed = segmentation_terms(logits, batch, weights, outputs, progress) | _fusion(trace, batch, weights)
        return summed(weighed, _health(trace, batch))

    return objective


def segmentation_terms(
    logits: Tensor, batch: Batch, weights: Weights, outputs: Outputs, progress: float
) -> dict[str, tuple[float, Tensor]]:
    """Cross-entropy, Dice of the foreground, and boundary distance: name → weight and term."""
    logits = logits.float()
    probability = outputs.probabilities(logits)
    softmax = outputs.kind == "labels"
    terms = {
        "cross_entropy": (weights.cross_entropy, losses.cross_entropy(logits, batch.reference, softmax=softmax)),
        "dice": (weights.dice, losses.soft_dice(probability[:, softmax:], batch.reference[:, softmax:])),
    }
    if weights.boundary:
        distance = losses.boundary_distance(batch.reference, batch.spacing_mm)
        terms["boundary"] = (weights.boundary * progress, losses.boundary(probability, batch.reference, distance))
    return terms


def _fusion(trace: Any, batch: Batch, weights: Weights) -> dict[str, tuple[float, Tensor]]:
    terms: dict[str, tuple[float, Tensor]] = {}
    present, levels = trace.present, trace.levels
    traced = [level for level in levels if level.predicted is not None]
    if traced:
        noise = [losses.noise_prediction(level.predicted, level.velocity, level.inside) for level in traced]
        terms["noise"] = (weights.noise, torch.stack(noise).mean())
        degraded = present & (batch.quality < GOOD)
        corrupted_tokens = [level.inside & degraded[(...,) + (None,) * (level.inside.ndim - 2)] for level in traced]
        restored = [
            losses.restoration(level.denoised, level.clean, corrupted)
            for level, corrupted in zip(traced, corrupted_tokens, strict=True)
        ]
        terms["restoration"] = (weights.restoration, torch.stack(restored).mean())
    if weights.alignment and levels:
        aligned = [losses.alignment(level.denoised, trace.gates, level.inside) for level in levels]
        terms["alignment"] = (weights.alignment, torch.stack(aligned).mean())
    if trace.reliability_logit is not None:
        estimated = losses.reliability(trace.reliability_logit, batch.quality, present)
        terms["reliability"] = (weights.reliability, estimated)
        terms["entropy"] = (-weights.reliability * weights.entropy, losses.gate_entropy(trace.gates))
    return terms


def summed(weighed: Mapping[str, tuple[float, Tensor]], shown: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`loss`, the weighted sum with gradient; each term and what is shown besides, without."""
    loss = torch.stack([weight * term for weight, term in weighed.values()]).sum()
    return {"loss": loss, **{f"loss_{name}": term.detach() for name, (_, term) in weighed.items()}, **shown}


def _health(trace: Any, batch: Batch) -> dict[str, Tensor]:
    """Diagnostics: gates per modality, token variance, start times, and the AUC of the reliability rho."""
    with torch.no_grad():
        presence_mask = trace.present
        shown = {
            f"gate_{number}": _mean(gate, present)
            for number, (gate, present) in enumerate(zip(trace.gates.T, presence_mask.T, strict=True))
        }
        shown["token_variance"] = torch.stack(
            [_mean(level.tokens.flatten(3).var(dim=3).mean(dim=2), presence_mask) for level in trace.levels]
        ).mean()
        shown["start_time"] = torch.stack([_mean(level.time, presence_mask) for level in trace.levels]).mean()
        if trace.reliability_logit is not None:
            present = whole(presence_mask.float()) > 0
            logit, quality = whole(trace.reliability_logit), whole(batch.quality)
            shown["reliability_auc"] = auc(logit[present], quality[present])
    return shown


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the samples of all processes; NaN without one."""
    return total(values[mask].float().sum()) / total(mask.sum())


def auc(score: Tensor, good: Tensor) -> Tensor:
    """Area under the ROC curve: P(score of good > score of bad), ties half; NaN without one of the classes."""
    high, low = score[good > GOOD], score[good <= GOOD]
    if not (len(high) and len(low)):
        return score.new_tensor(float("nan"))
    difference = high[:, None] - low[None, :]
    return (difference > 0).float().mean() + 0.5 * (difference == 0).float().mean()
