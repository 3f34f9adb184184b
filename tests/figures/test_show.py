"""What a figure leaves for the page and for Jupyter."""

import base64
import json
import re

import numpy as np
import pandas as pd
import pytest

from ncbook.figures import Panels, Picture, Scene, figure, show, table, tables
from ncbook.figures.style import new_figure
from ncbook.runs import label


@pytest.fixture
def shown(monkeypatch, tmp_path):
    """What cells displayed, and a place for what they left."""
    monkeypatch.setenv("NCBOOK_OUT", str(tmp_path))
    monkeypatch.setenv("NCBOOK_CHAPTER", "01-one")
    found = []
    for room in (show, tables):
        monkeypatch.setattr(room, "display", lambda data, **options: found.append((data, options)))
    return found


def line(data, layout, *, colour="#123456"):
    fig, (ax,) = new_figure(layout)
    ax.plot(data["x"], data["y"], color=colour)
    return fig


FRAME = pd.DataFrame({"x": [0.0, 1.0, 2.0], "y": [1.0, np.inf, 3.0]})


def image(output) -> str:
    data = re.search(r'src="data:image/svg\+xml;base64,([^"]*)"', output["text/html"])[1]
    return base64.b64decode(data).decode()


def test_a_figure_leaves_both_layouts_and_its_table(shown, tmp_path):
    figure("a-line", Picture(line, FRAME, colour="#654321"))
    wide, narrow = (tmp_path / f"figures/01-one/a-line-{one}.svg" for one in ("wide", "narrow"))
    assert "#654321" in wide.read_text() and "#654321" in narrow.read_text()
    assert wide.read_text() != narrow.read_text()
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "tables/01-one/a-line.csv"), FRAME)


def test_jupyter_gets_a_picture_that_needs_neither_styles_nor_trust(shown):
    figure("a-line", Picture(line, FRAME))
    ((output, options),) = shown
    assert options["metadata"] == {"ncbook": {"figure": "a-line"}}
    # Nothing that JupyterLab takes out of what is not trusted.
    assert not re.search(r"<(svg|style|script)\b", output["text/html"])
    drawing = image(output)
    assert drawing.startswith("<svg") and "currentColor" not in drawing and "var(" not in drawing
    assert f'fill="{show.PAPER}"' in drawing and show.DARK in drawing


def test_a_scene_leaves_its_numbers_and_in_jupyter_its_script(shown, tmp_path):
    scene = Scene(frames=[0, 1]).points(np.eye(3) * np.ones((2, 1, 1)), "axes", 0)
    figure("turns", scene)
    data = json.loads((tmp_path / "figures/01-one/turns.json").read_text())
    assert data == scene.data()
    ((output, _),) = shown
    assert output["text/html"].count("<script") == 2 and "ncb-scene" in output["text/html"]
    assert "<circle" in image(output)


@pytest.mark.parametrize("name", ["A", "a_b", "a--b", "", "a b"])
def test_a_name_is_one_of_files(shown, name):
    with pytest.raises(ValueError, match="use lower-case letters, digits and single hyphens"):
        figure(name, Picture(line, FRAME))


@pytest.mark.parametrize("picture", [FRAME, None, Picture(line, [1, 2])])
def test_what_is_no_picture_is_refused(shown, picture):
    with pytest.raises(TypeError, match=r"give Panels\(...\), or Picture"):
        figure("a", picture)


def test_a_table_has_three_digits_and_its_labels(shown):
    data = label({"loss": np.array([0.3, 2.84e-5]), "n": np.array([3, 40])}, eps=[1.0, 1e-6])
    table(data, {"loss": "the loss", "n": "runs"})
    ((output, _),) = shown
    words = re.findall(r"<t[hd](?: [^>]*)?>([^<]*)<", output["text/html"])
    assert words == ["eps", "the loss", "runs", "1", "0.300", "3", "10⁻⁶", "2.84·10⁻⁵", "40"]
    assert "2.84·10⁻⁵" in output["text/plain"]


def test_a_table_says_where_there_is_no_number(shown):
    table(pd.DataFrame({"a": [1.5, np.nan]}))
    assert "none" in shown[0][0]["text/plain"]


def test_a_column_that_is_not_there_is_named(shown):
    with pytest.raises(ValueError, match="no column 'b'; it has a"):
        table(pd.DataFrame({"a": [1.0]}), {"b": "b"})


def test_a_figure_without_runs_still_draws(shown):
    data = label({"a": np.full((2, 2), np.nan)}, x=[1.0, 2.0], seed=range(2))
    figure("empty", Panels(data, {"a": "nothing"}, x="x", yscale="log").median())
    assert "no finite value" in image(shown[0][0])
