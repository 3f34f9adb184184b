r"""Orthogonally separable data to measure: margins, norms and support vectors are knobs.

Data are orthogonally separable with margins :math:`\mu_s, \mu_d > 0` if

.. math::

    \langle x_i, x_j \rangle \ge \mu_s \|x_i\| \|x_j\| \text{ within a class}, \qquad
    \langle x_i, x_j \rangle \le -\mu_d \|x_i\| \|x_j\| \text{ between classes}

(Min, Zhu and Vidal, NeurIPS 2025, Assumption 1). Two bounds, derived here, say what can be asked
for. Take the mean :math:`m_k` of some unit directions of each class and expand
:math:`\|\sum_k m_k\|^2 \ge 0`: as :math:`\langle m_k, m_l \rangle \le -\mu_d`, this is
:math:`K (K-1) \mu_d \le \sum_k \|m_k\|^2`.

- One direction of each class has :math:`\|m_k\| = 1`, so :math:`\mu_d \le 1/(K-1)`. The simplex
  attains it.
- Two directions of each class at cosine :math:`\mu_s` have :math:`\|m_k\|^2 = (1 + \mu_s)/2`, so
  :math:`\mu_d \le (1 + \mu_s) / (2 (K-1))`: classes that spread lose margin between them. Spread
  in private coordinates attains it.

Every class lies around one vertex of the simplex, its axis, at angles of at most :math:`b`. Where
it may spread to decides the cosine between classes, at most

- :math:`\cos(\theta - 2b)` in all directions, with :math:`\cos\theta = -1/(K-1)`;
- :math:`\sin^2 b - \cos^2 b / (K-1)` in the coordinates that the simplex does not use;
- :math:`-\cos^2 b / (K-1)` where each class has some of these for itself.

The first of these that keeps the margins asked for is taken.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ncbook.frames import simplex_etf
from ncbook.runtime import Runtime, generator, tensors, whole

INSIDE = 0.9  # points that are not to be support vectors stay this far inside
ROUNDING = 1e-12  # margins are asked for in decimals and met in binary


@dataclass(frozen=True)
class Labelled:
    """Points with their classes.

    Attributes
    ----------
    X : Tensor
        Shape ``(..., n, D)``.
    y : Tensor
        Shape ``(n,)``, int64, classes 0..K-1.
    """

    X: Tensor
    y: Tensor

    @property
    def K(self) -> int:
        """The number of classes."""
        return int(self.y.max()) + 1

    @property
    def n(self) -> int:
        """The number of points."""
        return len(self.y)

    @property
    def D(self) -> int:
        """The dimension of a point."""
        return self.X.shape[-1]


def orthogonally_separable(
    run: Runtime,
    seeds: Sequence[int],
    K: int,
    D: int,
    per_class: int,
    *,
    mu_s: float | None = None,
    mu_d: float | None = None,
    norms: tuple[float, float] = (1.0, 1.0),
    support: int | None = None,
) -> Labelled:
    """Draw orthogonally separable data, one data set a seed.

    The classes lie around the axes ``simplex_etf(K, D)``, the same for every seed.

    Parameters
    ----------
    run : Runtime
        Sets dtype and device.
    seeds : sequence of int
        One data set each; it does not depend on the other seeds.
    K, D : int
        Classes and dimensions; K >= 2, D >= K - 1.
    per_class : int
        Points of each class.
    mu_s : float, optional
        Least cosine within a class, in (0, 1]. Two points of every class attain it (a class with
        one support vector needs three for that). By default what is left by ``mu_d`` when each
        class spreads equally in all directions.
    mu_d : float, optional
        Cosines between classes are at most -mu_d, in (0, 1/(K-1)]. By default half of what can be
        had: of 1/(K-1), or of what ``mu_s`` leaves in D dimensions.
    norms : (float, float)
        The norms lie between these two; equal numbers give all points that norm.
    support : int, optional
        Support vectors of each class's max margin, which are its first points and have the least
        norm. The axis is then the class's max-margin direction; the support vectors are linearly
        independent and all needed, so that their weights are unique and positive. Without this
        number, direction and support vectors are left to chance.

    Returns
    -------
    Labelled
        X of shape ``(S, K per_class, D)``, y of shape ``(K per_class,)``; points ordered by class.

    Raises
    ------
    ValueError
        A number is out of its range, or there are no such data; the message says why.
    """
    K, D, per_class = whole("K", K), whole("D", D), whole("per_class", per_class)
    support = None if support is None else whole("support", support)
    axes = simplex_etf(K, D)
    low, high = norms
    if per_class < 1 or not len(seeds):
        raise ValueError(
            f"per_class = {per_class} and {len(seeds)} seeds: expected at least one of each."
        )
    if not 0 < low <= high < math.inf:
        raise ValueError(f"norms = {norms}: expected (low, high) with 0 < low <= high.")
    if support is not None and not 1 <= support <= min(per_class, D):
        raise ValueError(
            f"support = {support}: expected from 1 to {min(per_class, D)} support vectors, because "
            f"there are {per_class} points a class, and in D = {D} dimensions no more than {D} are "
            "linearly independent."
        )
    bases, mu_s = _place(axes, mu_s, mu_d, support)
    reach = low / math.cos(math.acos(mu_s) / 2)
    if support == 1 < per_class and not reach < high:
        raise ValueError(
            f"norms = {norms} with one support vector: all other points must reach further along "
            f"the axis than it does, so with mu_s = {mu_s:g} expected high > {reach:g}."
        )
    X = [_draw(generator(seed), axes, bases, per_class, mu_s, norms, support) for seed in seeds]
    y = torch.arange(K).repeat_interleave(per_class)
    return Labelled(run.tensor(torch.stack(X)), y.to(run.device))


def plane_sectors(run: Runtime, q: int, m: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw classes of points in the unit disc, each about a direction of its own.

    The directions are at equal angles; a point's angle is off by a normal number of 0.35 rad, and
    its length is between 0.6 and 1.

    Parameters
    ----------
    run : Runtime
        Sets dtype and device.
    q, m : int
        Classes, and points of each.
    seed : int

    Returns
    -------
    X : Tensor
        ``(q m, 2)``.
    y : Tensor
        Their classes, 0 to q - 1, ``(q m,)``.
    """
    draw = generator(seed)
    y = torch.arange(whole("q", q, 1)).repeat_interleave(whole("m", m, 1))
    angle = 2 * math.pi / q * y
    angle = angle + 0.35 * torch.randn(len(y), generator=draw, dtype=torch.float64)
    length = 0.6 + 0.4 * torch.rand(len(y), generator=draw, dtype=torch.float64)
    X = length[:, None] * torch.stack([angle.cos(), angle.sin()], -1)
    return run.tensor(X), y.to(run.device)


def augment(X: Tensor, constant: float | Tensor) -> Tensor:
    """Append a constant coordinate to every point: a bias in the layer that reads them.

    Min, Zhu and Vidal, Appendix A: with biases, the theory asks that the data be orthogonally
    separable *with* this coordinate, which adds ``constant`` squared to every inner product.

    Parameters
    ----------
    X : Tensor
        Shape ``(..., n, D)``.
    constant : float or Tensor
        The coordinate: a number, or one for each data set, of a shape that broadcasts with the
        leading dimensions of X.

    Returns
    -------
    Tensor
        Shape ``(..., n, D + 1)``.

    Raises
    ------
    ValueError
        The constant is not finite.
    """
    tensors(X=X)
    constant = torch.as_tensor(constant, dtype=X.dtype, device=X.device)
    if not constant.isfinite().all():
        raise ValueError(f"constant = {constant}: expected finite numbers.")
    batch = torch.broadcast_shapes(constant.shape, X.shape[:-2])
    column = constant[..., None, None].expand(*batch, X.shape[-2], 1)
    return torch.cat([X.expand(*batch, *X.shape[-2:]), column], dim=-1)


def _corners(support: int | None) -> int:
    """Return how many points of a class lie at the full angle: its support vectors, at least 2."""
    return max(support or 2, 2)


def _place(
    axes: Tensor, mu_s: float | None, mu_d: float | None, support: int | None
) -> tuple[Tensor, float]:
    """Return an orthonormal basis of where each class spreads, shape ``(K, D, d)``, and mu_s."""
    K, D = axes.shape
    for name, value, most, why in (
        ("mu_s", mu_s, 1.0, "it is a cosine"),
        ("mu_d", mu_d, 1 / (K - 1), f"no {K} directions are more opposed than 1/(K-1)"),
    ):
        if value is not None and not 0 < value <= most:
            raise ValueError(f"{name} = {value:g}: expected 0 < {name} <= {most:g}, because {why}.")
    theta, corners = math.acos(-1 / (K - 1)), _corners(support)
    # A simplex of corners at the angle b from its axis has cosines 1 - sin^2 b / share, the least
    # that its corners can have: no other corners need a wider angle.
    share = (corners - 1) / corners
    if mu_s is None:
        b = max(theta - math.acos(-(mu_d or 1 / (2 * (K - 1)))), 0.0) / 2
        mu_s = 1 - math.sin(b) ** 2 / share if D > 1 else 1.0
    sin2 = (1 - mu_s) * share
    b = math.asin(math.sqrt(sin2))
    if mu_s == 1 and (support or 1) > 1:
        raise ValueError(
            f"support = {support}: with these margins each class is a ray, which has one support "
            "vector. Ask for less of mu_s or mu_d."
        )
    if mu_s < 1 and D == 1:
        raise ValueError(
            f"mu_s = {mu_s:g} in D = 1 dimension: expected mu_s = 1, because on a line each class "
            "is a ray."
        )
    bound = (1 + mu_s) / (2 * (K - 1))
    if mu_d is not None and mu_d > bound * (1 + ROUNDING):
        raise ValueError(
            f"mu_s = {mu_s:g} and mu_d = {mu_d:g}: expected mu_d <= (1 + mu_s)/(2(K-1)) = "
            f"{bound:g}, because where each class has two points at the cosine mu_s, the sum of "
            "their means would have a negative square. Ask for less of mu_d, or for more of mu_s."
        )
    if mu_s == 1:
        return axes.new_zeros(K, D, 0), mu_s
    apart = (1 - sin2) / (K - 1)
    spare, eye = D - (K - 1), torch.eye(D, dtype=axes.dtype)
    shared, own = eye[:, K - 1 :], spare // K
    private = torch.stack([shared[:, k * own : (k + 1) * own] for k in range(K)])
    places = [
        (torch.linalg.qr(axes.unsqueeze(-1), mode="complete").Q[..., 1:], -math.cos(theta - 2 * b)),
        (shared.expand(K, D, spare), apart - sin2),
        (private, apart),
    ]
    places = [(basis, margin) for basis, margin in places if basis.shape[-1] >= corners - 1]
    best = max(margin for _, margin in places)
    least = (best / 2 if mu_d is None else mu_d) * (1 - ROUNDING)
    for basis, margin in places:
        if margin >= least > ROUNDING:
            return basis, mu_s
    given = f"mu_s = {mu_s:g}" + ("" if support is None else f", support = {support}")
    raise ValueError(
        f"{given}, mu_d {'> 0' if mu_d is None else f'= {mu_d:g}'}: classes that spread so far get "
        f"in each other's way. In D = {D} dimensions they are drawn with "
        f"{f'mu_d <= {best:g}' if best > ROUNDING else 'no mu_d > 0'}; from D = "
        f"{K - 1 + K * (corners - 1)} on, with mu_d <= {apart:g}. Ask for less of mu_d, for more "
        "of mu_s, or for more dimensions."
    )


def _draw(
    draw: torch.Generator,
    axes: Tensor,
    bases: Tensor,
    per_class: int,
    mu_s: float,
    norms: tuple[float, float],
    support: int | None,
) -> Tensor:
    """Return the points of one data set, shape ``(n, D)``."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=axes.dtype)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=draw, dtype=axes.dtype)

    low, high = norms
    corners, alone = _corners(support), int(support == 1)
    simplex = simplex_etf(corners, corners - 1)
    points = []
    for axis, basis in zip(axes, bases, strict=True):
        angle, away = axes.new_zeros(per_class), axes.new_zeros(per_class, len(axis))
        if mu_s < 1:
            # Corners moved by less than the simplex's inner radius still have 0 in their midst,
            # which makes the axis their max-margin direction.
            moved = _unit(normal(corners, corners - 1)) * uniform(corners, 1) / (2 * (corners - 1))
            outer = _unit(simplex + moved)
            b = ((1 - mu_s) / (1 - (outer @ outer.T).min())).sqrt().asin()
            outer = outer @ torch.linalg.qr(normal(basis.shape[-1], corners - 1)).Q.T
            others = _unit(normal(per_class, basis.shape[-1]))
            away = torch.cat([others[:alone], outer, others])[:per_class] @ basis.T
            # With a corner at the angle b, another point keeps mu_s up to arccos(mu_s) - b.
            angle = INSIDE * (math.acos(mu_s) - b) * uniform(per_class)
            angle[:alone], angle[alone : alone + corners] = 0.0, b
        nearest = low / angle.cos() if alone else torch.full_like(angle, low)
        norm = nearest + (high - nearest) * (1 - INSIDE * uniform(per_class))
        norm[: support or 0] = low
        points.append(norm[:, None] * (angle.cos()[:, None] * axis + angle.sin()[:, None] * away))
    return torch.cat(points)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
