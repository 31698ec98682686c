"""An encoder in an ONNX file, run by ONNX Runtime."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from artistid.errors import ArtistidError, counted, require_choice
from artistid.models.published.base import PublishedEncoder
from artistid.models.published.fronts import Samples, SpeakersFilterBank, TaggersMel
from artistid.models.published.weights import on_disk
from artistid.packages import require_extra
from artistid.settings import first_line

FRONTS = {"samples": Samples, "filter_bank": SpeakersFilterBank, "mel": TaggersMel}


class OnnxFile(PublishedEncoder):
    """A network with one input, in an ONNX file.

    Args:
        file: its name, used where ``path`` is not the file itself.
        source: where to get it, for the error if it is missing.
        licence: of its weights.
        front: its input: ``samples`` ``(batch, time)``; ``filter_bank`` ``(batch, frames, 80)``, Kaldi's, as for
            WeSpeaker's networks; ``mel`` ``(batch, frames, 96)``, as for musicnn and MTG's networks.
        layers: the names of the outputs to concatenate; None: the last.
        path: of the file, or of its folder; None: see :func:`artistid.models.published.weights.on_disk`.
    """

    session: Any  # onnxruntime.InferenceSession

    def __init__(
        self,
        file: str = "encoder.onnx",
        source: str = "whoever trained it",
        licence: str | None = None,
        front: Literal["samples", "filter_bank", "mel"] = "samples",
        layers: list[str] | None = None,
        path: str | None = None,
    ) -> None:
        super().__init__()
        require_choice("features.encoder.front", front, tuple(FRONTS))
        self.front = FRONTS[front]()
        self.file, self.source, self.licence, self.layers, self.path = file, source, licence, layers, path
        self.title = file if path is None else path
        # Of the file, so that features can identify its weights, which are not tensors here.
        self.register_buffer("sha256", torch.zeros(32, dtype=torch.uint8))

    def read_weights(self) -> None:
        require_extra("encoders", "an encoder in an ONNX file")
        import onnxruntime

        path = on_disk((self.file,), self.path, self.source)
        content = path.read_bytes()  # a model loaded from bytes opens no other files
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        providers = [
            name
            for name in ("CUDAExecutionProvider", "CPUExecutionProvider")
            if name in onnxruntime.get_available_providers()
        ]
        try:
            self.session = onnxruntime.InferenceSession(content, options, providers)
        except Exception as error:  # ONNX Runtime has errors of its own
            raise ArtistidError(f"{path} is not a usable ONNX file: {first_line(error)}") from error
        if len(inputs := self.session.get_inputs()) != 1:
            raise ArtistidError(f"{path} has {counted(len(inputs), 'input')}: expected one")
        names = [output.name for output in self.session.get_outputs()]
        for layer in self.layers or ():
            require_choice("features.encoder.layers", layer, names)
        self.layers = self.layers or names[-1:]
        self.sha256 = torch.tensor(list(hashlib.sha256(content).digest()), dtype=torch.uint8)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """``(batch, d)`` or ``(batch, vectors, d)`` of windows ``(batch, 1, time)``."""
        given = self.front(windows).cpu().numpy()
        size = self.session.get_inputs()[0].shape[0]
        at_once = size if isinstance(size, int) else len(given)  # some were exported for batches of one size
        found = [self._run(given[first : first + at_once], at_once) for first in range(0, len(given), at_once)]
        return torch.from_numpy(np.concatenate(found)).to(windows.device)

    def _run(self, batch: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.float32]:
        """The wanted outputs of up to ``size`` windows, concatenated."""
        filled = np.zeros((size, *batch.shape[1:]), np.float32)
        filled[: len(batch)] = batch
        try:
            outputs = self.session.run(self.layers, {self.session.get_inputs()[0].name: filled})
        except Exception as error:
            raise ValueError(first_line(error)) from error
        return np.concatenate(outputs, axis=-1)[: len(batch)]
