"""NC1 to NC4 and CDNV: the papers' definitions, closed forms, invariances, awkward input."""

import metrics_reference as ref
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from ncbook import metrics
from ncbook.metrics import ClassStatistics, class_statistics

PROPERTY = settings(max_examples=30)

SIZES = [
    ((5, 5, 5), 7),
    ((1, 9, 3, 14), 6),
    ((4, 4, 4, 4, 4, 4), 3),  # K > D + 1
    ((2, 3), 40),  # D > n
    ((1, 1, 1), 4),
    ((6, 2), 1),
]


def case(counts, d, seed=0, dtype=torch.float64, **options):
    """Return numpy h, y, k, w, b and the statistics."""
    h, y = ref.features(seed, counts, d, **options)
    rng = np.random.default_rng(seed + 1)
    k = len(counts)
    w, b = rng.normal(size=(k, d)), rng.normal(size=k)
    return h, y, k, w, b, class_statistics(*ref.tensors(h, y, dtype=dtype))


def single(statistics):
    """Return the measures of the statistics alone, by name."""
    return {
        "nc1_papyan": metrics.nc1_papyan(statistics),
        "nc1_wu_mondelli": metrics.nc1_wu_mondelli(statistics),
        "nc1_min_zhu_vidal": metrics.nc1_min_zhu_vidal(statistics),
        "cdnv": metrics.cdnv(statistics),
        "nc2_min_zhu_vidal": metrics.nc2_min_zhu_vidal(statistics),
    }


@pytest.mark.parametrize("counts, d", SIZES)
@pytest.mark.parametrize("dtype, rtol", [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_against_the_papers(counts, d, dtype, rtol):
    h, y, k, w, b, s = case(counts, d, dtype=dtype, offset=0.5)
    wt, bt, test = ref.tensors(w, b, h[::2], dtype=dtype)
    close = {"rtol": rtol, "atol": rtol * 1e-2}
    for name, value in single(s).items():
        assert value.dtype == dtype and value.shape == ()
        np.testing.assert_allclose(value, getattr(ref, name)(h, y, k), **close, err_msg=name)
    for weighting in ("class", "sample"):
        np.testing.assert_allclose(
            metrics.nc1_papyan(s, weighting=weighting),
            ref.nc1_papyan(h, y, k, weighting),
            **close,
        )
        np.testing.assert_allclose(
            metrics.nc3_papyan(s, wt, weighting=weighting),
            ref.nc3_papyan(h, y, k, w, weighting),
            **close,
        )
    for printed in (False, True):
        np.testing.assert_allclose(
            metrics.nc3_min_zhu_vidal(s, wt, printed=printed),
            ref.nc3_min_zhu_vidal(h, y, k, w, printed),
            **close,
        )
    np.testing.assert_allclose(
        metrics.nc4_papyan(s, wt, bt, test), ref.nc4_papyan(h, y, k, w, b, h[::2]), rtol=1e-6
    )
    no_bias = ref.nc4_papyan(h, y, k, w, 0 * b, h[::2])
    np.testing.assert_allclose(metrics.nc4_papyan(s, wt, None, test), no_bias, rtol=1e-6)


def test_the_conventions_differ_where_they_should():
    h, y, k, w, _, s = case((2, 12, 5), 6, offset=0.5)
    wt = torch.as_tensor(w)
    values = list(single(s).values())
    assert len({round(float(v), 6) for v in values}) == len(values)
    # With imbalance the weighting matters; without it does not.
    assert abs(metrics.nc1_papyan(s, weighting="sample") / metrics.nc1_papyan(s) - 1) > 0.05
    assert abs(metrics.nc3_papyan(s, wt, weighting="sample") / metrics.nc3_papyan(s, wt) - 1) > 1e-3
    s = case((5, 5, 5), 6)[-1]
    torch.testing.assert_close(metrics.nc1_papyan(s, weighting="sample"), metrics.nc1_papyan(s))
    # Common slips, each far outside the tolerance: no division by K, no centring, no squares.
    h, y, k, w, _, s = case((5, 5, 5), 6, offset=0.5)
    value = float(metrics.nc1_papyan(s))
    assert abs(value * k - ref.nc1_papyan(h, y, k)) > 0.1 * value
    assert abs(metrics.nc3_papyan(s, torch.as_tensor(w)).sqrt() - ref.nc3_papyan(h, y, k, w)) > 0.1
    uncentred = ref.max_angle(ref.class_means(h, y, k))
    assert abs(float(metrics.max_angle(s.centred_means())) - uncentred) > 0.1


@PROPERTY
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 8), st.integers(2, 9))
def test_balanced_wu_mondelli_follows_from_min_zhu_vidal(seed, k, n, d):
    s = case((n,) * k, d, seed)[-1]
    r = metrics.nc1_min_zhu_vidal(s)
    torch.testing.assert_close(metrics.nc1_wu_mondelli(s), r / (1 + r), rtol=1e-11, atol=1e-15)
    if n > 1:
        s = case((n, 5 * n, *[n] * (k - 2)), d, seed)[-1]
        r = metrics.nc1_min_zhu_vidal(s)
        assert abs(metrics.nc1_wu_mondelli(s) - r / (1 + r)) > 1e-9  # not with imbalance


@pytest.mark.parametrize("k, d", [(2, 1), (3, 2), (4, 9), (10, 30)])
def test_isotropic_scatter_about_a_simplex_in_closed_form(k, d):
    # Sigma_W = s^2 I, and Sigma_B = r^2/(K - 1) on the K - 1 directions of the simplex.
    r, s = 1.7, 0.01
    means = r * ref.simplex(k, d) + np.arange(d)
    steps = s * np.sqrt(d) * np.concatenate([np.eye(d), -np.eye(d)])
    h = (means[:, None] + steps).reshape(-1, d)
    statistics = class_statistics(*ref.tensors(h, np.repeat(np.arange(k), 2 * d)))
    expected = {
        "nc1_papyan": s**2 / r**2 * (k - 1) ** 2 / k,
        "nc1_min_zhu_vidal": d * s**2 / r**2,
        "nc1_wu_mondelli": d * s**2 / (d * s**2 + r**2),
        "cdnv": d * s**2 * (k - 1) / (2 * k * r**2),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(metrics, name)(statistics), value, rtol=1e-10)


@pytest.mark.parametrize("k, d", [(2, 1), (2, 5), (3, 2), (4, 4), (10, 64)])
def test_perfect_collapse(k, d):
    means = 3 * ref.simplex(k, d)
    y = np.repeat(np.arange(k), 4)
    s = class_statistics(*ref.tensors(means[y] + 0.5, y))
    w = torch.as_tensor(0.2 * means)
    for name in ("nc1_papyan", "nc1_wu_mondelli", "nc1_min_zhu_vidal", "cdnv"):
        assert 0 <= getattr(metrics, name)(s) < 1e-28, name
    for rows in (s.centred_means(), w):
        for measure in (metrics.equinorm, metrics.equiangularity, metrics.max_angle):
            assert 0 <= measure(rows) < 1e-13
    assert 0 <= metrics.nc3_papyan(s, w) < 1e-26
    test = torch.randn(200, d, generator=torch.Generator().manual_seed(1)).double()
    bias = -0.5 * w.sum(-1)  # the classifier decides by <w, h - 0.5>
    assert metrics.nc4_papyan(s, w, bias, test) == 0
    # Controls: one classifier turned round, one lengthened, one sample moved.
    turned = w.clone()
    turned[0] *= -1
    assert metrics.nc3_papyan(s, turned) > 0.05
    assert metrics.nc4_papyan(s, turned, bias, test) > 0.05
    longer = w.clone()
    longer[0] *= 1.1
    assert metrics.equinorm(longer) > 0.01 and metrics.nc3_papyan(s, longer) > 1e-4
    h = means[y] + 0.5
    h[0] += 1e-3
    moved = class_statistics(*ref.tensors(h, y))
    assert metrics.nc1_papyan(moved) > 1e-9 and metrics.nc1_wu_mondelli(moved) > 1e-9


@pytest.mark.parametrize("k, d", [(3, 3), (4, 11)])
def test_orthogonal_rays_and_projected_duality(k, d):
    # Theorem 1's limit: orthogonal class means, the classifier their projection.
    means = 2.5 * ref.rotation(np.random.default_rng(0), d)[:k]
    w = 0.3 * (np.eye(k) - 1 / k) @ means
    y = np.repeat(np.arange(k), 2)
    s = class_statistics(*ref.tensors(means[y], y))
    (wt,) = ref.tensors(w)
    assert metrics.nc2_min_zhu_vidal(s) < 1e-14
    assert metrics.nc3_min_zhu_vidal(s, wt) < 1e-14
    floor = np.sqrt(k / (k - 1)) - 1
    np.testing.assert_allclose(metrics.nc3_min_zhu_vidal(s, wt, printed=True), floor, rtol=1e-12)
    if k == 3:
        assert abs(floor - 0.2247) < 1e-4
    assert metrics.nc3_min_zhu_vidal(s, torch.as_tensor(means)) > 0.1  # not projected
    # Scales of the classes that differ leave the norm-one target out of reach.
    scaled = class_statistics(*ref.tensors(means[y] * (1 + y[:, None]), y))
    expected = (np.eye(k) - 1 / k) / (1 + np.arange(k))
    expected = np.linalg.norm(
        expected / np.linalg.norm(expected) - (np.eye(k) - 1 / k) / np.sqrt(k - 1)
    )
    np.testing.assert_allclose(metrics.nc3_min_zhu_vidal(scaled, wt), expected, rtol=1e-12)
    # The centred simplex is not orthogonal, nor the orthogonal frame a simplex before centring.
    simplex = class_statistics(*ref.tensors(ref.simplex(k, d)[y], y))
    assert metrics.nc2_min_zhu_vidal(simplex) > 0.3
    assert metrics.max_angle(s.means) > 0.3 and metrics.max_angle(s.centred_means()) < 1e-14


@PROPERTY
@given(
    seed=st.integers(0, 2**32 - 1),
    counts=st.lists(st.integers(1, 9), min_size=2, max_size=5),
    d=st.integers(2, 8),
)
def test_invariances(seed, counts, d):
    h, y, k, w, b, s = case(counts, d, seed, offset=0.2)
    rng = np.random.default_rng(seed)
    wt, bt = ref.tensors(w, b)
    before = metrics.measures(s, wt)
    decided = metrics.nc4_papyan(s, wt, bt, torch.as_tensor(h))

    def after(h, y, w, **options):
        return metrics.measures(class_statistics(*ref.tensors(h, y)), torch.as_tensor(w), **options)

    def same(now, keys=before):
        for key in keys:
            # NC1 of near-degenerate means is ill-conditioned: allow for a condition of 1e3.
            np.testing.assert_allclose(now[key], before[key], rtol=1e-8, atol=1e-11, err_msg=key)

    q = ref.rotation(rng, d)
    same(after(h @ q, y, w @ q))
    now = class_statistics(*ref.tensors(h @ q, y))
    assert metrics.nc4_papyan(now, *ref.tensors(w @ q, b, h @ q)) == decided
    same(after(1e3 * h, y, 1e-2 * w))
    order = rng.permutation(len(y))
    same(after(h[order], y[order], w))
    classes = rng.permutation(k)  # class c becomes class classes[c]
    same(after(h, classes[y], w[np.argsort(classes)]))
    shift = rng.normal(size=d)
    uncentred = {"nc2.min-zhu-vidal", "nc3.min-zhu-vidal"}
    same(after(h + shift, y, w), before.keys() - uncentred)


def test_invariances_that_do_not_hold():
    h, y, _, w, _, s = case((5, 5, 5), 6)
    (wt,) = ref.tensors(w)
    shifted = class_statistics(*ref.tensors(h + 1, y))
    assert abs(metrics.nc2_min_zhu_vidal(shifted) - metrics.nc2_min_zhu_vidal(s)) > 0.05
    assert abs(metrics.nc3_min_zhu_vidal(shifted, wt) - metrics.nc3_min_zhu_vidal(s, wt)) > 1e-3
    # Stretching one axis is no rotation, except to Papyan's NC1 where the means span the space.
    stretch = np.diag([9.0, 1, 1, 1, 1, 1])
    stretched = single(class_statistics(*ref.tensors(h @ stretch, y)))
    for name, value in single(s).items():
        assert abs(stretched[name] / value - 1) > 0.01, name
    h, y, _, _, _, s = case((5, 5, 5, 5), 3)
    m = np.random.default_rng(0).normal(size=(3, 3))
    linear = class_statistics(*ref.tensors(h @ m, y))
    torch.testing.assert_close(metrics.nc1_papyan(linear), metrics.nc1_papyan(s), rtol=1e-9, atol=0)
    # Shuffled labels are no collapse.
    wrong = class_statistics(*ref.tensors(h, np.roll(y, 1)))
    assert metrics.nc1_wu_mondelli(wrong) > 2 * metrics.nc1_wu_mondelli(s)


def test_runs_equal_a_loop():
    gen = torch.Generator().manual_seed(3)
    y = torch.arange(30) % 5
    h = torch.randn(2, 3, 30, 7, generator=gen, dtype=torch.float64)
    h = h + 3 * torch.randn(2, 3, 5, 7, generator=gen, dtype=torch.float64)[..., y, :]
    w = torch.randn(2, 3, 5, 7, generator=gen, dtype=torch.float64)
    b = torch.randn(2, 3, 5, generator=gen, dtype=torch.float64)
    s = class_statistics(h, y)
    table = metrics.measures(s, w)
    nc4 = metrics.nc4_papyan(s, w, b, h)
    pairs = metrics.cdnv_matrix(s)
    assert pairs.shape == (2, 3, 5, 5)
    for i in range(2):
        for j in range(3):
            alone = class_statistics(h[i, j], y)
            for key, value in metrics.measures(alone, w[i, j]).items():
                assert table[key].shape == (2, 3)
                torch.testing.assert_close(table[key][i, j], value, rtol=1e-10, atol=1e-14)
            assert nc4[i, j] == metrics.nc4_papyan(alone, w[i, j], b[i, j], h[i, j])
            torch.testing.assert_close(pairs[i, j], metrics.cdnv_matrix(alone), equal_nan=True)
    # One classifier for all runs broadcasts.
    torch.testing.assert_close(
        metrics.nc3_papyan(s, w[0, 0])[1, 2],
        metrics.nc3_papyan(class_statistics(h[1, 2], y), w[0, 0]),
    )


class _Watch(TorchDispatchMode):
    """Record the size of the largest tensor made, and whether a value was read back."""

    def __init__(self):
        super().__init__()
        self.largest, self.read = 0, False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.read |= "local_scalar_dense" in str(func) or "nonzero" in str(func)
        result = func(*args, **(kwargs or {}))
        for item in result if isinstance(result, tuple | list) else (result,):
            if isinstance(item, torch.Tensor):
                self.largest = max(self.largest, item.numel())
        return result


def test_no_large_matrix_and_no_value_read_back():
    d, k, n = 500, 3, 30
    h, _, _, w, b, s = case((10,) * k, d)
    assert s.factor.shape == (n, d)
    wt, bt, ht = ref.tensors(w, b, h)
    with _Watch() as watch:
        metrics.measures(s, wt)
        metrics.nc4_papyan(s, wt, bt, ht)
    assert not watch.read
    assert watch.largest <= n * d < d * d
    with _Watch() as control:
        float((ht.mT @ ht).sum())
    assert control.read and control.largest == d * d


def test_measures_are_vmapped():
    # vmap refuses whatever depends on values on the host.
    s = case((6, 6, 6), 5)[-1]
    stacked = [torch.stack([t, t]) for t in (s.counts, s.means, s.squares, s.factor)]
    w = torch.ones(3, 5, dtype=torch.float64).cumsum(-1) + torch.eye(3, 5)
    result = torch.vmap(lambda *t: metrics.measures(ClassStatistics(*t), w))(*stacked)
    for key, value in metrics.measures(s, w).items():
        torch.testing.assert_close(result[key][1], value, rtol=1e-10, atol=1e-14)


def test_no_gradient_is_kept():
    h, _, _, w, b, s = case((6, 6), 5)
    w, b, h = (t.requires_grad_() for t in ref.tensors(w, b, h))
    values = [*metrics.measures(s, w).values(), metrics.nc4_papyan(s, w, b, h)]
    assert not any(v.requires_grad for v in values)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_run_that_is_not_finite_is_nan_and_alone(bad):
    h, y, _, w, b, s = case((6, 6, 6), 5)
    h, y, w, b = ref.tensors(h, y, w, b)
    runs = torch.stack([h, h, h])
    runs[1, 4, 2] = bad
    s3 = class_statistics(runs, y)
    table = {**metrics.measures(s3, w.expand(3, 3, 5)), "nc4": metrics.nc4_papyan(s3, w, b, runs)}
    good = {**metrics.measures(s, w), "nc4": metrics.nc4_papyan(s, w, b, h)}
    table = {key: value for key, value in table.items() if not key.endswith(".weights")}
    for key, value in table.items():
        assert torch.isnan(value[1]), key
        for run in (0, 2):
            torch.testing.assert_close(value[run], good[key], rtol=1e-10, atol=1e-14)
    # In one pass too, after as well as before the run went wrong.
    accumulator = metrics.ClassAccumulator(3)
    for i in range(0, 18, 4):
        accumulator.update(runs[:, i : i + 4], y[i : i + 4])
    for key, value in metrics.measures(accumulator.statistics()).items():
        assert torch.isnan(value[1]), key
        torch.testing.assert_close(value[2], good[key], rtol=1e-9, atol=1e-13)
    weights = w.clone()
    weights[0, 0] = bad
    assert torch.isnan(metrics.nc3_papyan(s, weights))
    assert torch.isnan(metrics.nc3_min_zhu_vidal(s, weights))
    assert torch.isnan(metrics.nc4_papyan(s, weights, b, h))


def test_class_means_that_coincide():
    h = torch.tensor([[1.0, 0], [3, 0], [2, 1], [2, -1]], dtype=torch.float64)
    y = torch.tensor([0, 0, 1, 1])
    s = class_statistics(h, y)
    for name in ("nc1_papyan", "nc1_min_zhu_vidal", "cdnv"):
        assert torch.isposinf(getattr(metrics, name)(s)), name
    assert metrics.nc1_wu_mondelli(s) == 1
    for measure in (metrics.equinorm, metrics.equiangularity, metrics.max_angle):
        assert torch.isnan(measure(s.centred_means()))
    still = class_statistics(torch.ones_like(h), y)
    for name, value in single(still).items():
        assert torch.isnan(value) or name == "nc2_min_zhu_vidal", name


def test_one_sample_a_class_has_no_scatter():
    s = case((1, 1, 1), 5)[-1]
    for name in ("nc1_papyan", "nc1_wu_mondelli", "nc1_min_zhu_vidal", "cdnv"):
        assert getattr(metrics, name)(s) == 0


def test_more_classes_than_a_simplex_can_hold():
    # Eight equal angles in the plane: the floor of the best max-angle measure is positive.
    t = np.arange(8) * np.pi / 4
    rows = torch.as_tensor(np.stack([np.cos(t), np.sin(t)], 1))
    np.testing.assert_allclose(
        metrics.max_angle(rows), np.mean(np.abs(np.cos(t[1:]) + 1 / 7)), rtol=1e-12
    )
    s = class_statistics(rows.repeat(2, 1), torch.arange(8).repeat(2))
    assert metrics.nc1_papyan(s) < 1e-28
    assert metrics.nc2_min_zhu_vidal(s) > 0.5


def test_rank_cutoff():
    # Class means on a line, far from the origin: rounding must not count as a direction.
    line = np.array([1.0, 2, -1, 0.5]) / 3
    y = np.repeat(np.arange(4), 6)
    noise = 0.1 * np.random.default_rng(0).normal(size=(24, 4))
    noise -= ref.class_means(noise, y, 4)[y]
    h = np.array([0.0, 1, 3, 7])[y, None] * line + noise
    expected = ref.nc1_papyan(h, y, 4)
    for offset in (0.0, 1e3, 1e6):
        s = class_statistics(*ref.tensors(h + offset * np.array([1.0, -1, 0.3, 2]), y))
        np.testing.assert_allclose(metrics.nc1_papyan(s), expected, rtol=1e-6)
    # Told to keep everything, the rounding blows up: the cutoff matters.
    assert metrics.nc1_papyan(s, rtol=0.0) > 1e3 * expected
    # Not so for means that span all they can: at most K - 1 directions are used.
    s = case((5, 5, 5, 5), 6)[-1]
    torch.testing.assert_close(metrics.nc1_papyan(s, rtol=0.0), metrics.nc1_papyan(s))
    # A small direction that is real counts, until rtol says otherwise.
    means = np.diag([1.0, 1e-4, 0.0])
    y = np.repeat(np.arange(3), 6)
    steps = 1e-3 * np.concatenate([np.eye(3), -np.eye(3)])
    s = class_statistics(*ref.tensors((means[:, None] + steps).reshape(-1, 3), y))
    full, cut = metrics.nc1_papyan(s), metrics.nc1_papyan(s, rtol=1e-3)
    np.testing.assert_allclose(full, ref.nc1_papyan((means[y] + np.tile(steps, (3, 1))), y, 3))
    assert full > 1e6 * cut > 0


def test_a_collapsing_run_keeps_its_digits_in_one_pass():
    # Scatter 1e-7 about means of size 1: squares near 1e-14, below what a difference of second
    # moments could resolve to any digit.
    y = np.repeat(np.arange(3), 50)
    rng = np.random.default_rng(5)
    noise = 1e-7 * rng.normal(size=(150, 6))
    means = ref.simplex(3, 6)
    order = rng.permutation(150)
    h, y = (means[y] + noise)[order], y[order]
    s = class_statistics(*ref.tensors(h, y))
    accumulator = metrics.ClassAccumulator(3)
    for part, labels in zip(*(t.split(8) for t in ref.tensors(h, y)), strict=True):
        accumulator.update(part, labels)
    one = accumulator.statistics()
    np.testing.assert_allclose(metrics.nc1_papyan(one), metrics.nc1_papyan(s), rtol=1e-7)
    np.testing.assert_allclose(metrics.nc1_papyan(s), ref.nc1_papyan(h, y, 3), rtol=1e-7)


def test_nc4_ties_and_mini_batches():
    h = torch.eye(2, dtype=torch.float64).repeat(2, 1)
    s = class_statistics(h, torch.tensor([0, 1, 0, 1]))
    w = torch.eye(2, dtype=torch.float64)
    middle = torch.full((1, 2), 0.5, dtype=torch.float64)
    assert metrics.nc4_papyan(s, w, None, middle) == 0  # both rules take class 0
    assert metrics.nc4_papyan(s, w, torch.tensor([0.0, 0.1], dtype=torch.float64), middle) == 1
    test = torch.randn(10, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    w = torch.tensor([[1.0, 0.2], [-0.3, 1.0]], dtype=torch.float64)
    b = torch.tensor([0.3, 0.0], dtype=torch.float64)
    whole = metrics.nc4_papyan(s, w, b, test)
    parts = [metrics.nc4_papyan(s, w, b, part) * len(part) / 10 for part in test.split(4)]
    assert whole > 0
    torch.testing.assert_close(sum(parts), whole)


def test_tiny_classifiers_do_not_underflow():
    _, _, _, w, _, s = case((5, 5, 5), 4)
    (w,) = ref.tensors(w)
    for measure in (metrics.nc3_papyan, metrics.nc3_min_zhu_vidal):
        torch.testing.assert_close(measure(s, 1e-200 * w), measure(s, w), rtol=1e-12, atol=0)


def test_measures_leaves_out_what_it_lacks():
    h, y, _, w, _, s = case((6, 6, 6), 5)
    (w,) = ref.tensors(w)
    lean = class_statistics(*ref.tensors(h, y), scatter=False)
    full = metrics.measures(s, w)
    assert full.keys() - metrics.measures(lean, w).keys() == {"nc1.papyan"}
    missing = full.keys() - metrics.measures(s).keys()
    assert missing == {
        "nc2.equinorm.weights",
        "nc2.equiangularity.weights",
        "nc2.max-angle.weights",
        "nc3.papyan",
        "nc3.min-zhu-vidal",
    }
    assert full["nc3.papyan"] == metrics.nc3_papyan(s, w)


S = class_statistics(torch.eye(3).repeat(2, 1), torch.arange(3).repeat(2))


@pytest.mark.parametrize(
    "call, words",
    [
        (
            lambda: metrics.nc1_papyan(ClassStatistics(S.counts, S.means, S.squares)),
            "scatter=False",
        ),
        (lambda: metrics.nc1_papyan(S, rtol=1.0), r"rtol is 1.0, but a number in \[0, 1\)"),
        (lambda: metrics.nc1_papyan(S, weighting="n"), "weighting is 'n'"),
        (lambda: metrics.nc3_papyan(S, torch.eye(3)[:2]), r"weights has shape \(2, 3\)"),
        (lambda: metrics.nc3_papyan(S, torch.eye(3).double()), "bring both to one dtype"),
        (lambda: metrics.nc3_min_zhu_vidal(S, torch.eye(3)[0]), r"weights has shape \(3,\)"),
        (
            lambda: metrics.nc4_papyan(S, torch.eye(3), torch.zeros(2), torch.eye(3)),
            r"bias has shape \(2,\)",
        ),
        (
            lambda: metrics.nc4_papyan(S, torch.eye(3), None, torch.eye(2)),
            r"features has shape \(2, 2\)",
        ),
        (
            lambda: metrics.nc4_papyan(S, torch.eye(3), None, torch.eye(3)[:0]),
            "at least one sample",
        ),
        (lambda: metrics.measures(S, torch.eye(4)), r"weights has shape \(4, 4\)"),
    ],
)
def test_errors_are_sentences(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert str(caught.value).endswith(".")


def test_every_public_name_is_documented():
    for name in metrics.__all__:
        assert getattr(metrics, name).__doc__, name


# Scales whose squares leave the range, and one whose own values nearly do.
SCALES = {
    torch.float32: [1e12, 1e19, 1e37, 1e-12, 1e-21, 1e-23, 1e-30],
    torch.float64: [1e100, 1e160, 1e300, 1e-100, 1e-161, 1e-170, 1e-290],
}


@pytest.mark.parametrize("dtype", SCALES)
def test_the_features_scale_cancels_in_every_measure(dtype):
    h, y, _, w, _, _ = case([20, 15, 25, 20], 6, dtype=dtype)
    features, labels, W = (
        torch.as_tensor(h).to(dtype),
        torch.as_tensor(y),
        torch.as_tensor(w).to(dtype),
    )
    right = metrics.measures(class_statistics(features, labels), W)
    right["nc4"] = metrics.nc4_papyan(class_statistics(features, labels), W, None, features)
    close = {"rtol": 1e-4 if dtype == torch.float32 else 1e-12, "atol": 0.0}
    for scale in SCALES[dtype]:
        scaled = features * scale
        whole = class_statistics(scaled, labels)
        parts = metrics.ClassAccumulator(4, dtype=dtype)
        for rows in torch.arange(80).split(13):
            parts.update(scaled[rows], labels[rows])
        for statistics in (whole, parts.statistics()):
            found = metrics.measures(statistics, W)
            found["nc4"] = metrics.nc4_papyan(statistics, W, None, scaled)
            torch.testing.assert_close(found, right, **close)
    # Ordinary features are not touched.
    assert class_statistics(features, labels).scale == 1


def test_runs_and_batches_of_other_scales_do_not_matter():
    h, y, *_ = case([20, 15, 25], 5)
    features, labels = torch.as_tensor(h), torch.as_tensor(y)
    scale = torch.tensor([1.0, 1e200, 1e-200], dtype=torch.float64)[:, None, None]
    alone = metrics.cdnv(class_statistics(features, labels))
    together = metrics.cdnv(class_statistics(scale * features, labels))
    torch.testing.assert_close(together, alone.expand(3), rtol=1e-12, atol=0)
    # What comes later may be far larger; what came before then counts by its number alone.
    one, two, both = (metrics.ClassAccumulator(3) for _ in range(3))
    one.update(0 * features, labels).update(1e-200 * features, labels)
    two.update(1e200 * features, labels)
    both.update(torch.cat([0 * features, 0 * features, features]), labels.repeat(3))
    merged = one.merge(two).statistics()
    torch.testing.assert_close(metrics.cdnv(merged), metrics.cdnv(both.statistics()))
    assert two.statistics().scale > 1e199 and two.statistics().counts.sum() == 60
