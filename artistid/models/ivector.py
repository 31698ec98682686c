"""i-vectors (Dehak et al. 2011), for artists as by Eghbal-zadeh, Lehner, Schedl & Widmer, ISMIR 2015."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from torch import nn

from artistid.errors import ArtistidError, counted
from artistid.hints import Count

log = logging.getLogger(__name__)

LEAST_VARIANCE = 1e-3  # of a component, of standardised rows
MOST_STEPS = 50  # EM iterations of the mixture


class Totals(NamedTuple):
    """Baum-Welch statistics of clips.

    Attributes:
        n: ``(batch, components)`` zeroth order: (soft) number of rows of each component.
        first: ``(batch, components, columns)`` first order: sum of their deviations from the component's mean.
    """

    n: torch.Tensor
    first: torch.Tensor


class IVectors(nn.Module):
    """A clip's i-vector: how its rows shift the means of a Gaussian mixture that was fitted to all artists.

    The supervector of a clip's means is that of the mixture plus ``T w``, with a low-dimensional standard normal w; the
    i-vector is the posterior mean of w given the clip. Mixture and T are learned without labels.

    Departures: the study's T has 400 columns and its mixture 1,024 components, for whole songs; for clips and small
    collections fewer are enough. The mixture's covariances are diagonal.

    Args:
        n_features: columns of the input rows.
        n_columns: how many of the first columns are used, such as the MFCC of descriptors; None: all.
        n_components: of the mixture.
        n_units: dimensions of the i-vector.
        every: step between the rows used: neighbours, whose windows overlap, are similar.
        most_rows: maximum number of rows that the mixture is fitted to, drawn at random.
        iterations: EM iterations for T.
    """

    def __init__(
        self,
        n_features: int,
        n_columns: Count | None = None,
        n_components: Count = 64,
        n_units: Count = 80,
        every: Count = 2,
        most_rows: Count = 50_000,
        iterations: Count = 8,
    ) -> None:
        super().__init__()
        self.n_columns = n_features if n_columns is None else n_columns
        if self.n_columns > n_features:
            raise ArtistidError(f"n_columns={n_columns}: the features have {n_features}")
        counts = {"n_columns": self.n_columns, "n_components": n_components, "n_units": n_units, "every": every}
        for name, count in counts.items():
            if count < 1:
                raise ArtistidError(f"{name}={count}: expected 1 or more")
        self.every, self.most_rows, self.iterations = every, most_rows, iterations
        shape = n_components, self.n_columns
        self.centre = nn.Parameter(torch.zeros(self.n_columns))
        self.width = nn.Parameter(torch.ones(self.n_columns))
        self.log_weight = nn.Parameter(torch.zeros(n_components))
        self.mean = nn.Parameter(torch.zeros(shape))
        self.variance = nn.Parameter(torch.ones(shape))
        self.total_variability = nn.Parameter(torch.zeros(*shape, n_units))
        self.requires_grad_(False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, n_units)`` of clips ``(batch, n_features, time)``."""
        return self._posterior(self.totals(self.rows(features)))[0]

    def rows(self, features: torch.Tensor) -> torch.Tensor:
        """The rows used ``(batch, time, n_columns)`` of clips ``(batch, n_features, time)``."""
        return features[:, : self.n_columns, :: self.every].transpose(1, 2)

    def totals(self, rows: torch.Tensor) -> Totals:
        """The statistics of the rows ``(batch, time, n_columns)`` of clips."""
        rows = (rows - self.centre) / self.width
        precision = 1 / self.variance  # (components, columns)
        # log N(x; m, σ²) of all components at once, from x² and x, without a common constant.
        constant = self.log_weight - 0.5 * (self.variance.log() + self.mean.square() * precision).sum(dim=1)
        likelihood = constant + rows @ (self.mean * precision).T - 0.5 * rows.square() @ precision.T
        belongs = likelihood.softmax(dim=2)  # (batch, time, components)
        n = belongs.sum(dim=1)
        return Totals(n, belongs.transpose(1, 2) @ rows - n[:, :, None] * self.mean)

    def _posterior(self, totals: Totals) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean ``(batch, n_units)`` and precision ``(batch, n_units, n_units)`` of w."""
        weighted = self.total_variability / self.variance[:, :, None]  # Σ⁻¹ T
        each = weighted.transpose(1, 2) @ self.total_variability  # (components, units, units): Tᵀ Σ⁻¹ T
        units = each.shape[-1]
        precision = torch.eye(units, dtype=each.dtype, device=each.device) + torch.einsum("bc,cij->bij", totals.n, each)
        evidence = torch.einsum("bcd,cdi->bi", totals.first, weighted)
        return torch.linalg.solve(precision, evidence[:, :, None])[:, :, 0], precision

    def learn(self, clips: Iterable[torch.Tensor], seed: int) -> None:
        """Fit mixture and T to batches ``(batch, n_features, time)`` of clips.

        Raises:
            ArtistidError: fewer rows than components.
        """
        batches = [self.rows(batch).half() for batch in clips]  # the store's precision, half the memory
        self._fit_mixture(torch.cat([batch.flatten(0, 1) for batch in batches]), seed)
        self.double()
        totals = [self.totals(batch.double()) for batch in batches]
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(self.total_variability.shape, generator=generator, dtype=torch.float64)
        self.total_variability.copy_(0.1 * drawn * self.variance.sqrt()[:, :, None])
        for _ in range(self.iterations):
            self._improve(totals)
        self.float()

    def _fit_mixture(self, every_row: torch.Tensor, seed: int) -> None:
        """Fit to rows ``(n, n_columns)``, or to a sample of them."""
        n_components = len(self.mean)
        if len(every_row) < n_components:
            raise ArtistidError(
                f"model.network.n_components={n_components}: training has only {counted(len(every_row), 'row')}"
            )
        drawn = np.random.default_rng(seed).permutation(len(every_row))[: self.most_rows]
        rows = every_row[torch.from_numpy(drawn)].double().numpy()
        centre, width = rows.mean(axis=0), rows.std(axis=0)
        width = np.where(width > 0, width, 1)
        mixture = GaussianMixture(
            n_components,
            covariance_type="diag",
            reg_covar=LEAST_VARIANCE,
            max_iter=MOST_STEPS,
            init_params="k-means++",
            random_state=seed,
        ).fit((rows - centre) / width)
        values = (centre, width, np.log(mixture.weights_), mixture.means_, mixture.covariances_)
        parameters = (self.centre, self.width, self.log_weight, self.mean, self.variance)
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(torch.from_numpy(value))

    def _improve(self, batches: Iterable[Totals]) -> None:
        """An EM iteration for T (Kenny 2005), with the mixture fixed."""
        units = self.total_variability.shape[2]
        # Regularised, so that a component without rows gets zeros.
        left = 1e-6 * torch.eye(units, dtype=torch.float64).repeat(len(self.mean), 1, 1)
        right = torch.zeros(self.total_variability.shape, dtype=torch.float64)
        for totals in batches:
            w, precision = self._posterior(totals)
            second = torch.linalg.inv(precision) + w[:, :, None] * w[:, None, :]  # (batch, units, units): E[w wᵀ]
            left += torch.einsum("bc,bij->cij", totals.n, second)
            right += torch.einsum("bcd,bi->cdi", totals.first, w)
        self.total_variability.copy_(torch.linalg.solve(left, right, left=False))
