"""Paths: the string method finds saddles, keeps its points apart, and moves no end."""

import pytest
import torch

from ncbook.dynamics.paths import heights, peak, profile, straight, string


def tensor(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def risk(z):
    """Two factors: minima wh = 1, saddle at the origin, 1/2 high."""
    return (z.prod(-1) - 1).square() / 2


def field(z):
    return (1 - z.prod(-1, keepdim=True)) * z.flip(-1)


ENDS = tensor([2.0, 0.5], [2.0, 0.5]), tensor([-0.5, -2.0], [0.5, 2.0])


def test_a_straight_path_is_straight():
    path = straight(*ENDS, points=5)
    assert path.shape == (2, 5, 2)
    assert torch.equal(path[:, 0], ENDS[0]) and torch.equal(path[:, -1], ENDS[1])
    torch.testing.assert_close(path[:, 2], (ENDS[0] + ENDS[1]) / 2)


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_the_string_finds_the_saddle_and_the_valley(momentum):
    first = straight(*ENDS, points=21)
    path = string(field, first, 0.05, 400, momentum)
    apart, joined = peak(risk, path, between=50).tolist()
    assert 0.5 <= apart < 0.501 and joined < 1e-3
    before = peak(risk, first).tolist()
    assert before[0] > 0.7 and before[1] > 0.1
    assert torch.equal(path[:, 0], ENDS[0]) and torch.equal(path[:, -1], ENDS[1])
    lengths = path.diff(dim=1).norm(dim=-1)
    assert float((lengths / lengths.mean(-1, keepdim=True) - 1).abs().max()) < 0.1
    assert torch.equal(first, straight(*ENDS, points=21)), "what was given has changed"


def test_a_batch_is_a_loop():
    first = straight(*ENDS, points=9)
    together = string(field, first, 0.05, 50, 0.5)
    for row in range(2):
        alone = string(field, first[row : row + 1], 0.05, 50, 0.5)
        torch.testing.assert_close(alone[0], together[row], rtol=1e-12, atol=1e-12)


def test_a_path_that_diverges_leaves_the_others_alone():
    first = straight(tensor([2.0, 0.5], [1e8, 1e8]), tensor([0.5, 2.0], [-1e8, 2e8]), points=9)
    both = string(field, first, 0.05, 50)
    alone = string(field, first[:1], 0.05, 50)
    torch.testing.assert_close(both[:1], alone)
    assert not bool(both[1].isfinite().all())


def test_ends_that_coincide_stay():
    path = string(field, straight(ENDS[0], ENDS[0], 5), 0.05, 10)
    torch.testing.assert_close(path, ENDS[0][:, None].expand(2, 5, 2))


def test_a_peak_is_read_between_the_points():
    path = straight(tensor([-1.0]), tensor([2.0]), points=2)
    hill = peak(lambda z: 1 - z.squeeze(-1) ** 2, path, between=3)
    assert float(hill) == pytest.approx(1.0)  # at 0, a third of the way
    assert float(peak(lambda z: 1 - z.squeeze(-1) ** 2, path, between=1)) == 0.0
    assert profile(lambda z: z.sum(-1), path, between=3).tolist() == [
        pytest.approx([-1.0, 0.0, 1.0, 2.0])
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(path=torch.zeros(2, 3)), "expected .R, points, P"),
        (dict(path=torch.zeros(1, 2, 3)), "at least one point"),
        (dict(step=0.0), "positive"),
        (dict(steps=0), "at least 1"),
        (dict(momentum=1.0), "momentum"),
    ],
)
def test_bad_input_is_an_error(change, words):
    given = dict(field=field, path=straight(*ENDS, points=5), step=0.1, steps=3, momentum=0.0)
    with pytest.raises(ValueError, match=words):
        string(**given | change)


def test_ends_of_different_shapes_are_an_error():
    with pytest.raises(ValueError, match="a row a pair"):
        straight(torch.zeros(2, 3), torch.zeros(1, 3), 5)
    with pytest.raises(ValueError, match="points"):
        straight(*ENDS, points=1)


class TwoFactors:
    risk, field = staticmethod(risk), staticmethod(field)


def test_heights_fall_with_the_steps_that_are_spent():
    found = heights(TwoFactors, *ENDS, points=21, step=0.05, budget=[0, 50, 400])
    path = straight(*ENDS, points=21)
    torch.testing.assert_close(found[0], peak(risk, path))
    torch.testing.assert_close(found[1], peak(risk, string(field, path, 0.05, 50)))
    assert bool((found[0] > found[1]).all() and (found[1] >= found[2]).all())
    for wrong in ([], [5, 5], [3, 1]):
        with pytest.raises(ValueError, match="increase"):
            heights(TwoFactors, *ENDS, points=21, step=0.05, budget=wrong)
