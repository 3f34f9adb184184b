"""Figures of where strong collapse breaks, and of what computing it costs."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from ncbook.figures.style import COLOURS, INK, group_styles, new_figure, shared_legend


def _settled(values: np.ndarray, q: float) -> np.ndarray:
    """Return the quantile of each row's finite values, NaN where there are none."""
    finite = [row[np.isfinite(row)] for row in values]
    return np.array([np.quantile(row, q) if len(row) else np.nan for row in finite])


def step_rows(factors: Sequence[float], bound: float, left, risk, sharpness) -> pd.DataFrame:
    """Return a row a step: how many runs diverged, and quantiles over those that did not.

    Parameters
    ----------
    factors : sequence of float
        Steps over the largest stable one, ``bound``.
    left, risk : Tensor
        Shape ``(steps, seeds)``: final left error and risk; not finite where a run diverged.
    sharpness : Tensor
        Shape ``(steps, some seeds)``: largest eigenvalue of the Hessian at the end, of which the
        largest over seeds enters.
    """
    columns = {"factor": factors, "step": np.array(factors) * bound}
    left, risk, sharpness = (values.cpu().numpy() for values in (left, risk, sharpness))
    columns["diverged"] = (~np.isfinite(left)).sum(axis=1)
    for name, values in (("left", left), ("risk", risk)):
        for label, q in (("low", 0.1), ("median", 0.5), ("high", 0.9)):
            columns[f"{name}_{label}"] = _settled(values, q)
    return pd.DataFrame({**columns, "sharpness": _settled(sharpness, 1)})


def steps(table: pd.DataFrame, layout: str) -> Figure:
    """Draw final risk, left error and sharpness against the step (``step_rows``)."""
    fig, (ax, edge) = new_figure(layout, 2, ratio=(0.85, 0.75))
    style = group_styles(["left", "risk"])
    names = {"left": "left error", "risk": "risk"}
    for quantity, label in names.items():
        look = style[quantity]
        ax.semilogy(table["factor"], table[f"{quantity}_median"], label=label, **look)
        ax.fill_between(table["factor"], table[f"{quantity}_low"], table[f"{quantity}_high"],
                        color=look["color"], alpha=0.22, linewidth=0)  # fmt: skip
    for axis in (ax, edge):
        axis.axvline(1, color=INK, alpha=0.5, lw=0.8)
        axis.set(xlabel="step / largest stable step", xlim=(0.78, 1.32))
    ax.set_ylabel("at the end of descent")
    ax.legend(loc="center right")
    edge.plot(table["factor"], 2 / table["step"], color=INK, linestyle=":", label="2 / step")
    edge.plot(table["factor"], table["sharpness"], color=COLOURS[2], marker="^", linestyle="none",
              label="at the end of descent")  # fmt: skip
    edge.set_ylabel("largest eigenvalue of the Hessian")
    edge.legend(loc="upper right")
    return fig


def forgetting_rows(steps: Sequence[float], measured, predicted) -> pd.DataFrame:
    """Return a row a step: quantiles over seeds of the left coefficient, and a prediction's median.

    Parameters
    ----------
    steps : sequence of float
        Steps of gradient descent.
    measured, predicted : Tensor
        Shape ``(steps, seeds)``: left error over eps^2.
    """
    low, median, high = np.quantile(measured.cpu().numpy(), (0.1, 0.5, 0.9), axis=1)
    return pd.DataFrame(
        {
            "step": steps,
            "low": low,
            "median": median,
            "high": high,
            "predicted": np.median(predicted.cpu().numpy(), axis=1),
        }
    )


def forgetting(table: pd.DataFrame, layout: str, *, flow: float) -> Figure:
    """Draw the left coefficient against the step (``forgetting_rows``) and the flow's, a line."""
    fig, (ax,) = new_figure(layout, 1, ratio=(0.45, 0.8))
    ax.axhline(flow, color=INK, lw=1, linestyle=":", label="flow, predicted")
    ax.fill_between(table["step"], table["low"], table["high"], color=COLOURS[0], alpha=0.22,
                    linewidth=0)  # fmt: skip
    ax.semilogx(table["step"], table["median"], color=COLOURS[0], marker="o", linestyle="none",
                label="descent")  # fmt: skip
    ax.semilogx(table["step"], table["predicted"], color=COLOURS[1], linestyle="--",
                label="flow without what descent forgets")  # fmt: skip
    ticks = [0.01, 0.02, 0.05, 0.1, 0.2]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set(xlabel="step of descent", ylabel=r"left error / $\varepsilon^2$")
    ax.set_ylim(bottom=0)
    ax.legend(loc="lower left")
    return fig


def dimension_rows(ends: Sequence[tuple], N: int) -> pd.DataFrame:
    """Return a row a (C, p, seed): squared left error over N, risk, and dimensions missing.

    ``ends`` lists (C, p, left errors, risks), the last two of shape ``(seeds,)``.
    """
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "C": C,
                    "p": p,
                    "missing": max(C - 1 - p, 0),
                    "lost": (left.square() / N).cpu(),
                    "risk": risk.cpu(),
                }
            )
            for C, p, left, risk in ends
        ],
        ignore_index=True,
    )


def dimensions(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the lost eigenvalues against the dimension (``dimension_rows``)."""
    fig, (ax,) = new_figure(layout, 1, ratio=(0.42, 0.75))
    style = group_styles(list(table["C"].unique()))
    for C, rows in table.groupby("C", sort=False):
        look = style[C]
        p = np.array(sorted(rows["p"].unique()))
        ax.plot(p, np.maximum(C - 1 - p, 0), color=look["color"], linestyle=look["linestyle"],
                lw=1.2)  # fmt: skip
        ax.plot(rows["p"], rows["lost"], color=look["color"], marker=look["marker"],
                linestyle="none", label=f"$C = {C}$")  # fmt: skip
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="dimension of the features $p$", ylabel=r"(left error)$^2 / N$")
    ax.legend(loc="upper right")
    return fig


PAIRS = {"large, large": (0, 1), "large, small": (0, 2), "small, small": (2, 3)}


def unequal_rows(ends: Sequence[tuple]) -> pd.DataFrame:
    """Return cosines and norms of the rows of W, measured and predicted, a row a seed.

    ``ends`` lists (ratio of sizes, W of shape ``(seeds, 4, p)``, predicted W W^T); classes 0 and 1
    are the large ones, 2 and 3 the small ones.
    """
    frames = []
    for ratio, W, gram in ends:
        measured = (W @ W.mT).cpu().numpy()
        predicted = gram.cpu().numpy()[None]
        for kind, (i, j) in PAIRS.items():
            cosine = [g[:, i, j] / np.sqrt(g[:, i, i] * g[:, j, j]) for g in (measured, predicted)]
            frames.append(("cosine", kind, ratio, *cosine))
        for kind, i in (("large", 0), ("small", 2)):
            norm = [np.sqrt(g[:, i, i]) for g in (measured, predicted)]
            frames.append(("norm", kind, ratio, *norm))
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "quantity": quantity,
                    "kind": kind,
                    "ratio": ratio,
                    "seed": range(len(measured)),
                    "measured": measured,
                    "predicted": float(predicted[0]),
                }
            )
            for quantity, kind, ratio, measured, predicted in frames
        ],
        ignore_index=True,
    )


def unequal(table: pd.DataFrame, layout: str) -> Figure:
    """Draw cosines and norms against the ratio of class sizes (``unequal_rows``)."""
    fig, axes = new_figure(layout, 2, ratio=(0.85, 0.78))
    titles = {"cosine": "cosine of two rows of $W$", "norm": "norm of a row of $W$"}
    for ax, (quantity, title) in zip(axes, titles.items(), strict=True):
        rows = table[table["quantity"] == quantity]
        style = group_styles(list(rows["kind"].unique()))
        for kind, part in rows.groupby("kind", sort=False):
            look = style[kind]
            line = part.groupby("ratio")["predicted"].first()
            ax.plot(line.index, line, color=look["color"], linestyle=look["linestyle"], lw=1.2)
            ax.plot(part["ratio"], part["measured"], color=look["color"], marker=look["marker"],
                    linestyle="none", label=kind)  # fmt: skip
        ax.set_xscale("log", base=2)
        ax.set_xticks(sorted(rows["ratio"].unique()), sorted(rows["ratio"].unique()))
        ax.set(xlabel="large class / small class", ylabel=title)
        ax.legend(loc="best")
    return fig


def order_rows(ends: Sequence[tuple]) -> pd.DataFrame:
    """Return a row a (method, step, number of steps, error)."""
    return pd.DataFrame(ends, columns=["method", "step", "steps", "error"])


def orders(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the error on S against the step with lines of slope 1, 4 and 8 (``order_rows``)."""
    fig, (ax,) = new_figure(layout, 1, ratio=(0.5, 0.85))
    style = group_styles(list(table["method"].unique()))
    for (method, rows), order in zip(table.groupby("method", sort=False), (1, 4, 8), strict=True):
        look = style[method]
        ax.loglog(rows["step"], rows["error"], color=look["color"], marker=look["marker"],
                  linestyle="none", label=f"{method}; slope {order}")  # fmt: skip
        end = rows.iloc[-1]
        ax.loglog(rows["step"], end["error"] * (rows["step"] / end["step"]) ** order,
                  color=look["color"], linestyle=look["linestyle"], lw=1)  # fmt: skip
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set(xlabel="step", ylabel="error of $W$ at $t = 3$")
    ax.legend(loc="lower left")
    return fig


def cost_rows(trials: Sequence[tuple], errors: Sequence, reference) -> pd.DataFrame:
    """Return a row a trial: evaluations and the largest relative errors over seeds.

    Parameters
    ----------
    trials : sequence of (str, str, Trajectory)
        Method, setting, and the run, whose statistics count the evaluations.
    errors : sequence
        For each trial an object with the final errors ``left`` and ``middle``, of shape
        ``(seeds,)``.
    reference : object
        The same for the reference.
    """
    return pd.DataFrame(
        [
            {
                "method": method,
                "setting": setting,
                "evaluations": trial.statistics["evaluations"],
                **{
                    name: float((getattr(final, name) / getattr(reference, name) - 1).abs().max())
                    for name in ("middle", "left")
                },
            }
            for (method, setting, trial), final in zip(trials, errors, strict=True)
        ]
    )


def costs(table: pd.DataFrame, layout: str, *, floor: dict[str, float]) -> Figure:
    """Draw accuracy against evaluations of the gradient (``cost_rows``).

    ``floor`` holds, for ``middle`` and ``left``, how far the reference itself is to be trusted;
    below is a shade.
    """
    fig, axes = new_figure(layout, 2, ratio=(0.9, 0.85), sharex=True)
    style = group_styles(list(table["method"].unique()))
    for ax, name in zip(axes, ("middle", "left"), strict=True):
        for method, rows in table.groupby("method", sort=False):
            ax.loglog(rows["evaluations"], rows[name], label=method, **style[method])
        ax.axhline(1, color=INK, alpha=0.5, lw=0.8)
        bottom = min(floor[name], table[name].min()) / 3
        ax.axhspan(bottom, floor[name], color=INK, alpha=0.12, linewidth=0)
        ax.set_ylim(bottom=bottom)
        ax.set_xticks([250, 500, 1000, 2000, 4000], ["250", "500", "1000", "2000", "4000"])
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.tick_params(labelbottom=True)
        ax.set(xlabel="evaluations of the gradient", ylabel=f"relative error of the {name} error")
    shared_legend(fig, layout, [axes[0]])
    return fig
