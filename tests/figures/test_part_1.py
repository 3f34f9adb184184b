"""The figures of Part I: what they draw is what their tables hold."""

import math
import types

import numpy as np
import pandas as pd
import pytest
import torch

from ncbook.figures import collapse, limits, near_origin, on_subspace
from ncbook.figures.style import LAYOUTS, run_rows, svg

EPS = [1.0, 0.1, 0.01]


def runs(columns, iterations=(0, 1, 2, 4)):
    index = pd.MultiIndex.from_product(
        [EPS, range(5), iterations], names=["eps", "seed", "iteration"]
    )
    rng = np.random.default_rng(0)
    return pd.DataFrame({c: rng.uniform(0.1, 1, len(index)) for c in columns}, index=index)


def test_quantile_rows_are_the_quantiles_of_the_runs_that_agree():
    table = runs(["left"]).reset_index()
    rows = collapse.quantile_rows(table, ["eps", "iteration"], ["left"])
    one = rows[(rows["eps"] == 0.1) & (rows["iteration"] == 2)].iloc[0]
    values = table[(table["eps"] == 0.1) & (table["iteration"] == 2)]["left"]
    assert one["median"] == pytest.approx(values.median())
    assert one["low"] == pytest.approx(values.quantile(0.1))
    assert one["high"] == pytest.approx(values.quantile(0.9))
    assert len(rows) == len(EPS) * 4


@pytest.mark.parametrize("layout", LAYOUTS)
def test_figure_1_has_a_curve_for_each_start_in_each_panel(layout):
    rows = collapse.quantile_rows(
        runs(collapse.PANELS).reset_index(), ["eps", "iteration"], collapse.PANELS
    )
    fig = collapse.figure_1(rows, layout)
    assert [len(ax.lines) for ax in fig.axes] == [3, 3, 3]
    drawn = fig.axes[1].lines[2].get_ydata()
    want = rows[(rows["quantity"] == "middle") & (rows["eps"] == 0.01)]["median"]
    assert drawn == pytest.approx(want.to_numpy())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_figure_2_and_the_share_of_the_bias(layout):
    names = ["all", "features", "bias", "features_norm", "distance"]
    rows = collapse.quantile_rows(runs(names).reset_index(), ["eps", "iteration"], names)
    assert [len(ax.lines) for ax in collapse.figure_2(rows, layout).axes] == [3, 3]
    (ax,) = collapse.bias_share(rows, layout, eps=0.1).axes
    want = rows[(rows["quantity"] == "bias") & (rows["eps"] == 0.1)]["median"]
    assert ax.lines[0].get_ydata() == pytest.approx(want.to_numpy())


def test_the_lines_of_final_errors_have_slopes_two_one_one():
    table = runs(collapse.PANELS, [400]).reset_index()
    fig = collapse.final_errors(table, "wide")
    for ax, power in zip(fig.axes, (2, 1, 1), strict=True):
        (x0, x1), (y0, y1) = ax.lines[1].get_data()
        assert math.log(y1 / y0) / math.log(x1 / x0) == pytest.approx(power)


def test_constants_rows_divide_by_the_right_power_of_eps():
    class Errors:
        left, middle, right = (torch.full((2,), x) for x in (4e-6, 3e-3, 2e-3))

    class Predicted:
        left, middle, right = (torch.full((2,), x) for x in (4.0, 3.0, 2.0))

    table = collapse.constants_rows(Predicted, {"flow": Errors}, 1e-3, Predicted)
    assert table["measured"].to_numpy() == pytest.approx(table["predicted"].to_numpy(), rel=1e-5)
    assert len(collapse.constants(table, "narrow").axes) == 3
    wrong = collapse.constants_rows(Predicted, {"flow": Errors}, 1e-2, Predicted)
    assert not np.allclose(wrong["measured"], wrong["predicted"])


def test_constants_rows_set_the_last_run_against_what_it_remembers():
    class Errors:
        left = middle = right = torch.ones(2)

    class Predicted:
        left = middle = right = torch.full((2,), 3.0)

    class Remembered:
        left = torch.full((2,), 5.0)

    table = collapse.constants_rows(Predicted, {"flow": Errors, "descent": Errors}, 1.0, Remembered)
    extra = table[table["run"].str.contains("left out")]
    assert list(extra["predicted"]) == [5, 5] and set(extra["quantity"]) == {"left"}
    assert set(table.drop(extra.index)["predicted"]) == {3}


def test_the_measures_and_where_they_settle():
    table = runs(collapse.MEASURES, [400]).reset_index()
    (ax,) = collapse.measures(table, "wide").axes
    want = table.groupby("eps")["nc3"].median().to_numpy()
    assert ax.lines[list(collapse.MEASURES).index("nc3")].get_ydata() == pytest.approx(want)
    values = torch.tensor([[1.0, 0.9, 0.8], [1.0, 1.1, 1.2]])
    rows = run_rows({"left": values, "middle": values}, seed=range(2), slow=[0.1, 1.0, 10.0])
    axes = collapse.settling(rows, "narrow", settled={"left": 0.7, "middle": 0.9}).axes
    assert axes[0].lines[0].get_ydata() == pytest.approx([1, 1, 1])
    assert [ax.lines[2].get_ydata()[0] for ax in axes] == [0.7, 0.9]


def test_near_the_origin():
    spectrum = near_origin.spectrum_rows([-1.0, 0.0, 1.0], [-1.0, 0.0, 1.1])
    (ax,) = near_origin.spectrum(spectrum, "narrow").axes
    assert ax.lines[1].get_ydata() == pytest.approx([-1.0, 0.0, 1.0])
    t = np.linspace(0, 2, 5)
    table = pd.DataFrame(
        {"seed": 0, "t": t, "growing": np.exp(2 * t), "standing": 1.0, "decaying": np.exp(-2 * t)}
    )
    rows = near_origin.modes_rows(table, 1e-3, N=4)
    assert rows["predicted"].to_numpy() == pytest.approx(rows["median"].to_numpy())
    slower = near_origin.modes_rows(table, 1e-3, N=1)
    assert not np.allclose(slower["predicted"], slower["median"])
    near_origin.modes(rows, "wide", escape=1.0)


def test_closeness_rows_take_each_start_when_it_leaves():
    leaving = {eps: -math.log(eps) / 2 for eps in EPS[1:]}
    table = pd.DataFrame(
        [(eps, 0, t, eps + t) for eps in leaving for t in [*leaving.values(), 40.0]],
        columns=["eps", "seed", "t", "distance"],
    )
    rows = near_origin.closeness_rows(table, N=4).set_index(["when", "eps"])["distance"]
    for eps, t in leaving.items():
        assert rows["leaving", eps] == pytest.approx(eps + t)
        assert rows["end", eps] == pytest.approx(eps + 40)
    for layout in LAYOUTS:
        near_origin.closeness(rows.reset_index(), layout)
    with pytest.raises(ValueError, match=r"No row at t = .* for eps = 0.01, 0.1"):
        near_origin.closeness_rows(table, N=9)


def test_logistic_rows_put_formula_beside_integrator():
    index = pd.MultiIndex.from_product([range(2), [0.0, 1.0, 2.0]], names=["seed", "t"])
    table = pd.DataFrame(
        {"u1": np.arange(6.0), "u2": np.arange(6.0) + 10, "beta": np.arange(6.0) + 20,
         "risk": 0.0}, index=index
    ).reset_index()  # fmt: skip
    u = torch.stack([torch.arange(6.0), torch.arange(6.0) + 10], -1).reshape(2, 3, 2)
    rows = on_subspace.logistic_rows(table, u, (torch.arange(6.0) + 20).reshape(2, 3))
    assert rows["formula"].to_numpy() == pytest.approx(rows["integrated"].to_numpy())
    for layout in LAYOUTS:
        on_subspace.logistic(rows, layout, limit=2.0, C=3)


def test_saddle_and_drift():
    table = pd.DataFrame({"seed": 0, "t": [0.0, 1.0], "risk": [2.0, 1.5]})
    rows = on_subspace.saddle_rows({"a": table, "b": table})
    assert list(rows["start"]) == ["a", "a", "b", "b"]
    on_subspace.saddle(rows, "wide", plateau=1.5)
    values = torch.tensor([[1.0, 1.0], [2.0, 2.0]])
    drift = run_rows({"drift": values}, step=[0.1, 0.2], seed=range(2))
    assert list(drift["drift"]) == [1.0, 1.0, 2.0, 2.0]
    on_subspace.drift(drift, "narrow")


def test_runs_that_diverged_do_not_hide_those_that_did_not():
    nan, inf = torch.nan, torch.inf
    left = torch.tensor([[1.0, 2.0, 3.0], [4.0, nan, inf], [nan, nan, nan]])
    sharpness = torch.tensor([[10.0, 11.0], [9.0, nan], [nan, nan]])
    table = limits.step_rows([0.9, 1.1, 1.3], 0.2, left, left, sharpness)
    assert list(table["diverged"]) == [0, 2, 3]
    assert list(table["left_median"])[:2] == [2, 4] and np.isnan(table["left_median"].iloc[2])
    assert list(table["sharpness"])[:2] == [11, 9] and np.isnan(table["sharpness"].iloc[2])
    fig = limits.steps(table, "narrow")
    assert "nan" not in svg(fig, prefix="steps", alt="steps of descent").lower()


def test_forgetting_rows_are_quantiles_over_seeds():
    measured = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    table = limits.forgetting_rows([0.1, 0.2], measured, measured + 1)
    assert list(table["median"]) == [2, 5] and list(table["predicted"]) == [3, 6]
    assert table["low"].to_numpy() == pytest.approx([1.2, 4.2])
    assert table["high"].to_numpy() == pytest.approx([2.8, 5.8])
    for layout in LAYOUTS:
        limits.forgetting(table, layout, flow=2.0)


def test_dimension_rows_count_what_is_missing():
    left = torch.full((2,), math.sqrt(3 * 2))
    table = limits.dimension_rows([(5, 2, left, left), (5, 5, 0 * left, left)], N=3)
    assert list(table["missing"]) == [2, 2, 0, 0]
    assert table["lost"].to_numpy() == pytest.approx([2, 2, 0, 0], abs=1e-6)
    limits.dimensions(table, "wide")


def test_unequal_rows_measure_cosines_and_norms():
    W = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [1.0, 0.0], [3.0, 0.0]]])
    table = limits.unequal_rows([(2, W, (W @ W.mT)[0])])
    assert table["measured"].to_numpy() == pytest.approx(table["predicted"].to_numpy())
    by = table.set_index(["quantity", "kind"])["measured"]
    assert by["cosine", "large, large"] == 0 and by["cosine", "small, small"] == 1
    assert by["norm", "large"] == 1
    limits.unequal(table, "narrow")


def test_orders_and_costs():
    ends = [(m, h, round(1 / h), h) for m in ("Euler", "RK4", "DOP853") for h in (0.5, 0.25)]
    limits.orders(limits.order_rows(ends), "wide")

    class Errors:
        left, middle = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0])

    class Reference:
        left, middle = torch.tensor([1.0, 1.0]), torch.tensor([1.0, 1.0])

    class Trial:
        statistics = types.MappingProxyType({"evaluations": 100})

    table = limits.cost_rows([("RK4", "step 0.1", Trial)], [Errors], Reference)
    assert table["evaluations"].iloc[0] == 100
    assert table["left"].iloc[0] == 1 and table["middle"].iloc[0] == 0
    floor = {"left": 1e-8, "middle": 1e-10}
    left = limits.costs(table.assign(middle=1e-3), "narrow", floor=floor).axes[1]
    assert left.get_ylim()[0] < 1e-8  # the shade is in sight
