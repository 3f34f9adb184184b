"""The figures of the mean-field chapters: what they draw is what their tables hold."""

import numpy as np
import pandas as pd
import pytest

from ncbook.figures import mean_field
from ncbook.figures.style import INK, LAYOUTS, group_styles, run_rows, svg


def grid(function, **axes) -> pd.DataFrame:
    """A table of one value a combination of the axes."""
    table = pd.MultiIndex.from_product(axes.values(), names=list(axes)).to_frame(index=False)
    return table.assign(**{k: [f(*row) for row in table.itertuples(index=False)]
                           for k, f in function.items()})  # fmt: skip


def line(ax, label: str) -> np.ndarray:
    (found,) = [one for one in ax.lines if one.get_label() == label]
    return found.get_xydata()


def drawn(draw, *args, layout: str, **kwargs):
    fig = draw(*args, layout, **kwargs)
    svg(fig, prefix="f", alt="a b c", layout=layout)
    return fig


@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_scalings_shows_losses_and_movement(layout):
    table = grid(
        {"loss": lambda s, N, seed, t: N / (1 + t), "moved": lambda s, N, seed, t: t * N + seed},
        scaling=["fast", "slow"], N=[4, 16], seed=[0, 1, 2], t=[0, 2],
    )  # fmt: skip
    fig = drawn(mean_field.two_scalings, table, layout=layout)
    first, second, last = fig.axes
    assert [ax.get_title() for ax in fig.axes[:2]] == ["fast", "slow"]
    for ax in (first, second):
        assert line(ax, "N = 16") == pytest.approx(np.array([[0, 16], [2, 16 / 3]]))
    assert line(last, "slow") == pytest.approx(np.array([[4, 9], [16, 33]]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_distance_shows_the_times_asked_for_and_the_prediction(layout):
    table = grid(
        {"features": lambda n, N, seed, t: (1 + t) * N**-0.5},
        noise=["no noise", "with noise"], N=[16, 64], seed=[0, 1], t=[0.0, 1.0, 5.0],
    )  # fmt: skip
    fig = drawn(mean_field.distance, table, layout=layout, times=[0.0, 5.0], predicted=2.0)
    for ax in fig.axes:
        assert line(ax, "t = 5") == pytest.approx(np.array([[16, 1.5], [64, 0.75]]))
        expected = line(ax, "predicted at $t=0$, slope -1/2")
        assert expected == pytest.approx(np.array([[16, 0.5], [64, 0.25]]))
        assert "t = 1" not in [one.get_label() for one in ax.lines]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_along_takes_the_root_of_the_width_out(layout):
    table = grid(
        {
            "features": lambda n, N, seed, t: (3 + t) * N**-0.5,
            "turned": lambda n, N, seed, t: 2 * N**-0.5,
            "outputs": lambda n, N, seed, t: N**-0.5 / (1 + t),
        },
        noise=["no noise", "with noise"], N=[16, 64], seed=[0, 1], t=[0.0, 1.0],
    )  # fmt: skip
    fig = drawn(mean_field.along, table, layout=layout)
    rows, kinds = ("features", "features, turned", "outputs"), ("no noise", "with noise")
    titles = [f"{what}, {n}" for what in rows for n in kinds]
    assert [ax.get_title() for ax in fig.axes] == titles
    for N in (16, 64):
        assert line(fig.axes[0], f"N = {N}") == pytest.approx(np.array([[0, 3], [1, 4]]))
        assert line(fig.axes[2], f"N = {N}") == pytest.approx(np.array([[0, 2], [1, 2]]))
        assert line(fig.axes[5], f"N = {N}") == pytest.approx(np.array([[0, 1], [1, 0.5]]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_parts_draws_lines_of_the_limit_and_marks_of_particles(layout):
    table = grid(
        {"value": lambda kind, T, part: T * len(part) + (kind == "particles")},
        kind=["limit", "particles"], temperature=[0.01, 0.1], part=["a", "bb"],
    )  # fmt: skip
    fig = drawn(mean_field.parts, table, layout=layout)
    (ax,) = fig.axes
    assert line(ax, "bb") == pytest.approx(np.array([[0.01, 0.02], [0.1, 0.2]]))
    marks = [one for one in ax.lines if one.get_linestyle() == "None"]
    assert marks[1].get_xydata() == pytest.approx(np.array([[0.01, 1.02], [0.1, 1.2]]))
    assert marks[1].get_color() == group_styles(["a", "bb"])["bb"]["color"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_particles_shows_classes_samples_and_the_law(layout):
    x = np.linspace(-2, 2, 5)
    law = pd.DataFrame({"x": np.repeat(x, 5), "y": np.tile(x, 5)})
    law["value"] = np.exp(-((law["x"] - 1) ** 2) - law["y"] ** 2)
    points = pd.DataFrame({"class": [0, 1, 1], "x": [0.1, 0.2, 0.3], "y": [1.0, 2.0, 3.0]})
    sample = pd.DataFrame({"class": [0], "x": [0.5], "y": [-0.5]})
    parts = [
        rows.assign(panel=panel, kind=kind)
        for panel in ("start", "end")
        for kind, rows in (("particle", points), ("sample", sample))
    ]
    table = pd.concat([*parts, law.assign(panel="end", kind="law")], ignore_index=True)
    fig = drawn(mean_field.particles, table, layout=layout, reach=3.0)
    start, end = fig.axes
    offsets = {c.get_label(): c.get_offsets().tolist() for c in start.collections}
    assert offsets["speaks for class 1"] == [[0.2, 2.0], [0.3, 3.0]]
    assert offsets["samples $x_i$"] == [[0.5, -0.5]]
    # The contours go round the law's top, at (1, 0), not round its mirror image.
    inner = end.collections[-1].get_paths()[-1].vertices
    assert inner.mean(0) == pytest.approx([1, 0], abs=0.2)
    assert len(start.collections) == 3 and len(end.collections) == 4
    assert start.get_xlim() == (-3, 3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_null_space_variance_draws_measured_lines_and_predicted_marks(layout):
    table = grid(
        {"variance": lambda T, t: 1 + T * t, "predicted": lambda T, t: 2 + T * t},
        temperature=[0.0, 0.1], t=[0.0, 1.0, 2.0, 3.0],
    )  # fmt: skip
    fig = drawn(mean_field.null_space_variance, table, layout=layout)
    (ax,) = fig.axes
    assert line(ax, r"$1/\beta=0.1$")[-1] == pytest.approx([3, 1.3])
    marks = [one for one in ax.lines if one.get_linestyle() == "None"]
    assert marks[1].get_xydata() == pytest.approx(np.array([[0, 2], [3, 2.3]]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_matrices_shows_every_number_in_its_place(layout):
    values = np.array([[1.0, -0.004], [0.25, -2.0]])
    table = run_rows({"value": FromNumpy(values)}, row=range(2), column=range(2))
    fig = drawn(
        mean_field.matrices,
        pd.concat([table.assign(matrix="A"), table.assign(matrix="B", value=0.5)]),
        layout=layout,
    )
    first, second = fig.axes
    assert first.images[0].get_array().tolist() == values.tolist()
    texts = {text.get_position(): text.get_text() for text in first.texts}
    assert texts == {(0, 0): "1.00", (1, 0): "0.00", (0, 1): "0.25", (1, 1): "-2.00"}
    # One scale of colours, with zero in its middle.
    assert [ax.images[0].get_clim() for ax in fig.axes] == [(-2, 2)] * 2
    assert first.texts[3].get_color() != first.texts[1].get_color()
    assert second.get_title() == "B"


class FromNumpy:
    """What run_rows asks of a tensor."""

    def __init__(self, values) -> None:
        self.values, self.shape = values, values.shape

    def cpu(self):
        return self

    def numpy(self):
        return self.values


@pytest.mark.parametrize("layout", LAYOUTS)
def test_relaxation_draws_the_law_and_the_noise_once_the_start_is_forgotten(layout):
    noisy = {"no noise": 0.0, "with noise": 1.0}
    table = grid(
        {
            "D": lambda n, N, seed, t: np.exp(-0.1 * t) + 0.1 * noisy[n] * seed,
            "floor": lambda n, N, seed, t: noisy[n] * N**-0.5,
        },
        noise=list(noisy), N=[4, 16], seed=[0, 1, 2], t=[0.0, 10.0, 20.0],
    )  # fmt: skip
    fig = drawn(mean_field.relaxation, table, layout=layout, decay=0.05)
    quiet, loud = fig.axes
    assert line(quiet, "N = 4")[:, 1] == pytest.approx(np.exp([0, -1, -2]))
    assert line(loud, "N = 4")[:, 1] == pytest.approx(np.exp([0, -1, -2]) + 0.1)
    law = line(quiet, r"$e^{-2\lambda t}$")
    assert law[:, 1] == pytest.approx(np.exp(-0.1 * law[:, 0]))
    assert line(loud, "predicted, N = 16").tolist() == [[20.0, 0.25]]
    assert not [one for one in quiet.lines if str(one.get_label()).startswith("predicted")]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_residual_shows_the_range_of_the_runs(layout):
    rows = [
        {"sweep": sweep, "value": v, "residual": r / v, "predicted": 3 / v}
        for sweep in ("N", "beta")
        for v in (10, 100)
        for r in (1, 2, 4)
    ]
    fig = drawn(mean_field.residual, pd.DataFrame(rows), layout=layout,
                panels={"N": "particles", "beta": "inverse"})  # fmt: skip
    for ax, name in zip(fig.axes, ("particles", "inverse"), strict=True):
        assert ax.get_xlabel() == name
        assert line(ax, "predicted").tolist() == [[10, 0.3], [100, 0.03]]
        (bars,) = ax.containers
        assert bars.lines[0].get_xydata() == pytest.approx(np.array([[10, 0.2], [100, 0.02]]))
        (ranges,) = bars.lines[2]
        ends = [segment[:, 1].tolist() for segment in ranges.get_segments()]
        assert np.array(ends) == pytest.approx(np.array([[0.1, 0.4], [0.01, 0.04]]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_unequal_draws_a_line_a_setting(layout):
    table = grid({"residual": lambda s, seed, t: len(s) * 10.0 ** (seed - t)},
                 setting=["a", "bb"], seed=[0, 1, 2], t=[0, 1])  # fmt: skip
    (ax,) = drawn(mean_field.unequal, table, layout=layout).axes
    assert line(ax, "bb") == pytest.approx(np.array([[0, 20], [1, 2]]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_balance_sets_runs_limit_and_particles_apart(layout):
    table = pd.concat(
        [
            pd.DataFrame({"kind": "run", "setting": "noisy", "t": [0, 1], "NB": [1.0, 0.5]}),
            pd.DataFrame({"kind": "limit", "beta": [10.0, 100.0], "NB": [0.3, 0.1]}),
            pd.DataFrame({"kind": "particles", "beta": [10.0], "NB": [0.4]}),
        ]
    )
    left, right = drawn(mean_field.balance, table, layout=layout).axes
    assert line(left, "noisy").tolist() == [[0, 1], [1, 0.5]]
    assert line(right, "stationary law").tolist() == [[10, 0.3], [100, 0.1]]
    assert line(right, "particles").tolist() == [[10, 0.4]]
    assert {one.get_color() for one in right.lines} == {INK, group_styles(range(5))[4]["color"]}
