r"""What every measure is made of: counts, means and scatter of the classes, whole or one pass.

Notation: :math:`h_i \in \mathbb R^D` are the features of :math:`n` samples, :math:`y_i` their
classes among :math:`K`; class :math:`k` has :math:`n_k` samples and mean :math:`\mu_k`. Leading
dimensions ``...`` are independent runs.

One code path serves both uses: :func:`class_statistics` feeds the whole matrix to a
:class:`ClassAccumulator` as a single mini-batch.

Rules for awkward input, the same for every measure:

- *Imbalanced classes* are allowed; each measure says how it weights them.
- *An absent class* has no mean: a ``ValueError`` names it.
- *A class with one sample* has scatter 0 about its mean.
- *NaN or infinite features* make every measure of their run NaN and leave other runs untouched.
- *More classes than D + 1* are allowed; no simplex frame then exists, so measures of the
  distance from one have a positive floor.
"""

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ncbook.metrics import _checks

# Entries of features that are taken at once: 2 MB in float64.
_CACHED = 2**18


@dataclass(frozen=True, eq=False)
class ClassStatistics:
    """The statistics of the classes, the argument of the measures in this room.

    Made by :func:`class_statistics` or :meth:`ClassAccumulator.statistics`, which see to it that
    there are at least two classes and that each has a sample.

    Parameters
    ----------
    counts
        (..., K) int64, samples of each class.
    means
        (..., K, D), class means.
    squares
        (..., K), within-class sums of squares, ``sum_i ||h_i - mu_k||^2``.
    factor
        (..., r, D), a square root of the within-class scatter summed over all samples:
        ``factor.mT @ factor = sum_i (h_i - mu_{y_i}) (h_i - mu_{y_i})^T``; or None where it was
        not asked for. Measures use it where a D x D matrix would otherwise be formed.
    scale
        (...), what the features were divided by before all this, a power of 2 for each run; None
        for 1. It is 1 unless squares of the features would leave the dtype's range.
    """

    counts: Tensor
    means: Tensor
    squares: Tensor
    factor: Tensor | None = None
    scale: Tensor | None = None

    @property
    def num_classes(self) -> int:
        """The number of classes, K."""
        return self.means.shape[-2]

    @property
    def samples(self) -> Tensor:
        """The number of samples over all classes, n: (...)."""
        return self.counts.sum(-1)

    @property
    def variances(self) -> Tensor:
        """The mean squared distance of each class from its mean, ``squares / counts``: (..., K)."""
        return self.squares / self.counts

    def class_weights(self, weighting: str = "class") -> Tensor:
        """The weight of each class in averages over classes: 1/K, or n_k/n: (..., K).

        Raises
        ------
        ValueError
            ``weighting`` is neither ``"class"`` nor ``"sample"``.
        """
        if _checks.weighting(weighting) == "class":
            return torch.full_like(self.squares, 1 / self.num_classes)
        return self.counts.to(self.means) / self.samples.unsqueeze(-1)

    def global_mean(self, weighting: str = "class") -> Tensor:
        """The mean of the class means (``"class"``) or of all samples (``"sample"``): (..., D)."""
        return (self.class_weights(weighting).unsqueeze(-1) * self.means).sum(-2)

    def centred_means(self, weighting: str = "class") -> Tensor:
        """The class means less the global mean: (..., K, D)."""
        weights = self.class_weights(weighting).unsqueeze(-1)
        centred = self.means - (weights * self.means).sum(-2, keepdim=True)
        # Again, so that the rounding of a large common offset does not stay in the result.
        return centred - (weights * centred).sum(-2, keepdim=True)


class ClassAccumulator:
    r"""Class statistics in one pass over mini-batches of any sizes.

    Moments are updated as Chan, Golub and LeVeque (1979) do, of which Welford's update is the
    mini-batch of one sample: every change of a mean enters the sums of squares as a square, so
    nothing cancels. With :math:`n_a, m_a` the count and mean of a class so far, :math:`n_b, m_b`
    those of its part of the mini-batch, each sample contributes the row

    .. math:: r_i = h_i - m_b + \sqrt{n_a / (n_a + n_b)}\,(m_b - m_a).

    Since the :math:`h_i - m_b` of a class sum to 0, :math:`\sum_i r_i r_i^T` is exactly what the
    mini-batch adds to the within-class scatter, shift of the mean included. Rows are stored as a
    square root of the scatter and compressed by QR, late: never a product of features, which
    would square the condition number. Memory is bounded, for each run, by ``max(2 D, 1024)`` rows
    or by D rows and the largest mini-batch. A large mini-batch is itself taken in parts that
    stay in the processor's cache.

    The results do not depend on how the samples were cut into mini-batches or on the order of
    merges, up to rounding.

    Parameters
    ----------
    num_classes
        K, at least 2.
    dtype
        The dtype of the statistics. By default float64 whatever the mini-batches are, or float32
        on a device that has no float64 (MPS).
    scatter
        Keep the square root of the scatter. Only :func:`nc1_papyan` needs it; without it memory
        is K rows.

    Raises
    ------
    ValueError
        ``num_classes`` is not an integer of at least 2, or ``dtype`` is not float32 or float64.
    """

    def __init__(
        self, num_classes: int, *, dtype: torch.dtype | None = None, scatter: bool = True
    ) -> None:
        if dtype not in (None, torch.float32, torch.float64):
            raise ValueError(
                f"dtype is {dtype}, but torch.float64 or torch.float32 is expected; sums in "
                f"anything shorter lose the measures' digits."
            )
        self.num_classes = _checks.count("num_classes", num_classes, 2)
        self.scatter = scatter
        self._dtype = dtype
        self._counts: Tensor | None = None
        self._means: Tensor | None = None
        self._squares: Tensor | None = None
        self._blocks: list[Tensor] = []
        self._scale: Tensor | None = None

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor) -> "ClassAccumulator":
        """Take a mini-batch and return the accumulator.

        Parameters
        ----------
        features
            (..., b, D), any b (0 changes nothing); the same leading dimensions and D every time.
        labels
            (b,) or (..., b), integers in 0..K-1; labels (b,) are shared by all runs.

        Raises
        ------
        ValueError
            The shapes do not fit each other or the earlier mini-batches, the features are not
            floating point, or a label is not an integer in 0..K-1.
        """
        _checks.floating("features", features, "(..., n, D)")
        labels = _checked_labels(labels, features, self.num_classes)
        lead, dim = features.shape[:-2], features.shape[-1]
        if dim == 0 or 0 in lead:
            raise ValueError(
                f"features has shape {tuple(features.shape)}, but at least one run and one feature "
                f"are expected; only the number of samples may be 0."
            )
        if self._means is None:
            if self._dtype is None:
                has_float64 = features.device.type != "mps"
                self._dtype = torch.float64 if has_float64 else torch.float32
            like = {"dtype": self._dtype, "device": features.device}
            self._counts = torch.zeros(
                *lead, self.num_classes, dtype=torch.int64, device=features.device
            )
            self._means = torch.zeros(*lead, self.num_classes, dim, **like)
            self._squares = torch.zeros(*lead, self.num_classes, **like)
            self._scale = torch.zeros(lead, **like)
        elif (*lead, dim) != (*self._means.shape[:-2], self._means.shape[-1]):
            raise ValueError(
                f"features has shape {tuple(features.shape)}, but the class means so far have "
                f"shape {tuple(self._means.shape)}; keep the runs and the feature dimension the "
                f"same in all mini-batches."
            )
        if features.shape[-2] == 0:
            return self
        # All runs as one: class k of run r is class r K + k, and the samples follow by runs.
        runs = math.prod(lead)
        offsets = self.num_classes * torch.arange(runs, device=labels.device)
        index = (labels.reshape(runs, -1) + offsets.unsqueeze(-1)).flatten()
        samples = self._scaled(features).flatten(0, -2)
        # A large batch goes in parts that stay in the processor's cache.
        step = max(_CACHED // dim, 4 * runs * self.num_classes)
        block = self._means.new_empty(len(samples) if self.scatter else step, dim)
        for start in range(0, len(samples), step):
            part = slice(start, start + step)
            rows = block[part] if self.scatter else block[: len(samples[part])]
            self._take(samples[part], index[part], rows)
        if self.scatter:
            self._append(block.reshape(*lead, -1, dim))
        return self

    def _scaled(self, features: Tensor) -> Tensor:
        """Return features over the scale; enlarge that first, where theirs is larger."""
        own = _checks.scale(features, self._means.dtype)
        if not bool(((own == 1) & (self._scale <= 1)).all()) or bool((self._scale == 0).any()):
            self._rescale(torch.maximum(own, self._scale))
        if bool((self._scale == 1).all()):
            return features
        return features.to(self._means) / self._scale[..., None, None]

    def _rescale(self, scale: Tensor) -> None:
        """Go over to a scale that is nowhere smaller."""
        ratio = (self._scale / scale).unsqueeze(-1)
        self._means = self._means * ratio.unsqueeze(-1)
        self._squares = self._squares * ratio.square()
        self._blocks = [block * ratio.unsqueeze(-1) for block in self._blocks]
        self._scale = scale

    def _take(self, samples: Tensor, index: Tensor, rows: Tensor) -> None:
        """Update the moments by samples (m, D) of classes ``index`` (m,); write their rows."""
        shape, like = self._means.shape, self._means
        samples, before = samples.to(like), self._means.flatten(0, -2)
        seen = self._counts.flatten()
        added = torch.zeros_like(seen).index_add_(0, index, torch.ones_like(index))
        divisor = added.clamp(min=1).unsqueeze(-1)
        means = torch.zeros_like(before).index_add_(0, index, samples) / divisor
        torch.sub(samples, means.index_select(0, index), out=rows)
        # The rounding of the sum, measured on the small residuals and taken back.
        rounding = torch.zeros_like(before).index_add_(0, index, rows) / divisor
        # What the earlier samples and the new ones are of each class.
        total = (seen + added).clamp(min=1)
        earlier = (seen.to(like) / total).unsqueeze(-1)
        new = (added.to(like) / total).unsqueeze(-1)
        shift = torch.where(new > 0, means + rounding - before, 0)
        rows += (earlier.sqrt() * shift - rounding).index_select(0, index)
        lengths = torch.linalg.vector_norm(rows, dim=-1).square()
        self._counts = (seen + added).reshape(shape[:-1])
        self._means = (before + new * shift).reshape(shape)
        self._squares = self._squares.flatten().index_add(0, index, lengths).reshape(shape[:-1])

    @torch.no_grad()
    def merge(self, other: "ClassAccumulator") -> "ClassAccumulator":
        """Take all that ``other`` has seen, leave ``other`` as it is, and return the accumulator.

        The shift between the two means of a class enters the scatter as one row,
        ``sqrt(n_a n_b / (n_a + n_b)) (m_b - m_a)``.

        Raises
        ------
        ValueError
            The two differ in the number of classes, in runs or in feature dimension, or only
            ``other`` was made without ``scatter``.
        """
        if other.num_classes != self.num_classes:
            raise ValueError(
                f"other has {other.num_classes} classes, but this accumulator has "
                f"{self.num_classes}; make both with the same num_classes."
            )
        if self.scatter and not other.scatter:
            raise ValueError(
                "other was made with scatter=False, but this accumulator keeps the scatter; "
                "make both with the same scatter."
            )
        if other._means is None:
            return self
        if self._means is None:
            self._dtype = self._dtype or other._dtype
            self._counts = other._counts
            self._means = other._means.to(self._dtype)
            self._squares = other._squares.to(self._dtype)
            self._blocks = [b.to(self._dtype) for b in other._blocks] if self.scatter else []
            self._scale = other._scale.to(self._dtype)
            return self
        if other._means.shape != self._means.shape:
            raise ValueError(
                f"other has class means of shape {tuple(other._means.shape)}, but this "
                f"accumulator has {tuple(self._means.shape)}; merge only accumulators of the "
                f"same runs and feature dimension."
            )
        if not torch.equal(self._scale, other._scale.to(self._scale)):
            other, one = copy.copy(other), torch.maximum(self._scale, other._scale.to(self._scale))
            self._rescale(one)
            other._rescale(one.to(other._scale))
        added = other._counts.to(self._counts)
        share = (added.to(self._means) / (self._counts + added).clamp(min=1)).unsqueeze(-1)
        difference = torch.where(share > 0, other._means.to(self._means) - self._means, 0)
        shift = (self._counts.unsqueeze(-1) * share).sqrt() * difference
        self._means = self._means + share * difference
        self._squares = self._squares + other._squares.to(self._squares) + shift.square().sum(-1)
        self._counts = self._counts + added
        for block in (*other._blocks, shift):
            self._append(block.to(self._means))
        return self

    def statistics(self) -> ClassStatistics:
        """Return the statistics of all that was seen so far; more may follow.

        Raises
        ------
        ValueError
            A class has no sample yet.
        """
        if self._counts is None:
            raise ValueError(
                "No mini-batch was given, but every class needs a sample; call update first."
            )
        absent = (self._counts == 0).reshape(-1, self.num_classes).any(0)
        if bool(absent.any()):
            missing = absent.nonzero().flatten().tolist()
            runs = " in at least one run" if self._counts.dim() > 1 else ""
            raise ValueError(
                f"No sample of class {', '.join(map(str, missing))} was given{runs}, but each of "
                f"the {self.num_classes} classes needs one to have a mean; number the classes that "
                f"are present without gaps (torch.unique(labels, return_inverse=True)[1]) and give "
                f"their number as num_classes."
            )
        if len(self._blocks) > 1:
            self._blocks = [torch.cat(self._blocks, -2)]
        factor = self._blocks[0] if self.scatter else None
        return ClassStatistics(self._counts, self._means, self._squares, factor, self._scale)

    def _append(self, rows: Tensor) -> None:
        """Store rows of the square root; compress those stored before if they become too many."""
        if not self.scatter:
            return
        dim, stored = rows.shape[-1], sum(block.shape[-2] for block in self._blocks)
        if stored > dim and stored + rows.shape[-2] > max(2 * dim, 1024):
            self._blocks = [torch.linalg.qr(torch.cat(self._blocks, -2), mode="r").R]
        self._blocks.append(rows)


def class_statistics(
    features: Tensor, labels: Tensor, num_classes: int | None = None, *, scatter: bool = True
) -> ClassStatistics:
    """Return the class statistics of a whole matrix of features.

    Parameters
    ----------
    features
        (..., n, D), rows are samples. The statistics keep its dtype; half precision is widened
        to float32.
    labels
        (n,) or (..., n), integers in 0..K-1; labels (n,) are shared by all runs.
    num_classes
        K; by default the largest label and one.
    scatter
        Keep the square root of the within-class scatter, here n rows; only :func:`nc1_papyan`
        needs it.

    Raises
    ------
    ValueError
        The shapes do not fit, the features are not floating point, a label is not an integer in
        0..K-1, there are fewer than two classes, or a class has no sample.
    """
    _checks.floating("features", features, "(..., n, D)")
    if num_classes is None:
        labels = _checked_labels(labels, features, None)
        if labels.numel() == 0:
            raise ValueError(
                f"features has shape {tuple(features.shape)}, that is no sample, but every class "
                f"needs one; give at least one sample of each class."
            )
        num_classes = int(labels.max()) + 1
    dtype = torch.promote_types(features.dtype, torch.float32)
    accumulator = ClassAccumulator(num_classes, dtype=dtype, scatter=scatter)
    return accumulator.update(features, labels).statistics()


def _checked_labels(labels: Tensor, features: Tensor, num_classes: int | None) -> Tensor:
    """Return the labels as int64 (..., n) on the features' device, or raise ``ValueError``."""
    if not isinstance(labels, Tensor):
        raise ValueError(
            f"labels has type {type(labels).__name__}, but a tensor of integers is expected; "
            f"convert integers with torch.as_tensor(labels), and number other classes with "
            f"torch.as_tensor(numpy.unique(labels, return_inverse=True)[1])."
        )
    shapes = dict.fromkeys((tuple(features.shape[-2:-1]), tuple(features.shape[:-1])))
    if tuple(labels.shape) not in shapes:
        remedy = "give one for each row"
        if tuple(labels.shape[:-1]) in shapes:
            column = labels.shape[-1] == 1
            remedy = "take labels." + ("squeeze(-1)" if column else "argmax(-1) of one-hot labels")
        raise ValueError(
            f"labels has shape {tuple(labels.shape)}, but features {tuple(features.shape)} needs "
            f"{' or '.join(map(str, shapes))}; {remedy}."
        )
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(
            f"labels has type {labels.dtype}, but a tensor of integers is expected; "
            f"convert it with labels.long()."
        )
    labels = labels.to(torch.int64)  # which all integers are at home in, the unsigned too
    if labels.numel():
        low, high = (int(value) for value in labels.aminmax())
        if low < 0 or (num_classes is not None and high >= num_classes):
            top = "K-1" if num_classes is None else num_classes - 1
            raise ValueError(
                f"labels lie in {low}..{high}, but 0..{top} is expected; number the classes from 0 "
                f"or give a larger num_classes."
            )
    return labels.to(features.device).expand(features.shape[:-1])
