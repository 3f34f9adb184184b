"""Class statistics: against numpy, in one pass, merged, far from the origin, and awkward input."""

import metrics_reference as ref
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncbook.metrics import ClassAccumulator, class_statistics, nc1_papyan

PROPERTY = settings(max_examples=30)


def assert_same(a, b, rtol=1e-11, scale=1.0):
    assert torch.equal(a.counts, b.counts)
    torch.testing.assert_close(a.means, b.means, rtol=rtol, atol=rtol * scale)
    torch.testing.assert_close(a.squares, b.squares, rtol=rtol, atol=rtol * scale)
    left, right = a.factor.mT @ a.factor, b.factor.mT @ b.factor
    torch.testing.assert_close(left, right, rtol=rtol, atol=rtol * scale * float(right.abs().max()))


@pytest.mark.parametrize("counts", [(5, 5, 5), (1, 2, 30, 4), (1, 1)])
@pytest.mark.parametrize("d", [1, 3, 20])
def test_against_numpy(counts, d):
    h, y = ref.features(0, counts, d)
    s = class_statistics(*ref.tensors(h, y))
    assert s.counts.tolist() == list(counts) and s.num_classes == len(counts)
    assert int(s.samples) == sum(counts)
    means = ref.class_means(h, y, len(counts))
    np.testing.assert_allclose(s.means, means, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(s.global_mean("sample"), h.mean(0), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(s.global_mean(), means.mean(0), rtol=1e-12, atol=1e-14)
    squares = [((part - part.mean(0)) ** 2).sum() for part in ref.classes_of(h, y, len(counts))]
    np.testing.assert_allclose(s.squares, squares, rtol=1e-12, atol=1e-28)
    residual = h - means[y]
    np.testing.assert_allclose(s.factor.mT @ s.factor, residual.T @ residual, atol=1e-12)
    assert s.means.dtype == s.squares.dtype == s.factor.dtype == torch.float64


@PROPERTY
@given(
    seed=st.integers(0, 2**32 - 1),
    counts=st.lists(st.integers(1, 12), min_size=2, max_size=5),
    d=st.integers(1, 9),
    data=st.data(),
)
def test_mini_batches_and_merges_give_the_whole(seed, counts, d, data):
    h, y = ref.tensors(*ref.features(seed, counts, d, offset=3.0))
    n, k = len(y), len(counts)
    whole = class_statistics(h, y, k)
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=8)))
    bounds = list(zip([0, *cuts], [*cuts, n], strict=True))

    one = ClassAccumulator(k)
    for start, stop in bounds:  # some of them empty, most of them without some class
        one.update(h[start:stop], y[start:stop])
    assert_same(one.statistics(), whole)

    parts = [ClassAccumulator(k).update(h[a:b], y[a:b]) for a, b in bounds]
    order = data.draw(st.permutations(range(len(parts))))
    merged = ClassAccumulator(k)
    for i in order:
        merged.merge(parts[i])
    assert_same(merged.statistics(), whole)
    while len(parts) > 1:  # as a tree
        parts = [a.merge(b) for a, b in zip(parts[::2], parts[1::2], strict=False)] + parts[
            len(parts) // 2 * 2 :
        ]
    assert_same(parts[0].statistics(), whole)
    torch.testing.assert_close(
        nc1_papyan(one.statistics()), nc1_papyan(whole), rtol=1e-8, atol=1e-14
    )


def test_a_lost_sample_or_shift_is_seen():
    h, y = ref.tensors(*ref.features(1, (6, 7, 8), 4))
    whole = class_statistics(h, y)
    short = ClassAccumulator(3).update(h[:-1], y[:-1]).statistics()
    with pytest.raises(AssertionError):
        assert_same(short, whole)
    # Adding the parts' scatter without the shift between their means is the classic mistake.
    parts = [class_statistics(h[i::2], y[i::2]) for i in range(2)]
    naive = sum(p.squares for p in parts)
    assert (naive < whole.squares * (1 - 1e-3)).all()


def test_compression_bounds_memory_and_keeps_the_scatter():
    h, y = ref.tensors(*ref.features(2, (700, 900, 1400), 8))
    accumulator = ClassAccumulator(3)
    for part, labels in zip(h.split(37), y.split(37), strict=True):
        accumulator.update(part, labels)
    s = accumulator.statistics()
    assert s.factor.shape[-2] <= 1024 + 37 < len(y)
    assert_same(s, class_statistics(h, y))
    # More may follow after statistics were read.
    s = accumulator.update(h, y).statistics()
    assert_same(s, class_statistics(torch.cat([h, h]), torch.cat([y, y])))
    for _ in range(40):
        accumulator.merge(ClassAccumulator(3).update(h[:200], y[:200]))
    assert accumulator.statistics().factor.shape[-2] <= 1024 + 200


@pytest.mark.parametrize("lead", [(), (3,), (2, 2)])
def test_a_large_batch_goes_in_parts(lead, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(*lead, 90, 4, generator=generator, dtype=torch.float64) + 2
    y = torch.randint(3, (*lead, 90), generator=generator)
    expected = class_statistics(h, y)
    calls = []
    take = ClassAccumulator._take
    monkeypatch.setattr("ncbook.metrics.statistics._CACHED", 1)
    monkeypatch.setattr(ClassAccumulator, "_take", lambda *a: calls.append(1) or take(*a))
    assert_same(class_statistics(h, y), expected)
    assert len(calls) > 7
    lean = class_statistics(h, y, scatter=False)
    torch.testing.assert_close(lean.squares, expected.squares, rtol=1e-12, atol=0)
    strided = class_statistics(h.mT.contiguous().mT, y)
    assert_same(strided, expected)


def test_compression_leaves_a_broken_run_alone():
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(2, 3000, 3, generator=generator, dtype=torch.float64)
    h[0, 10, 1] = torch.nan
    y = torch.arange(3000) % 2
    accumulator = ClassAccumulator(2)
    for i in range(0, 3000, 500):
        accumulator.update(h[:, i : i + 500], y[i : i + 500])
    s = accumulator.statistics()
    assert s.factor.shape[-2] < 3000
    value = nc1_papyan(s)
    assert torch.isnan(value[0])
    torch.testing.assert_close(value[1], nc1_papyan(class_statistics(h[1], y)), rtol=1e-10, atol=0)


def test_later_batches_do_not_change_statistics_read_before():
    h, y = ref.tensors(*ref.features(9, (8, 8), 3))
    accumulator = ClassAccumulator(2).update(h, y)
    s = accumulator.statistics()
    copies = [t.clone() for t in (s.counts, s.means, s.squares, s.factor)]
    accumulator.update(2 * h, y).merge(accumulator)
    for now, before in zip((s.counts, s.means, s.squares, s.factor), copies, strict=True):
        assert torch.equal(now, before)


def test_one_sample_at_a_time():
    h, y = ref.tensors(*ref.features(3, (20, 10, 1), 5, offset=-7.0))
    accumulator = ClassAccumulator(3)
    for i in range(len(y)):
        accumulator.update(h[i : i + 1], y[i : i + 1])
    assert_same(accumulator.statistics(), class_statistics(h, y))


def test_far_from_the_origin_nothing_cancels():
    exact = 1.0 / 3
    h = torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]], dtype=torch.float64) * exact
    y = torch.tensor([0, 0, 0, 1, 1, 1])
    far = h + 2.0**30
    expected = class_statistics(far - 2.0**30, y).squares
    whole = class_statistics(far, y).squares
    accumulator = ClassAccumulator(2)
    for i in (3, 0, 4, 1, 5, 2):
        accumulator.update(far[i : i + 1], y[i : i + 1])
    torch.testing.assert_close(whole, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(accumulator.statistics().squares, expected, rtol=1e-6, atol=0)
    # The textbook's E[h^2] - E[h]^2 has no digit left.
    naive = torch.stack([(part**2).sum() - 3 * part.mean() ** 2 for part in (far[:3], far[3:])])
    assert ((naive - expected).abs() > 0.1 * expected).all()


def test_the_global_mean_takes_a_large_offset_with_it():
    h = torch.tensor([[1.0, 2.0], [-3.0, 0.5], [0.25, -7.0]], dtype=torch.float64) / 7
    far = h + 2.0**30
    exact = far - 2.0**30
    exact = exact - exact.mean(0)
    for weighting in ("class", "sample"):
        centred = class_statistics(far, torch.arange(3)).centred_means(weighting)
        torch.testing.assert_close(centred, exact, rtol=1e-13, atol=1e-14)


def test_long_float32_sums_keep_their_digits():
    generator = torch.Generator().manual_seed(0)
    h = 0.1 + 1e-4 * torch.randn(200_000, 1, generator=generator)
    y = torch.arange(200_000) % 2
    short, long = class_statistics(h, y), class_statistics(h.double(), y)
    torch.testing.assert_close(short.means.double(), long.means, rtol=2e-7, atol=0)
    torch.testing.assert_close(short.squares.double(), long.squares, rtol=1e-4, atol=0)
    plain = torch.zeros(2, 1).index_add_(0, y, h) / 100_000  # a sum as it comes
    assert (plain / long.means - 1).abs().max() > 2e-5


def test_float32_batches_are_summed_in_float64():
    h, y = ref.tensors(*ref.features(4, (400, 300), 6, offset=5.0), dtype=torch.float32)
    accumulator = ClassAccumulator(2)
    for part, labels in zip(h.split(7), y.split(7), strict=True):
        accumulator.update(part, labels)
    s = accumulator.statistics()
    assert s.means.dtype == torch.float64
    assert_same(s, class_statistics(h.double(), y))
    short = ClassAccumulator(2, dtype=torch.float32).update(h, y).statistics()
    assert short.means.dtype == short.squares.dtype == torch.float32
    assert not torch.equal(short.means.double(), s.means)


@pytest.mark.parametrize(
    "given_dtype, expected",
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
    ],
)
def test_dtype_stays_and_half_precision_is_widened(given_dtype, expected):
    h, y = ref.tensors(*ref.features(5, (4, 4), 3), dtype=given_dtype)
    s = class_statistics(h, y)
    assert s.means.dtype == s.squares.dtype == s.factor.dtype == expected
    assert s.counts.dtype == torch.int64


def test_runs_are_independent_and_share_labels_or_not():
    h = torch.randn(2, 3, 24, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shared = torch.arange(24) % 4
    own = torch.stack([shared.roll(i) for i in range(6)]).view(2, 3, 24)
    for labels in (shared, own):
        s = class_statistics(h, labels)
        assert s.means.shape == (2, 3, 4, 5) and s.counts.shape == (2, 3, 4)
        parts = ClassAccumulator(4)
        for i in range(0, 24, 5):
            parts.update(h[..., i : i + 5, :], labels[..., i : i + 5])
        assert_same(parts.statistics(), s)
        for i in range(2):
            for j in range(3):
                alone = class_statistics(h[i, j], labels if labels.dim() == 1 else labels[i, j])
                torch.testing.assert_close(s.means[i, j], alone.means, rtol=1e-13, atol=1e-14)
                torch.testing.assert_close(s.squares[i, j], alone.squares, rtol=1e-13, atol=0)
    one = class_statistics(h[:1, 0], shared)
    assert one.means.shape == (1, 4, 5)


def test_nothing_keeps_a_gradient():
    h, y = ref.tensors(*ref.features(6, (4, 4), 3))
    s = class_statistics(h.requires_grad_(), y)
    assert not (s.means.requires_grad or s.squares.requires_grad or s.factor.requires_grad)


def test_merging_leaves_the_other_alone_and_itself_doubles():
    h, y = ref.tensors(*ref.features(7, (5, 6), 3))
    a, b = ClassAccumulator(2).update(h[:5], y[:5]), ClassAccumulator(2).update(h[5:], y[5:])
    before = class_statistics(h[5:], y[5:], 2)
    a.merge(b)
    assert_same(b.statistics(), before)
    assert_same(a.statistics(), class_statistics(h, y))
    a.merge(a)
    assert_same(a.statistics(), class_statistics(torch.cat([h, h]), torch.cat([y, y])))
    assert_same(ClassAccumulator(2).merge(b).statistics(), before)
    assert_same(b.merge(ClassAccumulator(2)).statistics(), before)


def test_without_scatter():
    h, y = ref.tensors(*ref.features(8, (5, 6), 3))
    s = class_statistics(h, y, scatter=False)
    assert s.factor is None
    assert torch.equal(s.squares, class_statistics(h, y).squares)
    lean = ClassAccumulator(2, scatter=False).update(h[:4], y[:4])
    lean.merge(ClassAccumulator(2).update(h[4:], y[4:]))
    torch.testing.assert_close(lean.statistics().squares, s.squares)


H = torch.zeros(4, 3)
Y = torch.tensor([0, 1, 0, 1])


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: class_statistics([[1.0]], Y), "features is a list"),
        (lambda: class_statistics(H.long(), Y), "floating-point numbers are expected"),
        (lambda: class_statistics(H[0], Y), r"features has shape \(3,\)"),
        (lambda: class_statistics(H, Y.float()), "tensor of integers"),
        (lambda: class_statistics(H, Y > 0), "tensor of integers"),
        (lambda: class_statistics(H, [0, 1, 0, 1]), "type list"),
        (lambda: class_statistics(H, Y[:3]), r"labels has shape \(3,\)"),
        (lambda: class_statistics(H, Y - 1), r"labels lie in -1\.\.0, but 0\.\.K-1"),
        (lambda: class_statistics(H, Y + 1, 2), r"labels lie in 1\.\.2, but 0\.\.1"),
        (lambda: class_statistics(H, Y, 4), "No sample of class 2, 3 was given"),
        (lambda: class_statistics(H, 2 * Y), "No sample of class 1 was given"),
        (lambda: class_statistics(H, 0 * Y), "num_classes is 1"),
        (lambda: class_statistics(H[:0], Y[:0]), "no sample"),
        (lambda: class_statistics(H[:1], Y[:1], 2), "No sample of class 1"),
        (
            lambda: class_statistics(torch.zeros(2, 4, 3), torch.stack([Y, 0 * Y])),
            "class 1 was given in at least one run",
        ),
        (lambda: class_statistics(H[:, :0], Y), "one feature"),
        (lambda: class_statistics(H.expand(0, 4, 3), Y, 2), "at least one run"),
        (lambda: ClassAccumulator(1), "num_classes is 1"),
        (lambda: ClassAccumulator(2.0), "num_classes is 2.0"),
        (lambda: ClassAccumulator(True), "num_classes is True"),
        (lambda: ClassAccumulator(torch.tensor(True)), r"num_classes is tensor\(True\)"),
        (lambda: ClassAccumulator("2"), "num_classes is '2'"),
        (lambda: ClassAccumulator(2, dtype=torch.float16), "dtype is torch.float16"),
        (lambda: ClassAccumulator(2).statistics(), "No mini-batch"),
        (lambda: ClassAccumulator(2).update(H, Y).update(H[:, :2], Y), "same in all mini-batches"),
        (lambda: ClassAccumulator(2).update(H, Y).update(H[None], Y), "same in all mini-batches"),
        (lambda: ClassAccumulator(2).merge(ClassAccumulator(3)), "other has 3 classes"),
        (
            lambda: (
                ClassAccumulator(2)
                .update(H, Y)
                .merge(ClassAccumulator(2).update(torch.zeros(4, 2), Y))
            ),
            "other has class means of shape",
        ),
        (
            lambda: ClassAccumulator(2).merge(ClassAccumulator(2, scatter=False).update(H, Y)),
            "scatter=False",
        ),
        (lambda: class_statistics(H, Y).centred_means("classes"), "weighting is 'classes'"),
    ],
)
def test_errors_are_sentences(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("value", [np.int64(2), np.uint8(2), torch.tensor(2)], ids=repr)
def test_a_count_of_another_library_is_a_count(value):
    found = class_statistics(H, Y, value)
    assert torch.equal(found.means, class_statistics(H, Y, 2).means)
    assert type(ClassAccumulator(value).num_classes) is int


@pytest.mark.parametrize("kind", [f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64)])
def test_integers_of_every_kind_are_labels(kind):
    labels = torch.from_numpy(Y.numpy().astype(kind))
    assert torch.equal(class_statistics(H, labels).counts, class_statistics(H, Y).counts)


@pytest.mark.parametrize("kind", [torch.int64, torch.float32, torch.bool])
def test_one_hot_labels_are_told_the_shape_once_and_a_remedy_that_works(kind):
    one_hot = torch.nn.functional.one_hot(Y).to(kind)
    with pytest.raises(ValueError, match=r"needs \(4,\); take labels.argmax\(-1\)"):
        class_statistics(H, one_hot)
    assert torch.equal(one_hot.to(torch.int8).argmax(-1), Y)
    runs = H.expand(3, 4, 3)
    with pytest.raises(ValueError, match=r"needs \(4,\) or \(3, 4\); take labels.argmax\(-1\)"):
        class_statistics(runs, one_hot.expand(3, 4, 2))
    with pytest.raises(ValueError, match=r"needs \(4,\); give one for each row"):
        class_statistics(H, Y[:3])


def test_labels_in_a_column_are_told_a_remedy_that_works():
    with pytest.raises(ValueError, match=r"needs \(4,\); take labels.squeeze\(-1\)\.$"):
        class_statistics(H, Y.unsqueeze(-1))
    runs = H.expand(3, 4, 3)
    with pytest.raises(ValueError, match=r"take labels.squeeze\(-1\)\.$"):
        class_statistics(runs, Y.expand(3, 4).unsqueeze(-1))


@pytest.mark.parametrize(
    "labels", [["a", "b", "a", "b"], pd.Categorical(["a", "b", "a", "b"]), [0, 1, 0, 1]]
)
def test_labels_that_are_no_tensor_are_told_a_remedy_that_works(labels):
    with pytest.raises(ValueError, match=r"torch.as_tensor\(numpy.unique\(labels, return_inverse"):
        class_statistics(H, labels)
    numbered = torch.as_tensor(np.unique(labels, return_inverse=True)[1])
    assert torch.equal(class_statistics(H, numbered).means, class_statistics(H, Y).means)
