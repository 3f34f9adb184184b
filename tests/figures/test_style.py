"""The figures' one style: what a reader sees, hears and downloads."""

import re
import warnings
from itertools import combinations
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from bs4 import BeautifulSoup

from ncbook.figures import landing, style

ALT = "Falling curves, one for each start."


@pytest.fixture
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        (eps, seed, step, eps * rng.uniform(0.5, 1.5) / (1 + step))
        for eps in (1.0, 0.1, 0.01)
        for seed in range(7)
        for step in range(5)
    ]
    return pd.DataFrame(rows, columns=["eps", "seed", "iteration", "error"])


def draw(table, layout, title="A title"):
    fig, axes = style.new_figure(layout, 3)
    for ax in axes:
        style.median_band(ax, table, "iteration", "error", "eps", label="start {}")
        ax.set(yscale="log", xlabel="iteration", title=title)
        ax.axhline(0.1, color="black")
        ax.text(1, 0.1, r"$\sqrt{N}$", color="black")
        ax.scatter([1], [0.1], color="white")
    style.shared_legend(fig, layout)
    return fig


@pytest.fixture
def shown(monkeypatch, tmp_path):
    """What the chapter displays, and the folder for what it makes."""
    outputs = []
    monkeypatch.setattr(style, "display", lambda bundle, raw: outputs.append(bundle))
    monkeypatch.setenv("NCBOOK_OUT", str(tmp_path))
    monkeypatch.setenv("NCBOOK_CHAPTER", "paper/04-figure-1")
    return outputs


# ---------------------------------------------------------------- colours


def luminance(colour: str) -> float:
    values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("page", ["#ffffff", "#121212"])
@pytest.mark.parametrize("colour", style.COLOURS)
def test_colours_are_seen_on_both_pages(colour, page):
    low, high = sorted((luminance(colour), luminance(page)))
    assert (high + 0.05) / (low + 0.05) >= 3


def test_bright_yellow_would_not_be_seen():
    assert (1.05) / (luminance("#f0e442") + 0.05) < 3


def test_looks_differ_without_colour():
    every = style.group_styles(range(7)).values()
    for one, other in combinations(every, 2):
        assert one["linestyle"] != other["linestyle"] and one["marker"] != other["marker"]
        assert one["color"] != other["color"]


def test_looks_keep_the_order_and_go_round():
    many = style.group_styles([*range(9), 0])
    assert list(many) == list(range(9))
    assert many[0] == many[7]


# ---------------------------------------------------------------- drawing


def test_layouts_have_their_widths_and_panels():
    wide, across = style.new_figure("wide", 3)
    narrow, down = style.new_figure("narrow", 3)
    assert wide.get_figwidth() == 7.2 and narrow.get_figwidth() == 3.5
    assert across.shape == down.shape == (3,)
    assert len({ax.get_subplotspec().rowspan.start for ax in across}) == 1
    assert len({ax.get_subplotspec().rowspan.start for ax in down}) == 3


def test_panels_beyond_a_row_begin_another():
    fig, axes = style.new_figure("wide", 5, columns=2)
    assert len(axes) == len(fig.axes) == 5
    assert {ax.get_subplotspec().rowspan.start for ax in axes} == {0, 1, 2}


@pytest.mark.parametrize(("arguments", "said"), [(("tall", 1), "wide, narrow"), (("wide", 0), "0")])
def test_impossible_figures_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        style.new_figure(*arguments)


def test_band_is_median_and_quantiles(table):
    _, (ax,) = style.new_figure("wide", 1)
    style.median_band(ax, table, "iteration", "error", "eps", label="start {}", band=(0, 1))
    assert [line.get_label() for line in ax.lines] == ["start 1.0", "start 0.1", "start 0.01"]
    for line, band, eps in zip(ax.lines, ax.collections, (1, 0.1, 0.01), strict=True):
        runs = table[table["eps"] == eps].pivot(index="iteration", columns="seed", values="error")
        np.testing.assert_allclose(line.get_ydata(), np.median(runs, axis=1), rtol=1e-14)
        corners = band.get_paths()[0].vertices[:, 1]
        assert corners.min() == runs.to_numpy().min() and corners.max() == runs.to_numpy().max()


def test_band_without_groups_is_one_line(table):
    _, (ax,) = style.new_figure("wide", 1)
    style.median_band(ax, table, "iteration", "error")
    assert len(ax.lines) == 1


def test_legend_names_each_line_once(table):
    with style.settings():
        fig = draw(table, "narrow")
    assert [text.get_text() for text in fig.legends[0].texts] == [
        "start 1.0", "start 0.1", "start 0.01",
    ]  # fmt: skip


def test_legend_of_nothing_is_refused():
    fig, _ = style.new_figure("wide", 1)
    with pytest.raises(ValueError, match="label"):
        style.shared_legend(fig, "wide")


@pytest.mark.parametrize("layout", style.LAYOUTS)
def test_legend_fits_its_figure(table, layout):
    with style.settings():
        fig = draw(table, layout)
        fig.canvas.draw()
        box = fig.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= fig.bbox.x1


# ---------------------------------------------------------------- what is shown


def test_figure_is_two_drawings_with_words(table, shown):
    style.show(draw, table, name="figure-1", alt='"Falling" curves & <bands>.')
    page = BeautifulSoup(shown[0]["text/html"], "html.parser")
    drawings = page.select("figure > svg")
    assert [svg["class"] for svg in drawings] == [["ncb-wide"], ["ncb-narrow"]]
    for svg in drawings:
        assert svg["role"] == "img" and svg["aria-label"] == '"Falling" curves & <bands>.'
        assert svg.find_all("text"), "text stays text"
    assert page.select_one("details summary").get_text() == "The numbers behind this figure"
    assert "Falling" in shown[0]["text/plain"]


def test_ink_is_the_pages(table, shown):
    style.show(draw, table, name="figure-1", alt=ALT)
    markup = shown[0]["text/html"]
    assert style.INK not in markup and "#000000" not in markup and "#ffffff" not in markup
    assert "currentColor" in markup and 'fill="currentColor"' in markup
    for colour in style.COLOURS[:3]:
        assert colour in markup


def test_ids_of_two_figures_do_not_clash(table, shown):
    style.show(draw, table, name="figure-1", alt=ALT)
    style.show(draw, table, name="figure-2", alt=ALT)
    ids = re.findall(r'\sid="([^"]+)"', shown[0]["text/html"] + shown[1]["text/html"])
    assert len(ids) == len(set(ids)) > 4


def test_references_inside_a_drawing_resolve(table, shown):
    style.show(draw, table, name="figure-1", alt=ALT)
    for svg in re.findall(r"<svg.*?</svg>", shown[0]["text/html"]):
        wanted = set(re.findall(r'href="#([^"]+)"', svg)) | set(re.findall(r"url\(#([^)]+)\)", svg))
        assert wanted and wanted == set(re.findall(r'\sid="([^"]+)"', svg))


def test_same_numbers_give_the_same_text(table, shown):
    for _ in range(2):
        style.show(draw, table, name="figure-1", alt=ALT)
    assert shown[0] == shown[1]


def test_other_numbers_give_another_text(table, shown):
    style.show(draw, table, name="figure-1", alt=ALT)
    style.show(draw, table.assign(error=table["error"] ** 2), name="figure-1", alt=ALT)
    assert shown[0] != shown[1]


def test_numbers_are_rounded_and_nothing_is_dated(table, shown):
    style.show(draw, table, name="figure-1", alt=ALT)
    drawings = "".join(re.findall(r"<svg.*?</svg>", shown[0]["text/html"]))
    for attribute in re.findall(r' d="([^"]*)"', drawings):
        assert not re.search(r"\.\d{3}", attribute)
    assert "<metadata" not in drawings and "matplotlib" not in drawings
    assert "\n" not in drawings, "one line, so that a pattern can match it"


def test_roots_are_outlines_and_names_stay_text(table, shown):
    style.show(draw, table, name="figure-1", alt=ALT)
    page = BeautifulSoup(shown[0]["text/html"], "html.parser")
    words = "".join(text.get_text() for text in page.select("svg text"))
    assert "√" not in words and "iteration" in words and "A title" in words
    families = set(re.findall(r"font-family: ([^;\"]+)", shown[0]["text/html"]))
    assert families == {"'DejaVu Sans', Verdana, sans-serif"}


def test_options_reach_the_drawing(table, shown):
    style.show(draw, table, name="figure-1", alt=ALT, title="Another title")
    assert "Another title" in shown[0]["text/html"]


HOSTILE = {
    "axes.xmargin": 0.4, "text.usetex": True, "font.size": 20, "lines.linewidth": 9,
    "axes.autolimit_mode": "round_numbers", "savefig.bbox": "tight",
}  # fmt: skip


def test_nobodys_settings_change_a_figure(table, published, shown):
    page = style.markup(draw, table, name="figure-1", alt=ALT)
    first = landing.page(*published)
    with mpl.rc_context(HOSTILE):
        assert style.markup(draw, table, name="figure-1", alt=ALT) == page
        assert landing.page(*published) == first
        assert all(mpl.rcParams[key] == value for key, value in HOSTILE.items())


def test_style_does_not_leak(table, shown):
    before = dict(mpl.rcParams)
    style.show(draw, table, name="figure-1", alt=ALT)
    assert dict(mpl.rcParams) == before


# ---------------------------------------------------------------- what is not finite


def panels(table, layout):
    """A logarithmic panel, a linear one with limits and words, an image; each with a mark."""
    fig, (log, linear, image) = style.new_figure(layout, 3)
    style.median_band(log, table, "iteration", "error", "eps")
    log.set(yscale="log", xscale="log")
    linear.scatter(table["iteration"], table["error"])
    linear.set(ylim=(0, 1.1 * table["error"].max()), xlim=(0, 4))
    linear.annotate("last", (4, float(table["error"].iloc[-1])))
    linear.axhline(0.5, color=style.INK)
    image.imshow(table.pivot_table("error", "iteration", "eps", dropna=False))
    return fig


def drawn_quietly(draw, table, caplog) -> list:
    """The wide drawing's panels as text, where nothing is warned of and nothing logged."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = style.markup(draw, table, name="figure-1", alt=ALT)
    assert not caplog.records and "nan" not in page.lower().replace("style", "")
    svg = BeautifulSoup(page, "html.parser").select_one("svg.ncb-wide")
    return [text.get_text() for text in svg.find_all("text")]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_drawn(table, shown, caplog, tmp_path, bad):
    table.loc[(table["eps"] == 1.0) & (table["iteration"] > 2), "error"] = bad
    words = drawn_quietly(panels, table, caplog)
    assert "no finite value" not in words and "last" in words
    finite = table.assign(error=table["error"].replace([np.inf, -np.inf], np.nan))
    given = []
    style.show(lambda t, layout: given.append(t) or panels(t, layout), table, name="a", alt=ALT)
    pd.testing.assert_frame_equal(given[0], finite)
    saved = pd.read_csv(tmp_path / "tables" / "04-figure-1" / "a.csv")
    pd.testing.assert_frame_equal(saved, table, check_exact=True)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_panel_without_a_finite_value_says_so(table, shown, caplog, bad):
    words = drawn_quietly(panels, table.assign(error=bad), caplog)
    assert words.count("no finite value") == 3 and "last" not in words


def test_a_panel_of_zeros_on_a_logarithmic_axis_is_drawn(table, shown, caplog):
    assert "no finite value" not in drawn_quietly(panels, table.assign(error=0.0), caplog)


# ---------------------------------------------------------------- the table


def test_table_is_kept_whole(table, shown, tmp_path):
    style.show(draw, table, name="figure-1", alt=ALT)
    saved = pd.read_csv(tmp_path / "tables" / "04-figure-1" / "figure-1.csv")
    pd.testing.assert_frame_equal(saved, table, check_exact=True)


def test_table_outside_the_pipeline_is_kept_apart(table, shown, tmp_path, monkeypatch):
    monkeypatch.delenv("NCBOOK_CHAPTER")
    monkeypatch.setattr(style.files, "_running", "")
    style.show(draw, table, name="figure-1", alt=ALT)
    assert (tmp_path / "tables" / "interactive" / "figure-1.csv").is_file()


def test_summary_says_least_median_greatest():
    frame = pd.DataFrame(
        {
            "value": [0.00012345, 2.5, np.nan, np.inf],
            "count": [1, 2, 3, 4],
            "kind": ["a", "b", "a<b", "a"],
            "name": [f"run {i}" for i in range(4)],
            "flag": [True, False, True, True],
            "none": [np.nan] * 4,
        }
    )
    page = BeautifulSoup(style.numbers(frame, "figure-1"), "html.parser")
    rows = {
        row.th.get_text(): [cell.get_text() for cell in row.find_all("td")]
        for row in page.select("tbody tr")
    }
    assert rows["value"] == ["0.000123", "1.25", "2.5"]
    assert rows["count"] == ["1", "2.5", "4"]
    assert rows["kind"] == ["a, b, a<b"]
    assert rows["flag"] == ["True, False"]
    assert rows["none"] == ["none"] * 3
    assert page.caption.get_text() == "figure-1.csv, 4 rows"
    many = pd.DataFrame({"name": [f"run {i}" for i in range(9)]})
    assert "9 different values" in style.numbers(many, "figure-1")


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("name", ["Figure 1", "a_b", "-a", "", "a/b"])
def test_unusable_names_are_refused(table, shown, name):
    with pytest.raises(ValueError, match="lower-case"):
        style.show(draw, table, name=name, alt=ALT)


@pytest.mark.parametrize("alt", ["", "Figure", None])
def test_missing_words_are_refused(table, shown, alt):
    with pytest.raises(ValueError, match="say in a sentence"):
        style.show(draw, table, name="figure-1", alt=alt)


def test_other_tables_are_refused(shown):
    with pytest.raises(TypeError, match="DataFrame"):
        style.show(draw, {"a": [1]}, name="figure-1", alt=ALT)


def test_drawing_that_returns_no_figure_is_refused(table, shown, tmp_path):
    with pytest.raises(TypeError, match="returns a matplotlib Figure"):
        style.show(lambda table, layout: None, table, name="figure-1", alt=ALT)
    assert not list(tmp_path.rglob("*.csv")), "a figure that failed leaves no table"


# ---------------------------------------------------------------- figures that turn


@pytest.fixture
def turning():
    import plotly.graph_objects as go

    return go.Figure(go.Scatter3d(x=[0, 1], y=[0, 1], z=[0, 1]))


def test_turning_figure_loads_the_sites_own_script(table, shown, turning, tmp_path):
    style.show_interactive(turning, table, name="simplex", alt=ALT)
    page = BeautifulSoup(shown[0]["text/html"], "html.parser")
    assert [tag["src"] for tag in page.select("script[src]")] == ["../../_static/plotly.min.js"]
    assert page.select_one(".ncb-plotly")["aria-label"] == ALT
    assert page.select_one("#simplex-plot")
    assert (tmp_path / "tables" / "04-figure-1" / "simplex.csv").is_file()


def test_turning_figure_is_the_same_twice(table, shown, turning):
    for _ in range(2):
        style.show_interactive(turning, table, name="simplex", alt=ALT)
    assert shown[0] == shown[1]


def test_turning_figure_in_jupyter_is_plotlys_own(table, shown, turning, monkeypatch, tmp_path):
    monkeypatch.delenv("NCBOOK_OUT")
    monkeypatch.setattr(style.files, "output_dir", lambda: tmp_path)
    called = []
    monkeypatch.setattr(type(turning), "show", lambda self: called.append(self))
    style.show_interactive(turning, table, name="simplex", alt=ALT)
    assert called == [turning] and shown == []


# ---------------------------------------------------------------- the landing page


@pytest.fixture
def published():
    curves = pd.DataFrame(
        [
            (eps, step, 0.9 * eps**2, eps**2, 1.1 * eps**2, quantity)
            for quantity in ("left", "middle", "right")
            for eps in (1.0, 0.1, 0.01)
            for step in (0, 100, 400)
        ],
        columns=["eps", "iteration", "low", "median", "high", "quantity"],
    )
    ends = pd.DataFrame(
        [
            (eps, seed, eps**2, eps * (1 + seed), eps / 10)
            for eps in (1, 0.1, 0.01)
            for seed in (0, 1, 2)
        ],
        columns=["eps", "seed", "left", "middle", "right"],
    )
    return curves, ends


def test_landing_figure_shows_what_the_chapter_published(published):
    rows = landing.rows(*published)
    way, end = (rows[rows["panel"] == panel] for panel in ("on the way", "in the end"))
    assert set(way["quantity"]) == {"left"} and len(way) == 9
    middle = end[(end["quantity"] == "middle") & (end["eps"] == 0.1)]
    assert middle["median"].item() == pytest.approx(0.2)
    page = BeautifulSoup(landing.page(*published), "html.parser")
    assert len(page.select("svg[role=img]")) == 2


def test_the_picture_for_the_readme_stands_alone(published):
    picture = landing.picture(*published)
    root = ElementTree.fromstring(picture)
    assert root.tag.endswith("svg") and root.get("aria-label") == landing.ALT
    assert "var(" not in picture and f"color:{style.INK};background:#ffffff" in root.get("style")


def test_landing_figure_says_which_column_is_missing(published):
    curves, ends = published
    with pytest.raises(ValueError, match="final-errors has no column middle"):
        landing.rows(curves, ends.drop(columns="middle"))
    with pytest.raises(ValueError, match="figure-1 has no column quantity"):
        landing.rows(curves.drop(columns="quantity"), ends)


def test_run_rows_label_each_run():
    values = torch.arange(6.0).reshape(2, 3)
    rows = style.run_rows({"error": values}, eps=[1.0, 0.1], seed=range(3))
    assert rows.set_index(["eps", "seed"])["error"][0.1, 1] == 4
    with pytest.raises(ValueError, match=r"error has shape \(2, 3\); the axes eps make \(3,\)"):
        style.run_rows({"error": values}, eps=[1.0, 0.1, 0.01])


def test_the_line_of_a_power_law_has_its_slope(table):
    last = table[table["iteration"] == 4]
    _, (ax,) = style.new_figure("wide", 1)
    style.power_law(ax, last, "eps", "error", 2)
    (x0, x1), (y0, y1) = ax.lines[-1].get_data()
    assert np.log(y1 / y0) / np.log(x1 / x0) == pytest.approx(2)
    assert y0 == pytest.approx(last[last["eps"] == 0.01]["error"].median())
    assert ax.lines[0].get_ydata() == pytest.approx(last["error"].to_numpy())
