"""A training step in several forms: each checked against single precision, then timed in turn with the others.

The choices in :mod:`artistid.learning.acceleration` are based on such a table. It also shows what train could gain from
a graph of the whole step, on a GPU, or from compiling, how much several trials at once do together, and how long the
paper's study takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from hydra import compose
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import multiprocessing, nn

from artistid.benchmarking.material import random_clips
from artistid.benchmarking.measuring import Figure, bandwidth, flops_and_bytes, in_turn, peak
from artistid.data.datamodule import ClipData, ClipDataset
from artistid.errors import ArtistidError, counted
from artistid.learning.acceleration import choose_precision, prepare_network, set_up_process

WARM_UP = 3  # steps before the clock starts, and before a graph is captured
SONGS_OF_A_TRIAL = 240  # enough for any batch, so that all trials fit in memory
LONGEST_WAIT = 600  # s that a trial waits for the others
RUNS_OF_A_LENGTH = 6  # two splits, three trials

# How far a gradient may be from that of single precision, relative to its norm. Single precision needs a tolerance,
# too: one near tie in a max pool that is rounded the other way changes a small batch's gradient by 2e-3.
GRADIENT_TOLERANCE = {"float32": 1e-2, "tf32": 0.1, "bfloat16": 0.3}


@dataclass(frozen=True)
class Variant:
    """A form of the training step.

    Attributes:
        name: of the form.
        numbers: float32, tf32 or bfloat16: precision of convolutions and products.
        channels_last: memory format of the images.
        prepared: the network as prepared by ``train``.
        compiled: by torch.compile.
        graph: the whole step captured once, and replayed by the GPU without Python.
        kept: whether the clips are on the device, or sliced from the store for every batch.
    """

    name: str
    numbers: str = "float32"
    channels_last: bool = False
    prepared: bool = False
    compiled: bool = False
    graph: bool = False
    kept: bool = True


REFERENCE = Variant("float32")
AS_TRAINED = "as_trained"  # the form that train uses


def variants(device: torch.device, compiled: bool) -> list[Variant]:
    """The variants that a device can run; the reference comes first."""
    numbers = "bfloat16" if choose_precision("auto", device.type) == "bf16-mixed" else "float32"
    trained = Variant(AS_TRAINED, numbers, prepared=True)
    forms = [
        REFERENCE,
        Variant("channels_last", channels_last=True),
        Variant("bfloat16", "bfloat16"),
        Variant("bfloat16_channels_last", "bfloat16", channels_last=True),
        trained,
        replace(trained, name=f"{AS_TRAINED}_clips_on_host", kept=False),
    ]
    if device.type == "cuda":
        forms.insert(1, Variant("tf32", "tf32"))
        forms.append(replace(trained, name=f"{AS_TRAINED}_cuda_graph", graph=True))
    if compiled:
        forms.append(replace(trained, name=f"{AS_TRAINED}_compiled", compiled=True))
    return forms


class Step:
    """One training step of a network on the clips of given rows.

    Args:
        variant: the form.
        config: ``model``, ``optimizer``, ``seed``.
        clips: to train on.
        device: to train on.
        exact: without dropout and with plain gradient descent of rate 1, so that a step subtracts just the gradient.
    """

    def __init__(
        self, variant: Variant, config: DictConfig, clips: ClipDataset, device: torch.device, exact: bool = False
    ) -> None:
        self.variant, self.clips, self.device = variant, clips, device
        torch.manual_seed(config.seed)
        network: nn.Module = instantiate(config.model.network, n_artists=int(clips.known["label"].max()) + 1)
        if exact:
            for module in network.modules():
                if isinstance(module, nn.Dropout):
                    module.p = 0.0
        if variant.prepared:
            network = prepare_network(network)
        elif variant.channels_last:
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = network.to(device).train()
        parameters = list(self.network.parameters())
        settings = {"capturable": True} if variant.graph and not exact else {}
        self.optimizer: torch.optim.Optimizer = (
            torch.optim.SGD(parameters, lr=1.0) if exact else instantiate(config.optimizer, **settings)(parameters)
        )
        self.forward: Any = torch.compile(self.network) if variant.compiled else self.network
        self.index: torch.Tensor | None = None
        self.graph: Any = None

    def __call__(self, index: torch.Tensor) -> None:
        """Train on the clips of these rows ``(batch,)``."""
        with computing_in(self.variant.numbers, self.device):
            if not self.variant.graph:
                self._take(index)
                return
            if self.graph is None:
                self._capture(index)
            assert self.index is not None
            self.index.copy_(index)
            self.graph.replay()

    def _take(self, index: torch.Tensor) -> None:
        batch = self.clips.__getitems__(index)  # type: ignore[arg-type]
        features, label = batch["features"].to(self.device), batch["label"].to(self.device)
        numbers = torch.bfloat16 if self.variant.numbers == "bfloat16" else None
        # A graph must cast the weights again each time, as they change; the cache would freeze the first cast.
        with torch.autocast(
            self.device.type, numbers, enabled=numbers is not None, cache_enabled=not self.variant.graph
        ):
            logits = self.forward(features.float()).float()
        loss = nn.functional.cross_entropy(logits, label)
        self.optimizer.zero_grad(set_to_none=not self.variant.graph)
        loss.backward()
        self.optimizer.step()

    def _capture(self, index: torch.Tensor) -> None:
        """Record the step; changes by the warm-up steps are undone."""
        self.index = index.to(self.device).clone()  # it is written to before each replay
        before = [tensor.clone() for tensor in self.network.state_dict().values()]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self._take(self.index)
        torch.cuda.current_stream().wait_stream(aside)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self._take(self.index)
        with torch.no_grad():
            for tensor, value in zip(self.network.state_dict().values(), before, strict=True):
                tensor.copy_(value)


@contextmanager
def computing_in(numbers: str, device: torch.device) -> Iterator[None]:
    """Switch TF32 for products in single precision on or off; no effect except on a GPU."""
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = numbers != "float32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def gradient(variant: Variant, config: DictConfig, clips: ClipDataset, device: torch.device) -> torch.Tensor:
    """The gradient of the loss of the first clips, all parameters in one vector, float64."""
    step = Step(variant, config, clips, device, exact=True)
    before = [parameter.detach().clone() for parameter in step.network.parameters()]
    step(torch.arange(min(config.batch_size, len(clips)), device=device if variant.kept else None))
    after = step.network.parameters()
    return torch.cat([(old - new.detach()).flatten() for old, new in zip(before, after, strict=True)]).double().cpu()


def rate(
    step: Callable[[torch.Tensor], None], batch_size: int, steps: int, n_clips: int, kept_on: torch.device | None
) -> float:
    """Clips per second of some steps on clips drawn at random, with the index on the device that keeps the clips."""
    order = torch.randint(n_clips, (steps, batch_size), device=kept_on)
    _wait()
    start = time.perf_counter()
    for index in order:
        step(index)
    _wait()
    return steps * batch_size / (time.perf_counter() - start)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure_variants(config: DictConfig, folder: Path) -> list[Figure]:
    """The step in every form, at several batch sizes; then parallel trials, and all clip lengths."""
    set_up_process()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data, _ = random_clips(config, folder)
    forms = variants(device, config.compile)
    clips = _clips(data, device)
    figures = [*_checked(forms, config, clips, device), *_timed(forms, config, clips, device)]
    trained = next(form for form in forms if form.name == AS_TRAINED)
    return [*figures, *_at_once(trained, config, device), *_by_length(trained, config, folder, device)]


def _name(batch_size: int, variant: Variant) -> str:
    return f"batch_{batch_size}_{variant.name}_clips_per_s"


def _clips(data: ClipData, device: torch.device) -> dict[bool, ClipDataset]:
    """The training clips, as train cuts them in its first epoch, by whether they are on the device or in the store."""
    in_store = data.datasets["train"]
    in_store.begin_epoch()
    on_device = copy(in_store)
    on_device.cache_on_device(device)
    return {True: on_device, False: in_store}


def _checked(
    forms: list[Variant], config: DictConfig, clips: dict[bool, ClipDataset], device: torch.device
) -> list[Figure]:
    """How far each form's gradient is from the reference's, relative to its norm.

    Raises:
        ArtistidError: farther than the tolerance of its precision.
    """
    expected = gradient(REFERENCE, config, clips[REFERENCE.kept], device)
    figures = []
    for form in forms[1:]:
        off = gradient(form, config, clips[form.kept], device) - expected
        error = (off.norm() / expected.norm()).item()
        if not error <= GRADIENT_TOLERANCE[form.numbers]:
            raise ArtistidError(
                f"the gradient of {form.name} is {error:.2g} from that of single precision, relative to its norm: "
                f"expected at most {GRADIENT_TOLERANCE[form.numbers]} for {form.numbers}"
            )
        figures.append(Figure(f"{form.name}_gradient_error", (error,)))
    return figures


def _timed(
    forms: list[Variant], config: DictConfig, clips: dict[bool, ClipDataset], device: torch.device
) -> list[Figure]:
    """Clips per second of each form in turn, beside the reference."""
    size = config.size.variants
    figures = []
    for batch_size in dict.fromkeys((config.batch_size, *size.batch_sizes[device.type])):
        steps = [Step(form, config, clips[form.kept], device) for form in forms]
        rates = [
            partial(rate, step, batch_size, size.steps, len(step.clips), device if step.variant.kept else None)
            for step in steps
        ]
        for warm_up in rates:
            warm_up()
        reference, *others = in_turn(config.size.rounds, *rates)
        figures.append(Figure(_name(batch_size, REFERENCE), tuple(reference)))
        for form, values in zip(forms[1:], others, strict=True):
            figures.append(Figure(_name(batch_size, form), tuple(values), REFERENCE.name, tuple(reference)))
    return figures


def _at_once(form: Variant, config: DictConfig, device: torch.device) -> list[Figure]:
    """Total clips per second of several trials in parallel, each in its own process, on one device."""
    plain = OmegaConf.to_container(config, resolve=True)
    figures = []
    for trials in config.size.variants.trials:
        threads = max(1, torch.get_num_threads() // trials)
        context = multiprocessing.get_context("spawn")
        ready, results = context.Barrier(trials, timeout=LONGEST_WAIT), context.SimpleQueue()
        processes = [
            context.Process(target=_trial, args=(form, plain, device, threads, ready, results)) for _ in range(trials)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        if any(process.exitcode for process in processes):
            raise ArtistidError(f"{counted(trials, 'trial')} at once: one of them failed; its message is above")
        rounds = zip(*(results.get() for _ in processes), strict=True)
        figures.append(Figure(f"trials_{trials}_together_clips_per_s", tuple(map(sum, rounds))))
    return figures


def _trial(form: Variant, plain: Any, device: torch.device, threads: int, ready: Any, results: Any) -> None:
    """One of several trials; all begin each round together."""
    set_up_process()
    torch.set_num_threads(threads)
    config = OmegaConf.create(plain)
    with TemporaryDirectory() as folder:
        config.size.songs = min(config.size.songs, SONGS_OF_A_TRIAL)
        data, _ = random_clips(config, Path(folder))
        step = Step(form, config, _clips(data, device)[form.kept], device)
        measure = partial(rate, step, config.batch_size, config.size.variants.steps, len(step.clips), device)
        measure()
        values = []
        for _ in range(config.size.rounds):
            ready.wait()
            values.append(measure())
        results.put(values)


def _by_length(form: Variant, config: DictConfig, folder: Path, device: torch.device) -> list[Figure]:
    """For each clip length: the rate, and its share of the limits by arithmetic and memory; then the study's time.

    The study has two splits and three trials of each length, on a collection of the store's size, extrapolated from the
    rates: ``size.variants.epochs`` epochs a run, without validation.
    """
    numbers = torch.bfloat16 if form.numbers == "bfloat16" else torch.float32
    most_flops, most_bytes = peak(numbers, device), bandwidth(device)
    figures = [Figure("peak_tflops", (most_flops / 1e12,)), Figure("bandwidth_gb_per_s", (most_bytes / 1e9,))]
    seconds = 0.0
    for length in config.size.variants.lengths:
        config = OmegaConf.merge(config, {"clip": compose("train", [f"clip={length}"]).clip})  # type: ignore[assignment]
        data, _ = random_clips(config, folder)
        step = Step(form, config, _clips(data, device)[form.kept], device)
        measure = partial(rate, step, config.batch_size, config.size.variants.steps, len(step.clips), device)
        measure()
        (values,) = in_turn(config.size.rounds, measure)
        figure = Figure(f"clip_{length}_clips_per_s", tuple(values))
        flops, moved = flops_and_bytes(partial(step, torch.arange(config.batch_size, device=device)))
        for floor, most in (("arithmetic", most_flops / flops), ("bytes", most_bytes / moved)):
            figures.append(Figure(f"clip_{length}_of_{floor}_floor", (figure.median / (most * config.batch_size),)))
        figures.append(figure)
        seconds += RUNS_OF_A_LENGTH * config.size.variants.epochs * len(step.clips) / figure.median
        del step, data
    return [*figures, Figure("study_minutes", (seconds / 60,))]
