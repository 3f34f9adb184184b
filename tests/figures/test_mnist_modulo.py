"""The figures of MNIST modulo 3: what they draw is what their tables hold."""

import itertools

import numpy as np
import pandas as pd

from ncbook.figures import mnist_modulo as figures
from ncbook.figures.style import LAYOUTS, svg

RNG = np.random.default_rng(0)


def course_table(size: str = "small") -> pd.DataFrame:
    rows = [
        {"size": size, "seed": seed, "t": t,
         "nc1": 0.9 / (1 + t) + 0.01 * seed, "loss": 0.5 / (1 + t + seed),
         "gradient": 2 / (1 + t) ** 2, "nb": 0.5 + 0.1 * seed, "unseen": 0.1 / (1 + t)}
        for seed, t in itertools.product((3, 5), (0.0, 1.0, 4.0))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_course_has_a_line_a_run_and_the_floor():
    table = course_table()
    for layout in LAYOUTS:
        fig = figures.course(table, layout)
        assert [ax.get_title() for ax in fig.axes] == [title for _, title, _ in figures.PANELS]
        for ax, (name, _, scale) in zip(fig.axes, figures.PANELS, strict=True):
            assert ax.get_yscale() == scale
            for seed, part in table.groupby("seed"):
                (line,) = [x for x in ax.lines if x.get_label() == f"run {seed}"]
                assert line.get_xdata().tolist() == [0, 1, 4]
                assert line.get_ydata().tolist() == part[name].tolist()
                # Control: it is not the other run's line.
                other = table.loc[table["seed"] != seed, name]
                assert name == "gradient" or line.get_ydata().tolist() != other.tolist()
        dotted = [x.get_ydata().tolist() for x in fig.axes[0].lines if x.get_marker() == "None"]
        assert dotted.count([0.1, 0.05, 0.02]) == 2  # each run's part that W does not see
        assert "part that $W$ does not see" in [t.get_text() for t in fig.legends[0].get_texts()]
        svg(fig, prefix="x", alt="a figure of a test", layout=layout)


def test_sizes_are_drawn_beside_each_other_on_one_scale():
    large = course_table("large").assign(t=lambda rows: 3 * rows["t"])
    large["nc1"] /= 50
    table = pd.concat([course_table(), large])
    for layout in LAYOUTS:
        axes = figures.course(table, layout).axes
        titles = [title for _, title, _ in figures.PANELS]
        assert [ax.get_title() for ax in axes] == [
            f"{title}, {size}" for title in titles for size in ("small", "large")
        ]
        for left, right, (name, _, _) in zip(axes[::2], axes[1::2], figures.PANELS, strict=True):
            assert left.get_ylim() == right.get_ylim()
            assert left.get_ylim()[0] < table[name].min() < table[name].max() < left.get_ylim()[1]
            # Control: the sizes are not exchanged.
            ends = [ax.lines[0].get_xdata()[-1] for ax in (left, right)]
            assert ends == [4, 12]


def test_runs_differ_by_more_than_colour():
    (first, second) = (
        line for line in figures.course(course_table(), "wide").axes[1].lines
    )  # fmt: skip
    assert first.get_linestyle() != second.get_linestyle()
    assert first.get_marker() != second.get_marker()


def test_balances_have_a_mark_a_run_and_the_middle():
    found = {"the paper": [0.8, 0.7, 0.6, 0.9], "ours": [0.5, 0.4]}
    table = pd.concat([pd.DataFrame({"kind": k, "nb": v}) for k, v in found.items()])
    for layout in LAYOUTS:
        (ax,) = figures.balances(table, layout).axes
        assert [text.get_text() for text in ax.get_yticklabels()] == list(found)
        marks, middles = ax.lines[::2], ax.lines[1::2]
        for height, (kind, values) in enumerate(found.items()):
            assert marks[height].get_xdata().tolist() == values, kind
            assert set(marks[height].get_ydata()) == {-height}
            assert middles[height].get_xdata()[0] == np.median(values) != np.mean(values[:1])


def test_schedules_are_drawn_against_time():
    table = pd.DataFrame(
        [
            {"schedule": name, "t": t, "loss": 0.5 / (1 + t * k), "nc1": 1 / (1 + t / k)}
            for k, name in ((1, "the paper's"), (2, "constant"))
            for t in (0.0, 2.0, 5.0)
        ]
    )
    for layout in LAYOUTS:
        fig = figures.same_time(table, layout)
        for ax, name in zip(fig.axes, ("loss", "nc1"), strict=True):
            for schedule, part in table.groupby("schedule"):
                (line,) = [x for x in ax.lines if x.get_label() == schedule]
                assert line.get_xdata().tolist() == [0, 2, 5]
                assert line.get_ydata().tolist() == part[name].tolist()
        ends = [line.get_ydata()[-1] for line in fig.axes[0].lines]
        assert ends[0] != ends[1]  # control


def test_choices_have_a_row_each_with_the_floor_beside_nc1():
    names = ["as it was", "$p = 8$", "sigmoid"]
    table = pd.DataFrame(
        [
            {"choice": name, "seed": seed, **dict(zip(
                ("nc1", "unseen", "predicted", "nb", "error"), RNG.uniform(0.1, 0.9, 5),
                strict=True))}
            for name in names for seed in range(2)
        ]
    )  # fmt: skip
    panels = {"nc1": "NC1", "nb": "NB", "error": "error"}
    for layout in LAYOUTS:
        fig = figures.choices(table, layout, panels=panels)
        assert [ax.get_title() for ax in fig.axes] == list(panels.values())
        assert [text.get_text() for text in fig.axes[0].get_yticklabels()] == names
        drawn = [line.get_xdata().tolist() for line in fig.axes[0].lines]
        assert drawn == [table[name].tolist() for name in ("nc1", "unseen", "predicted")]
        assert fig.axes[0].lines[0].get_ydata().tolist() == [0, 0, -1, -1, -2, -2]
        assert len(fig.axes[1].lines) == 1  # the floor is NC1's alone
        assert fig.axes[2].get_xlim()[1] > table["error"].max()
        assert [t.get_text() for t in fig.legends[0].get_texts()][-1] == "predicted"
        svg(fig, prefix="x", alt="a figure of a test", layout=layout)
