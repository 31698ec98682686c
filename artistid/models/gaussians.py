"""Full-covariance Gaussians, fitted to and compared with songs that are given by their first two moments.

The likelihood of a song's rows under a Gaussian depends only on their number, mean and covariance. So these moments,
one vector per song or clip, are all that the systems of Ellis (2007) and Mandel & Ellis (2005) need: an artist's
Gaussian is fitted to the pooled moments of its songs, and the divergence between two songs is that of their Gaussians.
In what follows, k songs or clips have d dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.covariance import shrunk_covariance

from artistid.errors import ArtistidError

Floats = NDArray[np.float64]

# Variance added to every dimension, relative to the data's own: silence has none, but a Gaussian needs some.
LEAST_VARIANCE = 1e-6


class Moments(NamedTuple):
    """Number of rows ``n`` (k,), ``mean`` (k, d) and ``covariance`` (k, d, d), the latter divided by n."""

    n: Floats
    mean: Floats
    covariance: Floats


def pack(rows: NDArray[np.floating]) -> Floats:
    """The moments of rows ``(n, d)`` as a vector: n, the mean, and the covariance's upper triangle, row by row."""
    rows = rows.astype(np.float64)
    covariance = np.cov(rows, rowvar=False, ddof=0).reshape(rows.shape[1], rows.shape[1])
    return np.concatenate([[len(rows)], rows.mean(axis=0), covariance[np.triu_indices(rows.shape[1])]])


def packed_width(d: int) -> int:
    """The length of what :func:`pack` gives."""
    return 1 + d + d * (d + 1) // 2


def dimensions(width: int) -> int:
    """The number of dimensions d of packed moments.

    Raises:
        ValueError: no d gives vectors of that length.
    """
    d = (int(np.sqrt(8 * width + 1)) - 3) // 2
    if d < 1 or packed_width(d) != width:
        raise ValueError(f"moments of d dimensions have 1 + d + d (d + 1) / 2 columns: {width} is no such number")
    return d


def unpack(packed: Floats) -> Moments:
    """The moments of ``(k, columns)`` packed ones."""
    d = dimensions(packed.shape[1])
    covariance = np.empty((len(packed), d, d))
    row, column = np.triu_indices(d)
    covariance[:, row, column] = covariance[:, column, row] = packed[:, 1 + d :]
    return Moments(packed[:, 0], packed[:, 1 : 1 + d], covariance)


def pooled(moments: Moments, group: NDArray[np.integer], n_groups: int) -> Moments:
    """The moments of all rows of each group, as if they had been computed together.

    Args:
        moments: of the parts.
        group: ``(k,)`` number of each part's group; every group has at least one.
        n_groups: how many groups there are.
    """
    shape = (n_groups, len(group))
    weight = sparse.csr_array((moments.n, (group, np.arange(len(group)))), shape=shape)  # (groups, k)
    n = weight.sum(axis=1)
    share = sparse.diags_array(1 / n) @ weight
    mean = share @ moments.mean
    second = share @ _flat(_second_moment(moments))
    covariance = second.reshape(n_groups, *moments.covariance.shape[1:]) - mean[:, :, None] * mean[:, None, :]
    return Moments(n, mean, covariance)


@dataclass(frozen=True)
class Scale:
    """An affine map of each dimension to mean 0 and variance 1 over all rows.

    Likelihood ratios and divergences do not depend on the scale; on this one they keep full precision, and a single
    ``LEAST_VARIANCE`` suits every dimension.
    """

    centre: Floats
    width: Floats

    @classmethod
    def of(cls, moments: Moments) -> Scale:
        overall = pooled(moments, np.zeros(len(moments.n), int), 1)
        variance = overall.covariance[0].diagonal()
        return cls(overall.mean[0], np.sqrt(np.where(variance > 0, variance, 1)))

    def __call__(self, moments: Moments) -> Moments:
        mean = (moments.mean - self.centre) / self.width
        return Moments(moments.n, mean, moments.covariance / (self.width[:, None] * self.width))


@dataclass(frozen=True, eq=False)
class Gaussians:
    """Gaussians with ``mean`` (g, d) and ``covariance`` (g, d, d).

    Raises:
        ArtistidError: a covariance that is not positive definite.
    """

    mean: Floats
    covariance: Floats

    @classmethod
    def fitted(cls, moments: Moments, shrinkage: float) -> Gaussians:
        """One Gaussian for each of the moments, in units of a :class:`Scale`.

        Args:
            moments: the maximum-likelihood estimates.
            shrinkage: share, from 0 to 1, of the covariance replaced by a multiple of the identity with the same trace
                (Ledoit & Wolf 2004): short songs have fewer rows than a covariance has entries.
        """
        covariance = shrunk_covariance(moments.covariance, shrinkage)
        return cls(moments.mean, covariance + LEAST_VARIANCE * np.eye(moments.mean.shape[1]))

    @property
    def moments(self) -> Moments:
        """Their means and covariances, as moments."""
        return Moments(np.ones(len(self.mean)), self.mean, self.covariance)

    @cached_property
    def _cholesky(self) -> NDArray[np.floating]:
        try:
            return np.linalg.cholesky(self.covariance)
        except np.linalg.LinAlgError:
            lowest = np.linalg.eigvalsh(self.covariance).min(axis=1)
            worst = lowest.argmin()
            raise ArtistidError(
                f"the covariance of Gaussian {worst} is not positive definite (lowest eigenvalue {lowest[worst]:.3g}): "
                "more shrinkage helps"
            ) from None

    @cached_property
    def _precision(self) -> Floats:
        inverse = np.linalg.solve(self._cholesky, np.broadcast_to(np.eye(self.mean.shape[1]), self.covariance.shape))
        return inverse.transpose(0, 2, 1) @ inverse

    @cached_property
    def _log_determinant(self) -> Floats:
        return 2 * np.log(np.diagonal(self._cholesky, axis1=1, axis2=2)).sum(axis=1)

    @property
    def own_log_likelihood(self) -> Floats:
        """``(g,)`` expected log-likelihood of each Gaussian under itself: its negative entropy."""
        d = self.mean.shape[1]
        return -0.5 * (d * (1 + np.log(2 * np.pi)) + self._log_determinant)

    def log_likelihood(self, moments: Moments) -> Floats:
        """``(k, g)`` log-likelihood per row, averaged over each song's rows, under each Gaussian.

        With m and S the mean and covariance of the rows, μ and Σ those of the Gaussian, it is
        −½ (d log 2π + log |Σ| + tr(Σ⁻¹ S) + (m − μ)ᵀ Σ⁻¹ (m − μ)).
        """
        d = self.mean.shape[1]
        pull = (self._precision @ self.mean[:, :, None])[:, :, 0]  # (g, d): Σ⁻¹ μ
        own = (pull * self.mean).sum(axis=1)  # (g,): μᵀ Σ⁻¹ μ
        # All pairs at once: tr(Σ⁻¹ (S + m mᵀ)) is a scalar product of two flattened matrices.
        quadratic = _flat(_second_moment(moments)) @ _flat(self._precision).T - 2 * moments.mean @ pull.T + own
        return -0.5 * (d * np.log(2 * np.pi) + self._log_determinant + quadratic)


def symmetric_divergence(first: Gaussians, second: Gaussians) -> Floats:
    """``(f, s)`` symmetrised Kullback-Leibler divergence KL(p‖q) + KL(q‖p) between all pairs of Gaussians.

    KL(p‖q) is what the rows of p lose in log-likelihood when q explains them instead of p.
    """
    under_second = second.log_likelihood(first.moments)  # (f, s): rows of the first
    under_first = first.log_likelihood(second.moments).T  # (f, s): rows of the second
    return np.maximum(first.own_log_likelihood[:, None] + second.own_log_likelihood - under_second - under_first, 0)


def _second_moment(moments: Moments) -> Floats:
    return moments.covariance + moments.mean[:, :, None] * moments.mean[:, None, :]


def _flat(matrices: Floats) -> Floats:
    return matrices.reshape(len(matrices), -1)
