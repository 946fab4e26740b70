"""The method against baselines of its size: a slice, a training step, attention, waiting for data, and bfloat16.

All blocks are those of `config/models.yaml`, with random weights and inputs from fixed seeds unless said; whatever is
compared runs in turns (A B A B), so that other load on the machine hits both alike. One thread, and the GPU where there
is one. Waiting for data needs `snakemake -- prepare` of a study; without, it is left out, as are trained weights.
"""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from compare import Row, Timing, compared, write
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from diffufuse.files.records import read_record
from diffufuse.files.tables import read_table
from diffufuse.models import build_model
from diffufuse.models.diffufusemed.attention import CrossModalTransformer
from diffufuse.plan.constants import fit_constants, split_sha256
from diffufuse.plan.plans import load_model, make_plan, network_of, plan_modalities, plan_outputs
from diffufuse.predict.inference import predict
from diffufuse.store.case import PreparedCase, read_all_prepared
from diffufuse.store.index import PATCHES
from diffufuse.study.cohorts import read_cohort
from diffufuse.train.augmentation import augment
from diffufuse.train.averaging import averaged
from diffufuse.train.batches import Batch, sampler_of
from diffufuse.train.loop import fabric_for_this_machine
from diffufuse.train.objectives import objective_of

ROOT = Path(__file__).parents[1]
PREPARED, TRAINED = ROOT / "results/prepare", ROOT / "results/train/sts_ibsi/diffufusemed_small/fold-0_seed-0"
OURS = "diffufusemed"
# The paper's Table 6: 32 ms a slice, at most 0.91 of TransBTS and 1.78 of a U-Net.
PEERS = {"transbts": "ratio >= 1.1", "unet2d": "ratio >= 0.562"}
CHANNELS = {"small": (3, 1), "paper": (4, 3)}
REPEATS = {"slice": 40, "slices": 12, "paper": 3, "step": 12, "attention": 20, "waiting": 40}
LIMIT_S = 60
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
GRIDS = ((20, 20), (20, 40), (40, 40))
UNEQUAL = "outputs of different networks cannot be equal"


def catalogue(name: str) -> dict[str, Any]:
    """A catalogue of `config/`, block by block."""
    return yaml.safe_load((ROOT / f"config/{name}.yaml").read_text())[name]


class Contender:
    """A network of `config/models.yaml` with random weights, in evaluation mode, and some of its training's patches."""

    def __init__(self, name: str, *, modalities: int, outputs: int, batch: int, device: str = "cpu") -> None:
        """Build both; `slices` tells how many slices of the method's patch the voxels fill, `cost` is for one."""
        blocks = catalogue("models")
        block, (x, y, _) = blocks[name], blocks[f"{OURS}_{name.split('_')[-1]}"]["training"]["patch"]
        torch.manual_seed(0)
        network = build_model(block, modalities=modalities, outputs=outputs).eval()
        images = torch.randn(batch, modalities, *block["training"]["patch"])
        self.name, self.network, self.images = name, network.to(device), images.to(device)
        self.slices = images[:, 0].numel() / (x * y)
        parameters, macs = (
            sum(parameter.numel() for parameter in network.parameters()),
            macs_of(network, images) / self.slices,
        )
        self.cost = f"{name} {parameters / 1e6:.3g} M parameters, {macs / 1e9:.3g} GMACs a slice"

    def look(self) -> Tensor:
        """Logits, fetched from where they were calculated."""
        return self.network(self.images, torch.ones_like(self.images, dtype=torch.bool)).cpu()


def macs_of(network: nn.Module, images: Tensor) -> float:
    """Half of what `torch.utils.flop_counter` counts: matrix products, convolutions and attention.

    Without data and with plain attention, for it does not know the fused attention of the CPU, nor the fast path of
    torch's transformer layers, and would leave them out.
    """
    empty, seen = copy.deepcopy(network).to("meta"), images.to("meta")
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad(), FlopCounterMode(display=False) as counter:
        empty(seen, torch.ones_like(seen, dtype=torch.bool))
    return counter.get_total_flops() / 2


def interleaved(calls: Sequence[Callable[[], object]], repeats: int, parts: Sequence[float] = ()) -> list[Timing]:
    """Milliseconds of calls, divided by `parts`, in turns; a first turn does not count, and a minute is enough."""
    took: list[list[float]] = []
    began = time.perf_counter()
    while len(took) < 2 or (len(took) <= repeats and time.perf_counter() - began < LIMIT_S):
        moments = [time.perf_counter()]
        for call in calls:
            call()
            moments.append(time.perf_counter())
        took.append([1000 * (end - start) for start, end in pairwise(moments)])
    milliseconds = np.array(took[1:]) / (parts or 1)
    return [Timing(float(ms.min()), float(np.median(ms)), tuple(ms.tolist())) for ms in milliseconds.T]


def slice_rows(size: str, *, batch: int, repeats: int, precision: str = "fp32", device: str = "cpu") -> list[Row]:
    """Time per slice, of the method and of its peers; a volume counts for as many slices as its voxels fill."""
    modalities, outputs = CHANNELS[size]
    shape: dict[str, Any] = {"modalities": modalities, "outputs": outputs, "batch": batch, "device": device}
    networks = [Contender(f"{name}_{size}", **shape) for name in (OURS, *PEERS)]
    with torch.inference_mode(), torch.autocast(device, DTYPES[precision], enabled=precision != "fp32"):
        took = interleaved(
            [contender.look for contender in networks], repeats, [contender.slices for contender in networks]
        )
    p95 = [f"{np.percentile(timing.all, 95):.3g}" for timing in took]
    patches = ["x".join(map(str, contender.images.shape[2:])) for contender in networks]
    return [
        compared(
            f"slice, {size}, {device} {precision}, batch {batch}, against {networks[n].name}",
            f"logits of a slice of {patches[0][:-2]} with {modalities} modalities and {outputs} regions, eval mode",
            took[0],
            took[n],
            unit="ms",
            peer=networks[n].name,
            goal=goal,
            notes=f"{networks[0].cost}; {networks[n].cost}, read as {batch} patches of {patches[n]}, time divided by "
            f"the slices of {patches[0][:-2]} that they fill; 95 % within {p95[0]} and {p95[n]} ms; {UNEQUAL}",
        )
        for n, goal in enumerate(PEERS.values(), start=1)
    ]


def attention_rows() -> list[Row]:
    """DG-CMT when the number of tokens doubles, twice: in windows, and over the whole grid as the paper writes it."""
    settings = {"head_width": 16, "ffn": 2, "dropout": 0.0, "time_on": "queries and keys"}
    blocks = [CrossModalTransformer(3, 64, blocks=1, window=window, **settings).eval() for window in (5, 0)]
    presence = torch.ones(4, 3, dtype=torch.bool)
    inputs = [(torch.randn(4, 3, 64, *grid), torch.zeros(4, 3), presence, presence / 3) for grid in GRIDS]
    with torch.inference_mode():
        took = interleaved(
            [partial(block, *arguments) for block in blocks for arguments in inputs], REPEATS["attention"]
        )
    rows = []
    for where, times, goal in (
        ("windows of 5x5", took[:3], "ratio <= 2.2"),
        ("the whole grid, the paper's literal form", took[3:], ""),
    ):
        for (few, less), (many, more) in pairwise(zip(GRIDS, times, strict=True)):
            before, after = ("x".join(map(str, grid)) for grid in (few, many))
            rest = {"unit": "ms", "peer": f"with {before} tokens", "goal": goal, "ratio": more.min_s / less.min_s}
            name = f"DG-CMT over {where}, {before} to {after} tokens"
            what = f"one block of width 64, forward, on 4 patches with {after} tokens in each of 3 modalities"
            notes = "the ratio is the time for twice the tokens: 2 would be linear, 4 quadratic"
            rows.append(compared(name, what, more, less, notes=notes, **rest))
    return rows


def plan_of(model: str, dataset: str, cases: Mapping[str, PreparedCase] | None = None) -> dict[str, Any]:
    """The plan of fold 0; constants of normalization are those of the cases, if there are any."""
    cohort, block = read_cohort(ROOT / f"config/cohorts/{dataset}.tsv"), catalogue("datasets")[dataset]
    training, modalities = cohort.training(0), block["modalities"]
    constants = {"split_sha256": split_sha256(training), "modalities": {}}
    constants |= fit_constants(map(cases.__getitem__, training), modalities=modalities) if cases else {}
    names = {"dataset": dataset, "model": model, "fold": 0, "seed": 0, "study_seed": 1, "regions": block["regions"]}
    blocks = {"block": catalogue("models")[model], "conditions": catalogue("conditions"), "modalities": modalities}
    return make_plan(cohort, **names, **blocks, constants=constants)


def random_batch(plan: Mapping[str, Any]) -> Batch:
    """A training's batch: a disc in every patch, a quarter of the images noisy, a sixth absent."""
    settings, draw = plan["block"]["training"], torch.Generator().manual_seed(2)
    size, count, (x, y, z) = settings["batch"], len(plan["modalities"]), settings["patch"]
    uniform = torch.rand(size, count, 1, 1, 1, generator=draw)
    clean, noise = torch.randn(2, size, count, x, y, z, generator=draw)
    presence = (uniform > 1 / 6).expand(clean.shape).contiguous()
    noisy = torch.where(uniform > 3 / 4, clean + noise, clean)
    disc = (torch.arange(x) - x / 2)[:, None].square() + (torch.arange(y) - y / 2).square() < (x / 4) ** 2
    reference = disc.float()[None, None, ..., None].repeat(size, 1, 1, 1, z)
    quality = ((uniform > 1 / 6) & (uniform <= 3 / 4)).flatten(1).float()
    return Batch(noisy * presence, clean * presence, presence, reference, quality, torch.ones(size, 3))


def stepper(plan: Mapping[str, Any]) -> Callable[[Batch], None]:
    """A step of supervised training: objective, backward, clipping, AdamW and the average of weights."""
    settings = plan["block"]["training"]
    fabric, network = fabric_for_this_machine(settings["precision"]), network_of(plan).train()
    adam = torch.optim.AdamW(network.parameters(), lr=settings["learning_rate"], weight_decay=settings["weight_decay"])
    wrapped, optimizer = fabric.setup(network, adam)
    average = averaged(network, decay=settings["ema"])
    objective, generator = objective_of(plan), torch.Generator().manual_seed(0)

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        with fabric.autocast():
            loss = objective(wrapped, batch.to(fabric.to_device), progress=0.5, generator=generator)["loss"]
        fabric.backward(loss)
        fabric.clip_gradients(wrapped, optimizer, max_norm=1.0)
        optimizer.step()
        average.update_parameters(network)
        loss.item()  # so that a GPU has finished

    return step


def step_row() -> Row:
    """A training step of the method and of its backbone alone."""
    plans = [plan_of(f"{name}_small", "sts_ibsi") for name in (OURS, "multi_encoder")]
    ours, theirs = interleaved([partial(stepper(plan), random_batch(plan)) for plan in plans], REPEATS["step"])
    costs = "; ".join(Contender(plan["model"], modalities=3, outputs=1, batch=1).cost for plan in plans)
    return compared(
        "training step, small",
        "objective, backward pass, clipping, AdamW and average of weights, 12 random patches of 80x80, 3 modalities",
        ours,
        theirs,
        unit="ms",
        peer="multi_encoder_small, the backbone alone",
        goal="ratio >= 0.5",
        notes=f"{costs}, for logits alone; {UNEQUAL}",
    )


def prepared(dataset: str) -> dict[str, PreparedCase]:
    """The cases that fold 0 trains and validates on."""
    cohort, folder = read_cohort(ROOT / f"config/cohorts/{dataset}.tsv"), PREPARED / dataset
    names = [*cohort.training(0), *cohort.validation(0)]
    return read_all_prepared(folder / name / f"{name}.json" for name in names)


def waiting_rows() -> list[Row]:
    """How long a training waits for data; nothing is told where nothing is prepared."""
    ready = [name for name in ("sts_ibsi", "phantom") if (PREPARED / name / "patches.parquet").exists()]
    if not ready:
        return []
    cases, index = prepared(ready[0]), read_table(PREPARED / ready[0] / "patches.parquet", PATCHES)
    plans = [plan_of(f"{model}_small", ready[0], cases) for model in (OURS, "unet2d")]
    return [waiting_row(plan, sampler_of(plan, cases, index).draw) for plan in plans]


def waiting_row(plan: Mapping[str, Any], draw: Callable[[int, np.random.Generator], Batch]) -> Row:
    """The share of training steps that goes into data, as on a CPU, where nothing is drawn ahead."""
    step, generator, torch_generator = stepper(plan), np.random.default_rng(0), torch.Generator().manual_seed(0)
    size, batches = plan["block"]["training"]["batch"], []
    calls = [
        lambda: batches.append(augment(draw(size, generator), generator=torch_generator)),
        lambda: step(batches.pop()),
    ]
    waited, learned = (np.array(took.all) for took in interleaved(calls, REPEATS["waiting"]))
    return Row(
        f"waiting for data, {plan['model']}",
        f"share of training steps that goes into drawing and augmenting {size} patches of {plan['dataset']}, of all "
        "steps together; in brackets of the usual step",
        float(waited.sum() / (waited + learned).sum()),
        "of a step",
        ours_median=float(np.median(waited / (waited + learned))),
        goal="ours <= 0.10",
        repeats=len(waited),
        notes=f"{waited.mean():.0f} ms for a batch, {learned.mean():.0f} ms for learning from it",
    )


def precision_row(what: str, on: str, full: np.ndarray, low: np.ndarray) -> Row:
    """Probabilities in bfloat16 against those in single floats."""
    off, mask, other = np.abs(full - low), full >= 0.5, low >= 0.5
    same, dice = float((mask == other).mean()), 2 * (mask & other).sum() / max(mask.sum() + other.sum(), 1)
    return Row(
        f"bf16 against fp32, {what}",
        f"largest difference of a probability of {OURS}_small on {on}; in brackets the median",
        float(off.max()),
        "",
        ours_median=float(np.median(off)),
        agrees=same >= 0.99,
        how_agrees=f"the mask is the same in {same:.3%} of {full.size} voxels, Dice of the masks {dice:.4f}",
    )


def precision_rows() -> list[Row]:
    """Random weights on random images, and trained weights on a real case that they did not learn from, if at hand."""
    random, answers = Contender(f"{OURS}_small", modalities=3, outputs=1, batch=8), []
    for enabled in (False, True):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            answers.append(torch.sigmoid(random.look().float()).numpy())
    row = precision_row("random weights", "8 patches of noise", *answers)
    if not (TRAINED / "weights").exists():
        return [row]
    plan = read_record(TRAINED / "plan.json")
    network, patch = load_model(plan, TRAINED / "weights").cpu(), tuple(plan["block"]["training"]["patch"])
    scan = prepared("sts_ibsi")[plan["validation_cases"][0]].scan
    look = partial(predict, network, scan, modalities=plan_modalities(plan), outputs=plan_outputs(plan), patch=patch)
    full, low = look(precision="32-true"), look(precision="bf16-mixed")
    on = "all slices of a validation case, windows blended, in the body"
    return [row, precision_row("trained weights", on, full[:, scan.body], low[:, scan.body])]


def main() -> None:
    """Run all."""
    torch.set_num_threads(1)
    places = [("cpu", "fp32"), ("cpu", "bf16"), *([("cuda", "fp16")] if torch.cuda.is_available() else [])]
    rows = []
    for device, precision in places:
        for batch, kind in ((1, "slice"), (8, "slices")):
            rows += slice_rows("small", batch=batch, repeats=REPEATS[kind], precision=precision, device=device)
    rows += slice_rows("paper", batch=1, repeats=REPEATS["paper"])
    # Training last, for it asks for deterministic algorithms, and keeps asking.
    rows += [*attention_rows(), *precision_rows(), step_row(), *waiting_rows()]
    write("models", rows, packages=["torch"])


if __name__ == "__main__":
    main()
