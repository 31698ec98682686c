"""The LightningModule: a network that classifies clips by artist; a step is augment, network, loss (paper III-E)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import lightning as L
import numpy as np
import torch
from torch import nn

from artistid.data.datamodule import Batch
from artistid.errors import ArtistidError
from artistid.evaluation.voting import MEAN_EMBEDDING
from artistid.learning.acceleration import prepare_network
from artistid.learning.auxiliary import Auxiliaries
from artistid.learning.specification import CHECKPOINT_KEY, Specification, load_network
from artistid.models.embedding import EmbeddingNetwork, require_bottleneck, song_means
from artistid.settings import first_line
from artistid.trust import Trust

OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


def make_optimizer(factory: OptimizerFactory, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer of some parameters; raises ArtistidError for settings that it does not accept."""
    try:
        return factory(parameters)
    except Exception as error:  # one of any package may be named
        raise ArtistidError(f"optimizer.*: {first_line(error)}") from error


class ArtistClassifier(L.LightningModule):
    """Any network from clips ``(batch, width, time)`` to logits ``(batch, artists)``, and how it is trained.

    Validation and test steps return outputs for callbacks, which vote and score.

    Args:
        specification: stored in every checkpoint.
        optimizer: makes the optimizer from the parameters; None for a classifier that is not trained.
        loss: of logits ``(batch, artists)``, and labels ``(batch,)`` or targets ``(batch, artists)``; None:
            cross-entropy.
        augment: augmentation of training batches; see :mod:`artistid.learning.augmentation`.
        auxiliaries: losses that are added; see :mod:`artistid.learning.auxiliary`.
        batch_norm_warm_up: see :meth:`on_train_batch_start`.
        memory_format: of :data:`artistid.learning.acceleration.MEMORY_FORMATS`.
        network: None: as built from the specification, with fresh weights.
    """

    def __init__(
        self,
        specification: Specification,
        optimizer: OptimizerFactory | None = None,
        loss: nn.Module | None = None,
        augment: nn.Module | None = None,
        auxiliaries: Auxiliaries | None = None,
        batch_norm_warm_up: bool = True,
        memory_format: str = "channels_last",
        network: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.specification = specification
        self.optimizer = optimizer
        self.loss = loss or nn.CrossEntropyLoss()
        self.augment = augment
        self.auxiliaries = auxiliaries
        self.network = prepare_network(network or specification.build(), memory_format)
        norms = (module for module in self.network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))
        self._warming_up = {norm: norm.momentum for norm in norms if norm.momentum} if batch_norm_warm_up else {}

    @classmethod
    def from_checkpoint(cls, path: Any, trust: Trust = ()) -> ArtistClassifier:
        """A trained classifier.

        Args:
            path, trust: see :func:`artistid.learning.specification.load_network`.

        Raises:
            ArtistidError: as it does.
        """
        specification, network = load_network(path, trust)
        return cls(specification, network=network).eval()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (batch, artists), float32, of clips ``(batch, width, time)``, such as log-mel in dB."""
        return self.network(features.float()).float()

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        """Start batch norm's running statistics as plain means, until its own momentum is larger.

        With the paper's momentum their arbitrary initial values would decay by a hundredth a step: on small
        collections, validation and early stopping would act on wrong statistics at first. Gradients do not depend on
        them, and after some hundred steps the difference has vanished.
        """
        for norm, momentum in list(self._warming_up.items()):
            assert norm.num_batches_tracked is not None
            norm.momentum = max(momentum, 1 / (int(norm.num_batches_tracked) + 1))
            if norm.momentum == momentum:
                del self._warming_up[norm]

    def training_step(self, batch: Batch, batch_index: int) -> torch.Tensor:
        features, target = batch["features"], batch["label"]
        if self.augment is not None:
            features, target = self.augment(features.float(), target)
        if self.auxiliaries is None:
            loss = self.loss(self(features), target)
        else:
            network = cast(EmbeddingNetwork, self.network)
            vectors = network.bottleneck(features.float())
            logits = getattr(network, "head", network.classify)(vectors).float()
            parts = self.auxiliaries(vectors.float(), batch)
            loss = self.loss(logits, target) + sum(parts.values())
            self._log_mean({f"train/{name}": part for name, part in parts.items()}, batch)
        self._log_mean({"train/loss": loss}, batch, prog_bar=True)
        return loss

    def _log_mean(self, values: dict[str, torch.Tensor], batch: Batch, prog_bar: bool = False) -> None:
        """Log the mean over the clips of an epoch."""
        self.log_dict(
            values, on_step=False, on_epoch=True, batch_size=len(batch["label"]), prog_bar=prog_bar, sync_dist=True
        )

    def validation_step(self, batch: Batch, batch_index: int) -> dict[str, torch.Tensor]:
        return self.hear(batch["features"])

    def test_step(self, batch: Batch, batch_index: int) -> dict[str, torch.Tensor]:
        return self.hear(batch["features"])

    def hear(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        """``logits`` of clips, and their ``vectors`` where the vote uses the mean of these."""
        if self.specification.vote != MEAN_EMBEDDING:
            return {"logits": self(features)}
        vectors = self.embedding_network.bottleneck(features.float())
        return {"logits": self.embedding_network.classify(vectors).float(), "vectors": vectors.float()}

    def name_songs(self, vectors: torch.Tensor, song: np.ndarray) -> torch.Tensor:
        """``(clips, artists)`` for each clip, the logits of its song's mean of vectors ``(clips, d)``, on the CPU.

        ``song`` (clips,) numbers songs from 0.
        """
        with torch.no_grad():
            of_songs = self.embedding_network.classify(song_means(vectors, song).to(self.device))
        return of_songs.float().cpu()[torch.from_numpy(song)]

    @property
    def embedding_network(self) -> EmbeddingNetwork:
        """The network; raises ArtistidError for one that has no bottleneck."""
        return require_bottleneck(self.network)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        if self.optimizer is None:
            raise ValueError("this classifier was made without an optimizer: it can't be trained")
        return make_optimizer(self.optimizer, (each for each in self.parameters() if each.requires_grad))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[CHECKPOINT_KEY] = self.specification.plain()
