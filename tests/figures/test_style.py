"""The figures' one style: what a reader sees, hears and downloads."""

import re
import warnings
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from ncbook.figures import Picture, figure, show, style


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


def medians(ax, table):
    for eps, part in table.groupby("eps", sort=False):
        look = style.group_styles([1.0, 0.1, 0.01])[eps]
        ax.plot(part.groupby("iteration")["error"].median(), label=f"start {eps}", **look)


def draw(table, layout, title="A title"):
    fig, axes = style.new_figure(layout, 3)
    for ax in axes:
        medians(ax, table)
        ax.set(yscale="log", xlabel="iteration", title=title)
        ax.axhline(0.1, color="black")
        ax.text(1, 0.1, r"$\sqrt{N}$", color="black")
        ax.scatter([1], [0.1], color="white")
    style.shared_legend(fig, layout)
    return fig


@pytest.fixture
def shown(monkeypatch, tmp_path):
    """Show a figure as a chapter does; return its drawings, wide and narrow, as text."""
    monkeypatch.setattr(show, "display", lambda *args, **options: None)
    monkeypatch.setenv("NCBOOK_OUT", str(tmp_path))
    monkeypatch.setenv("NCBOOK_CHAPTER", "paper/04-figure-1")

    def drawings(table, name="figure-1", draw=draw, **options):
        figure(name, Picture(draw, table, **options))
        folder = tmp_path / "figures" / "04-figure-1"
        return [(folder / f"{name}-{layout}.svg").read_text() for layout in style.LAYOUTS]

    return drawings


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


def test_figure_is_two_drawings(table, shown):
    for layout, drawing in zip(style.LAYOUTS, shown(table), strict=True):
        svg = BeautifulSoup(drawing, "html.parser").svg
        assert svg["class"] == [f"ncb-{layout}"] and svg["role"] == "img"
        assert svg.find_all("text"), "text stays text"


def test_words_that_are_markup_are_escaped(table):
    with style.settings():
        text = style.svg(draw(table, "wide"), prefix="a", alt='"Falling" curves & <bands>.')
    svg = BeautifulSoup(text, "html.parser").svg
    assert svg["aria-label"] == '"Falling" curves & <bands>.'


def test_ink_is_the_pages(table, shown):
    markup = "".join(shown(table))
    assert style.INK not in markup and "#000000" not in markup and "#ffffff" not in markup
    assert "currentColor" in markup and 'fill="currentColor"' in markup
    for colour in style.COLOURS[:3]:
        assert colour in markup


def test_ids_of_two_figures_do_not_clash(table, shown):
    ids = re.findall(r'\sid="([^"]+)"', "".join(shown(table) + shown(table, "figure-2")))
    assert len(ids) == len(set(ids)) > 4


def test_references_inside_a_drawing_resolve(table, shown):
    for svg in shown(table):
        wanted = set(re.findall(r'href="#([^"]+)"', svg)) | set(re.findall(r"url\(#([^)]+)\)", svg))
        assert wanted and wanted == set(re.findall(r'\sid="([^"]+)"', svg))


def test_same_numbers_give_the_same_text_and_others_another(table, shown):
    first = shown(table)
    assert shown(table) == first
    assert shown(table.assign(error=table["error"] ** 2)) != first


def test_numbers_are_rounded_and_nothing_is_dated(table, shown):
    drawings = "".join(shown(table))
    for attribute in re.findall(r' d="([^"]*)"', drawings):
        assert not re.search(r"\.\d{3}", attribute)
    assert "<metadata" not in drawings and "matplotlib" not in drawings
    assert drawings.count("\n") == 2, "one line each, so that a pattern can match it"


def test_roots_are_outlines_and_names_stay_text(table, shown):
    page = BeautifulSoup("".join(shown(table)), "html.parser")
    words = "".join(text.get_text() for text in page.select("svg text"))
    assert "√" not in words and "iteration" in words and "A title" in words
    families = set(re.findall(r"font-family: ([^;\"]+)", str(page)))
    assert families == {"'DejaVu Sans', Verdana, sans-serif"}


def test_options_reach_the_drawing(table, shown):
    assert "Another title" in shown(table, title="Another title")[0]


HOSTILE = {
    "axes.xmargin": 0.4, "text.usetex": True, "font.size": 20, "lines.linewidth": 9,
    "axes.autolimit_mode": "round_numbers", "savefig.bbox": "tight",
}  # fmt: skip


def test_nobodys_settings_change_a_figure(table, shown):
    first = shown(table)
    with mpl.rc_context(HOSTILE):
        assert shown(table) == first
        assert all(mpl.rcParams[key] == value for key, value in HOSTILE.items())


def test_style_does_not_leak(table, shown):
    before = dict(mpl.rcParams)
    shown(table)
    assert dict(mpl.rcParams) == before


# ---------------------------------------------------------------- what is not finite


def panels(table, layout):
    """A logarithmic panel, a linear one with limits and words, an image; each with a mark."""
    fig, (log, linear, image) = style.new_figure(layout, 3)
    medians(log, table)
    log.set(yscale="log", xscale="log")
    linear.scatter(table["iteration"], table["error"])
    linear.set(ylim=(0, 1.1 * table["error"].max()), xlim=(0, 4))
    linear.annotate("last", (4, float(table["error"].iloc[-1])))
    linear.axhline(0.5, color=style.INK)
    image.imshow(table.pivot_table("error", "iteration", "eps", dropna=False))
    return fig


def drawn_quietly(draw, table, shown, caplog) -> list:
    """The wide drawing's panels as text, where nothing is warned of and nothing logged."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wide, narrow = shown(table, draw=draw)
    assert not caplog.records and "nan" not in (wide + narrow).lower()
    return [text.get_text() for text in BeautifulSoup(wide, "html.parser").find_all("text")]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_drawn(table, shown, caplog, tmp_path, bad):
    table.loc[(table["eps"] == 1.0) & (table["iteration"] > 2), "error"] = bad
    words = drawn_quietly(panels, table, shown, caplog)
    assert "no finite value" not in words and "last" in words
    given = []
    shown(table, draw=lambda t, layout: given.append(t) or panels(t, layout))
    finite = table.assign(error=table["error"].replace([np.inf, -np.inf], np.nan))
    pd.testing.assert_frame_equal(given[0], finite)
    saved = pd.read_csv(tmp_path / "tables" / "04-figure-1" / "figure-1.csv")
    pd.testing.assert_frame_equal(saved, table, check_exact=True)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_panel_without_a_finite_value_says_so(table, shown, caplog, bad):
    words = drawn_quietly(panels, table.assign(error=bad), shown, caplog)
    assert words.count("no finite value") == 3 and "last" not in words


def test_a_panel_of_zeros_on_a_logarithmic_axis_is_drawn(table, shown, caplog):
    assert "no finite value" not in drawn_quietly(panels, table.assign(error=0.0), shown, caplog)


# ---------------------------------------------------------------- the table, and refusals


def test_table_outside_the_pipeline_is_kept_apart(table, shown, tmp_path, monkeypatch):
    monkeypatch.delenv("NCBOOK_CHAPTER")
    monkeypatch.setattr(show.files, "_running", "")
    figure("figure-1", Picture(draw, table))
    assert (tmp_path / "tables" / "interactive" / "figure-1.csv").is_file()


def test_drawing_that_returns_no_figure_is_refused(table, shown, tmp_path):
    with pytest.raises(TypeError, match="returns a matplotlib Figure"):
        shown(table, draw=lambda table, layout: None)
    assert not list(tmp_path.rglob("*.csv")), "a figure that failed leaves no table"
