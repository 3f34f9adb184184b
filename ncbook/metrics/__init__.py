"""Neural-collapse measures: tensor in, tensor out.

Class statistics, whole (:func:`class_statistics`) or in one pass (:class:`ClassAccumulator`),
are the argument of the measures in :mod:`~ncbook.metrics.collapse`; those in
:mod:`~ncbook.metrics.frames` act on any set of rows, those in
:mod:`~ncbook.metrics.strong_collapse` on the unconstrained features model.

Leading dimensions are independent runs. Measures keep the dtype of what they are given, return
tensors without gradients and read no value back from the device. (Making statistics does read
back whether the labels are in order, and widens half precision.)

>>> import torch
>>> from ncbook import metrics
>>> features = torch.tensor([[2.0, 0.0], [4.0, 0.0], [0.0, 2.0], [0.0, 4.0]])
>>> statistics = metrics.class_statistics(features, torch.tensor([0, 0, 1, 1]))
>>> metrics.nc1_min_zhu_vidal(statistics)
tensor(0.2222)

Three papers measure the first of the properties, each in its own way:

>>> [round(float(measure(statistics)), 4) for measure in (
...     metrics.nc1_papyan, metrics.nc1_wu_mondelli, metrics.nc1_min_zhu_vidal)]
[0.0556, 0.1818, 0.2222]

In one pass over batches, as of a network's features:

>>> seen = metrics.ClassAccumulator(num_classes=2)
>>> for batch, labels in ((features[:3], [0, 0, 1]), (features[3:], [1])):
...     seen = seen.update(batch, torch.tensor(labels))
>>> metrics.nc1_min_zhu_vidal(seen.statistics())
tensor(0.2222, dtype=torch.float64)
"""

from ncbook.metrics.approximation import rank_error
from ncbook.metrics.collapse import (
    cdnv,
    cdnv_matrix,
    measures,
    nc1_min_zhu_vidal,
    nc1_papyan,
    nc1_wu_mondelli,
    nc2_min_zhu_vidal,
    nc3_min_zhu_vidal,
    nc3_papyan,
    nc4_papyan,
)
from ncbook.metrics.frames import (
    angles,
    class_plane,
    cosines,
    directions,
    equiangularity,
    equinorm,
    max_angle,
    off_diagonal,
    orthogonal_distance,
    simplex_distance,
)
from ncbook.metrics.imbalance import balance_factor, imbalance
from ncbook.metrics.mean_field import wu_mondelli
from ncbook.metrics.procrustes import procrustes_distance
from ncbook.metrics.rays import (
    largest_angle,
    largest_overlap,
    min_zhu_vidal,
    min_zhu_vidal_normalised,
)
from ncbook.metrics.statistics import ClassAccumulator, ClassStatistics, class_statistics
from ncbook.metrics.strong_collapse import StrongCollapse, strong_collapse, subspace_distance

__all__ = [
    "ClassAccumulator",
    "ClassStatistics",
    "StrongCollapse",
    "angles",
    "balance_factor",
    "cdnv",
    "cdnv_matrix",
    "class_plane",
    "class_statistics",
    "cosines",
    "directions",
    "equiangularity",
    "equinorm",
    "imbalance",
    "largest_angle",
    "largest_overlap",
    "max_angle",
    "measures",
    "min_zhu_vidal",
    "min_zhu_vidal_normalised",
    "nc1_min_zhu_vidal",
    "nc1_papyan",
    "nc1_wu_mondelli",
    "nc2_min_zhu_vidal",
    "nc3_min_zhu_vidal",
    "nc3_papyan",
    "nc4_papyan",
    "off_diagonal",
    "orthogonal_distance",
    "procrustes_distance",
    "rank_error",
    "simplex_distance",
    "strong_collapse",
    "subspace_distance",
    "wu_mondelli",
]
