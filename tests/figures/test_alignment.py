"""Figures of alignment and separation: what they draw is what their tables hold."""

import numpy as np
import pandas as pd
import pytest
import torch

from ncbook.figures import alignment, separation
from ncbook.figures.style import LAYOUTS, run_rows, svg

DATA = pd.DataFrame({"class": [0, 0, 1], "x": [1.0, 0.8, -1.0], "y": [0.2, 0.9, 0.1]})


def rows(times=(0.0, 1.0), view="inputs"):
    vectors = torch.tensor([[[1e-6, 0.0, 1e-9], [0.0, 1e-3, 0.0]]] * len(times))
    groups = torch.tensor([[0, 1, 0]] * len(times))
    dead = torch.tensor([[False, False, True]] * len(times))
    return alignment.neuron_rows(times, vectors.double(), groups, dead, (1e-6, 1.0), view)


def test_neurons_are_drawn_in_their_direction_at_the_logarithm_of_their_norm():
    table = rows()
    first = table[table["t"] == 0.0]
    assert first["x"].tolist() == pytest.approx([0.4, 0.0, 0.15])
    assert first["y"].tolist() == pytest.approx([0.0, 0.7, 0.0])
    assert first["dead"].tolist() == [False, False, True]


@pytest.mark.parametrize("angles, sector", [([0, 30, 100], (190, 270)), ([350, 20], (110, 260))])
def test_the_dead_sector_has_no_acute_angle_with_a_sample(angles, sector):
    low, high = alignment.dead_sector(angles)
    assert (low % 360, high % 360) == pytest.approx(sector)
    for degrees in np.linspace(low, high, 7):
        assert (np.cos(np.radians(degrees - np.array(angles))) <= 1e-12).all()
    # Negative control: just outside some sample has one.
    for degrees in (low - 1, high + 1):
        assert (np.cos(np.radians(degrees - np.array(angles))) > 0.01).any()


def test_samples_in_no_half_plane_leave_no_dead_sector():
    assert alignment.dead_sector([0, 120, 240]) is None


@pytest.mark.parametrize("layout", LAYOUTS)
def test_figure_2_shades_the_dead_region_and_marks_the_dead(layout):
    fig = alignment.figure_2(rows(), layout, data=DATA, names=["(a)", "(b)", "(c)"])
    assert [ax.get_title() for ax in fig.axes] == ["(a)", "(b)", "(c)"]
    assert all(len(ax.patches) == 1 for ax in fig.axes)
    crosses = [
        sum(line.get_marker() == "x" and len(line.get_xdata()) for line in ax.lines)
        for ax in fig.axes
    ]
    assert crosses == [0, 1, 1]
    around = pd.concat([DATA, DATA.assign(x=0.0, y=-1.0)])
    fig = alignment.figure_2(rows(), layout, data=around, names=["(a)", "(b)", "(c)"])
    assert not any(ax.patches for ax in fig.axes)
    assert svg(fig, prefix="a", alt="Neurons in the plane", layout=layout)


def test_the_slider_moves_every_neuron_of_every_view():
    table = pd.concat([rows(view="w"), rows(view="v")])
    rays = pd.DataFrame({"class": [0, 1], "x": [1.0, 0.0], "y": [0.0, 1.0]})
    fig = alignment.turning(table, {"w": rays, "v": rays}, ["early", "late"])
    (slider,) = fig.layout.sliders
    assert [step.label for step in slider.steps] == ["early", "late"]
    values, traces = slider.steps[1].args
    assert len(traces) == len(values["x"]) == 6  # two groups and the dead, in two views
    assert [fig.data[i].name for i in traces[:3]] == [
        "neurons of class 0",
        "neurons of class 1",
        "dead",
    ]
    assert list(values["y"][1]) == [0.0, 0.7, None]
    assert list(fig.data[traces[1]].y) == [0.0, 0.7, None]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_lemma_figures_have_a_line_for_each_size_or_class(layout):
    grid = {"eps": [1e-3, 1e-2], "seed": [0, 1]}
    ones = torch.ones(2, 2)
    ratios = pd.concat(
        [run_rows({"norm": 0.1 * ones, "output": 0.2 * ones}, **grid).assign(K=K) for K in (2, 3)]
    )
    late = ratios.assign(first=5.0)
    fig = alignment.window(ratios, layout, violations=late, limits={2: 5.0, 3: 9.0})
    assert [len(ax.lines) for ax in fig.axes] == [3, 3, 5]

    table = run_rows({"scaled": torch.ones(2, 2, 3)}, **grid, t=[0.1, 0.2, 0.3])
    ends = run_rows({"error": ones}, **grid).assign(T=0.2)
    fig = alignment.direction_error(table, layout, at_window=ends, power=1.78)
    assert [len(ax.lines) for ax in fig.axes] == [4, 4]

    angles = run_rows({"worst": 2 * ones, "median": ones}, **grid)
    fig = alignment.angles(angles, layout)
    assert len(fig.axes[0].lines) == 3

    near = pd.DataFrame({"kind": ["a", "b"], "time": [0.0, 1.0], "deviation": [1.0, 2.0]})
    assert len(alignment.rates(near, layout).axes[0].lines) == 4


@pytest.mark.parametrize("layout", LAYOUTS)
def test_basins_and_losses(layout):
    table = pd.DataFrame(
        {
            "sign": ["v > 0", "v > 0", "v < 0"],
            "start": [1.0, 2.0, 3.0],
            "end": [4.0, 5.0, 6.0],
            "dead": [False, True, False],
        }
    )
    fig = alignment.basin(table, layout, marks={"one": 10.0, "two": 20.0})
    alive, dead = fig.axes[0].lines[:2]
    assert list(alive.get_ydata()) == [4.0] and list(dead.get_ydata()) == [5.0]

    losses = pd.DataFrame(
        {"case": ["a", "a", "b", "b"], "t": [0.0, 1.0] * 2, "class 0": 1.0, "class 1": 0.5}
    )
    fig = alignment.without(losses, layout)
    assert [ax.get_title() for ax in fig.axes] == ["a", "b"]
    assert list(fig.axes[1].lines[1].get_ydata()) == [0.5, 0.5]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_separation_figures_draw_their_rates(layout):
    grid = {"eps": [1e-3, 1e-2], "seed": [0, 1]}
    late = run_rows({"time": torch.tensor([[1.0, 2.0], [3.0, torch.nan]])}, **grid).assign(K=3)
    fig = separation.times(late, layout, windows=late)
    (ax,) = fig.axes
    assert list(ax.lines[0].get_ydata()) == [1.5, 3.0]  # a run that was not seen is left out

    counts, ends = torch.tensor([3.0, 6.0]), torch.tensor([[0.2, 0.8], [0.6, 1.0]])
    table = separation.rate_rows(counts, 6, ends, success="covered", K=3, width=[2, 4])
    assert table["share"].tolist() == [0.5, 1.0]
    assert table["width"].tolist() == [2, 4] and table["K"].tolist() == [3, 3]
    assert table["low"].tolist() == pytest.approx([0.2, 0.6])
    assert table["high"].tolist() == pytest.approx([0.8, 1.0])
    curve = table[["success", "K", "width", "share"]]
    fig = separation.success(table, layout, expected=curve)
    assert list(fig.axes[0].lines[0].get_ydata()) == [0.5, 1.0]
    assert len(fig.axes[0].containers) == 1

    named = table.assign(threshold="a", ratio=[1.0, 2.0])
    assert len(separation.thresholds(named, layout).axes) == 1

    runs = pd.DataFrame({"K": [4, 5], "seed": [0, 0], "violation": [9.0, 20.0], "time": [1.0, 2.0]})
    assert len(separation.condition(runs, layout).axes[0].lines) == 3

    race = pd.DataFrame({"separation": [1.0, 3.0], "left": [2.0, 2.5], "separated": [True, False]})
    fig = separation.frozen(race, layout, deeper=table.assign(K="h", R=[10.0, 100.0]))
    done, not_done = fig.axes[0].lines[:2]
    assert list(done.get_ydata()) == [1.0] and list(not_done.get_ydata()) == [3.0]
