"""What collapse looks like: points of a simplex beside rays on orthogonal axes."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.figure import Figure

from ncbook.figures.emergence import SIZES, SYMBOLS
from ncbook.figures.style import (
    COLOURS,
    GREY,
    INK,
    LINES,
    group_styles,
    median_band,
    new_figure,
    shared_legend,
)

VIEW = (0.79, 0.29, 0.54)  # where the eye stands: no two lines are one
AXIS = 1.1  # the length to which coordinate axes are drawn
ROW = 0.75  # the longest row of the classifier, in units of the longest feature

# --- The picture --------------------------------------------------------------------------------


def on_axes(features, labels, rows) -> tuple[np.ndarray, np.ndarray]:
    """Turn features of R^3 and a classifier so that centred class means meet centred axes.

    The rotation or reflection is the polar factor of the product of both, as in the orthogonal
    Procrustes problem. It makes two pictures comparable and changes no length and no angle.

    Parameters
    ----------
    features : Tensor
        ``(n, 3)``, of three classes.
    labels : Tensor
        ``(n,)``.
    rows : Tensor
        ``(3, 3)``, the classifier's rows.
    """
    features, labels, rows = (values.cpu().numpy() for values in (features, labels, rows))
    means = np.stack([features[labels == k].mean(0) for k in range(3)])
    axes = np.eye(3)
    left, _, right = np.linalg.svd((means - means.mean(0)).T @ (axes - axes.mean(0)))
    return features @ left @ right, rows @ left @ right


def picture_rows(panels: Mapping[str, tuple]) -> pd.DataFrame:
    """Return features and classifiers of three classes in R^3, a row a vector.

    In each panel the longest feature gets the length 1 and the longest row of the classifier
    ``ROW``: only directions and proportions are compared.

    Parameters
    ----------
    panels : mapping
        Title of a panel to (features ``(n, 3)``, labels ``(n,)``, classifier's rows ``(3, 3)``).
    """
    parts = []
    for panel, values in panels.items():
        features, labels, rows = (np.asarray(value) for value in values)
        both = (
            ("feature", labels, features / np.linalg.norm(features, axis=1).max()),
            ("classifier", np.arange(3), ROW * rows / np.linalg.norm(rows, axis=1).max()),
        )
        for kind, classes, vectors in both:
            part = pd.DataFrame(vectors, columns=["x", "y", "z"])
            parts.append(part.assign(panel=panel, kind=kind, **{"class": classes}))
    table = pd.concat(parts, ignore_index=True)
    return table[["panel", "kind", "class", "x", "y", "z"]]


def picture(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the table of :func:`picture_rows` as seen from one place, a panel a picture.

    Features are filled marks with their ray from the origin, classifiers dashed lines with a
    hollow mark at the end; the coordinate axes are grey.
    """
    panels = list(table["panel"].unique())
    fig, axes = new_figure(layout, len(panels), ratio=(1.2, 0.85))
    right, up = _screen()
    (left_end, right_end), (low, high) = _extent(table)
    style = group_styles(sorted(table["class"].unique()))
    for ax, panel in zip(axes, panels, strict=True):
        part = table[table["panel"] == panel]
        for end in AXIS * np.eye(3):
            ax.plot([0, end @ right], [0, end @ up], color=GREY, linewidth=0.9, linestyle="-")
        for k, rows in part.groupby("class"):
            look = style[k]
            points = rows.loc[rows["kind"] == "feature", ["x", "y", "z"]].to_numpy()
            (row,) = rows.loc[rows["kind"] == "classifier", ["x", "y", "z"]].to_numpy()
            far = points[np.linalg.norm(points, axis=1).argmax()]
            ax.plot([0, far @ right], [0, far @ up], color=look["color"], linestyle="-", lw=1)
            ax.plot(points @ right, points @ up, linestyle="none", color=look["color"],
                    marker=look["marker"], markersize=5, alpha=0.8, label=f"class {k}")  # fmt: skip
            ax.plot([0, row @ right], [0, row @ up], color=look["color"], linestyle=LINES[1],
                    marker=look["marker"], markevery=[1], markerfacecolor="none",
                    label=f"classifier {k}")  # fmt: skip
        ax.set(xticks=[], yticks=[], title=panel)
        ax.set(xlim=(left_end - 0.1, right_end + 0.1), ylim=(low - 0.1, high + 0.1))
        ax.set_aspect("equal")
        ax.spines[:].set_visible(False)
    shared_legend(fig, layout, axes[:1], columns=3)
    return fig


def turnable(table: pd.DataFrame) -> go.Figure:
    """Draw the table of :func:`picture_rows` in space: the first panel beside the others.

    Buttons choose which of the other panels is in the right scene. Both scenes can be turned.
    Rows of the classifier are thick lines.
    """
    first, *others = table["panel"].unique()
    fig = go.Figure()
    for scene, panel in (("scene", first), ("scene2", others[0])):
        for trace in _traces(table[table["panel"] == panel]):
            fig.add_trace(
                trace.update(scene=scene, showlegend=scene == "scene" and trace.name != "")
            )
    second = list(range(len(fig.data) // 2, len(fig.data)))
    buttons = []
    for panel in others:
        traces = _traces(table[table["panel"] == panel])
        moved = {axis: [list(trace[axis]) for trace in traces] for axis in "xyz"}
        title = {"annotations[1].text": panel}
        buttons.append({"label": panel, "method": "update", "args": [moved, title, second]})
    # The middle of what is drawn, as the eye sees it, is the middle of the scene.
    extent, points = _extent(table), _points(table)
    middle = sum(np.mean(ends) * way for ends, way in zip(extent, _screen(), strict=True))
    reach = 1.05 * np.abs(points - middle).max()  # what is outside of it is not drawn
    side = 2.34 * reach / max(np.ptp(ends) for ends in extent)
    hidden = {
        f"{name}axis": {"visible": False, "range": [place - reach, place + reach]}
        for name, place in zip("xyz", middle, strict=True)
    }
    # Orthographic, so that this picture and the still one are the same.
    camera = {
        "eye": dict(zip("xyz", 1.9 * np.array(VIEW), strict=True)),
        "projection": {"type": "orthographic"},
    }
    cube = {"aspectmode": "manual", "aspectratio": dict.fromkeys("xyz", side)}
    scene = {**hidden, **cube, "camera": camera, "uirevision": "constant", "dragmode": "orbit"}
    title = {"yref": "paper", "xref": "paper", "y": 1.0, "yanchor": "bottom", "showarrow": False,
             "xanchor": "center", "font": {"size": 13}}  # fmt: skip
    fig.update_layout(
        scene={**scene, "domain": {"x": [0, 0.495], "y": [0, 1]}},
        scene2={**scene, "domain": {"x": [0.505, 1], "y": [0, 1]}},
        annotations=[
            {**title, "x": 0.25, "text": first},
            {**title, "x": 0.75, "text": others[0]},
        ],
        updatemenus=[
            {
                "type": "buttons",
                "direction": "right",
                "buttons": buttons,
                "x": 1,
                "xanchor": "right",
                "y": -0.02,
                "yanchor": "top",
                "showactive": True,
                "bordercolor": GREY,
                "font": {"color": GREY, "size": 12},
                "pad": {"t": 4, "r": 0},
            }
        ],
        legend={
            "orientation": "h",
            "x": 0.5,
            "xanchor": "center",
            "y": 1.1,
            "itemsizing": "constant",
        },
        margin={"l": 4, "r": 4, "t": 70, "b": 46},
        height=420,
    )
    return fig


def _traces(part: pd.DataFrame) -> list[go.Scatter3d]:
    """Return the axes, and for each class its ray, its features and its row of the classifier."""
    x, y, z = (
        [value for k in range(3) for value in (0.0, AXIS * (k == axis), None)] for axis in range(3)
    )
    traces = [_line(x, y, z, GREY, 2)]
    for k, rows in part.groupby("class"):
        points = rows.loc[rows["kind"] == "feature", ["x", "y", "z"]].to_numpy().round(4)
        (row,) = rows.loc[rows["kind"] == "classifier", ["x", "y", "z"]].to_numpy().round(4)
        far = points[np.linalg.norm(points, axis=1).argmax()]
        traces.append(_line(*np.stack([np.zeros(3), far], 1).tolist(), COLOURS[k], 3))
        look = {"color": COLOURS[k], "symbol": SYMBOLS[k]}
        x, y, z = points.T.tolist()
        traces.append(
            go.Scatter3d(
                x=x,
                y=y,
                z=z,
                mode="markers",
                name=f"class {k}",
                legendgroup=str(k),
                marker={**look, "size": 5 * SIZES[k], "opacity": 0.85},
                hovertemplate="%{x:.2f}, %{y:.2f}, %{z:.2f}<extra>%{fullData.name}</extra>",
            )
        )
        x, y, z = np.stack([np.zeros(3), row], 1).tolist()
        traces.append(
            go.Scatter3d(
                x=x,
                y=y,
                z=z,
                mode="lines",
                name=f"classifier {k}",
                legendgroup=str(k),
                line={"color": COLOURS[k], "width": 9},
                hovertemplate="%{x:.2f}, %{y:.2f}, %{z:.2f}<extra>%{fullData.name}</extra>",
            )
        )
    return traces


def _line(x, y, z, colour: str, width: float) -> go.Scatter3d:
    return go.Scatter3d(
        x=x, y=y, z=z, mode="lines", line={"color": colour, "width": width}, hoverinfo="skip",
        showlegend=False, name="",
    )  # fmt: skip


def _screen() -> tuple[np.ndarray, np.ndarray]:
    """Return the directions of space that point right and up for an eye at ``VIEW``."""
    eye = np.array(VIEW) / np.linalg.norm(VIEW)
    right = np.cross([0, 0, 1], eye)
    right = right / np.linalg.norm(right)
    return right, np.cross(eye, right)


def _points(table: pd.DataFrame) -> np.ndarray:
    """Return all ends of what is drawn, the axes' included, ``(m, 3)``."""
    return np.concatenate([AXIS * np.eye(3), np.zeros((1, 3)), table[["x", "y", "z"]].to_numpy()])


def _extent(table: pd.DataFrame) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the least and the greatest place on the screen, to the right and up."""
    places = _points(table) @ np.stack(_screen(), 1)
    return tuple(zip(places.min(0).tolist(), places.max(0).tolist(), strict=True))


# --- What the claims measure --------------------------------------------------------------------


def directions(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the largest angle within a class along training and against the size of the start.

    Parameters
    ----------
    table : DataFrame
        One row a start's size, seed and level: ``eps``, ``seed``, ``R``, ``angle``.
    layout : "wide" or "narrow"
    """
    fig, (left, right) = new_figure(layout, 2)
    shown = table[table["R"] >= 1]
    median_band(left, shown, "R", "angle", "eps", band=(0, 1), label=r"$\varepsilon$ = {:.0e}")
    ends = np.array([shown["R"].max() / 10, shown["R"].max()])
    last = shown[shown["R"] == ends[1]]
    least = last[last["eps"] == last["eps"].min()]["angle"].min()
    left.plot(ends, 0.4 * least * (ends / ends[1]) ** -0.5, color=INK, linestyle=":", lw=1.2,
              label="slope -1/2")  # fmt: skip
    left.set(xscale="log", yscale="log", xlabel=r"$R=\log(1/L)$", ylabel="largest angle",
             title="Within a class, along training")  # fmt: skip
    for index, R in enumerate((1.0, 100.0, ends[1])):
        part = table[np.isclose(table["R"], R)].groupby("eps")["angle"].median()
        look = {"color": COLOURS[3 + index], "marker": "osD"[index], "linestyle": LINES[index]}
        right.plot(part.index, part.to_numpy(), label=f"R = {R:g}", **look)
    sizes = np.sort(table["eps"].unique())[[0, -1]]
    right.plot(sizes, 0.4 * least * sizes / sizes[0], color=INK, linestyle=":", lw=1.2,
               label="slope 1")  # fmt: skip
    right.set(xscale="log", yscale="log", xlabel=r"size $\varepsilon$ of the start",
              title="Against the start, medians")  # fmt: skip
    left.legend(loc="lower left")
    right.legend(loc="upper left")
    return fig


def lengths(table: pd.DataFrame, layout: str) -> Figure:
    """Draw features' lengths against the prediction, both over their class's mean.

    Parameters
    ----------
    table : DataFrame
        One row a level and sample: ``R``, ``class``, ``predicted``, ``length``.
    layout : "wide" or "narrow"
    """
    levels = list(table["R"].unique())
    # Higher than wide enough, the squares would shrink after their margins are made: no room for
    # the labels below.
    fig, axes = new_figure(layout, len(levels), sharex=layout == "wide", sharey=layout == "wide",
                           ratio=(1.1, 0.9))  # fmt: skip
    values = table[["predicted", "length"]].to_numpy()
    ends = np.array([values.min() - 0.05, values.max() + 0.05])
    style = group_styles(sorted(table["class"].unique()))
    for ax, R in zip(axes, levels, strict=True):
        ax.plot(ends, ends, color=INK, linestyle=":", linewidth=1)
        for k, part in table[table["R"] == R].groupby("class"):
            ax.plot(
                part["predicted"],
                part["length"],
                linestyle="none",
                alpha=0.55,
                markersize=4,
                color=style[k]["color"],
                marker=style[k]["marker"],
                label=f"class {k}",
            )
        ax.set(xlim=ends, ylim=ends, title=f"R = {R:g}",
               xlabel=r"$\langle u_k,x_i\rangle$ over its class mean")  # fmt: skip
        ax.set_aspect("equal")
    axes[0].set_ylabel("length over its class mean")
    shared_legend(fig, layout, axes[:1])
    return fig
