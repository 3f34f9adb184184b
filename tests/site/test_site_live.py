"""Pictures that compute in the page: equal to ncbook, by keyboard, still where they should be."""

import re

import pytest
import site_checks
import torch

from ncbook.dynamics.descent import descent
from ncbook.metrics import strong_collapse
from ncbook.models.ufm import UnconstrainedFeatures
from ncbook.runtime import Runtime
from ncbook.theory.ufm.spectra import largest_stable_step
from ncbook.theory.ufm.subspace import collapsed_gram

RUN = Runtime(torch.device("cpu"), torch.float64, 1)
UFM = "book/mixon-parshall-pi/04-figure-1.html"
INDEX = "book/index.html"
LIVE = "document.querySelector('.ncb-live').ncbLive"
SIZES = [[3, 3, 3], [10] * 6, [5, 5], [2, 4, 7], [6, 1, 1, 1]]

# Iterate the page's model from a given state; return its state and its errors.
ITERATE = """async ({sizes, p, step, steps, H, W, b}) => {
  const { Model } = await import("/_static/live-ufm.js");
  const model = new Model(sizes, p);
  model.H.set(H); model.W.set(W); model.b.set(b);
  for (let i = 0; i < steps; i += 1) model.step(step * model.largestStep);
  return { z: [...model.H, ...model.W, ...model.b], errors: model.errors(),
           largest: model.largestStep, gram: model.G.flat() };
}"""


@pytest.fixture
def live(tab, address):
    """A tab with the descent of the unconstrained features in it, which stands still."""
    tab.goto(address + UFM)
    tab.locator(".ncb-live[data-mounted]").wait_for()
    return tab


def in_page(tab, model, start, step, steps):
    H, W, b = (one.flatten().tolist() for one in model.unpack(start))
    given = {"sizes": list(model.sizes), "p": model.p, "H": H, "W": W, "b": b}
    return tab.evaluate(ITERATE, given | {"step": step, "steps": steps})


@pytest.mark.parametrize("sizes", SIZES)
def test_descent_in_the_page_is_that_of_ncbook(live, sizes):
    model = UnconstrainedFeatures(len(sizes), sizes, 7)
    start = model.small_start([1e-2], [3], RUN)[0, 0]
    found = in_page(live, model, start, 0.5, 80)
    step = 0.5 * found["largest"]
    ours = descent(model.field, start, step, 80).final
    assert float((RUN.tensor(found["z"]) - ours).abs().max()) < 1e-12
    fewer = descent(model.field, start, step, 79).final
    assert float((RUN.tensor(found["z"]) - fewer).abs().max()) > 1e-9  # an iteration less is seen
    gram = collapsed_gram(sizes).flatten()
    assert float((RUN.tensor(found["gram"]) - gram).abs().max()) < 1e-12
    if len(set(sizes)) == 1:
        assert found["largest"] == pytest.approx(
            largest_stable_step(len(sizes), sizes[0]), rel=1e-12
        )
        errors = [float(one) for one in strong_collapse(*model.unpack(ours))]
        assert found["errors"] == pytest.approx(errors, rel=1e-6, abs=1e-13)


@pytest.mark.parametrize("sizes", SIZES)
def test_its_errors_vanish_where_descent_ends(live, sizes):
    model = UnconstrainedFeatures(len(sizes), sizes, 7)
    start = model.small_start([1e-6], [1], RUN)[0, 0]
    assert max(in_page(live, model, start, 0.5, 3000)["errors"]) < 1e-4
    assert in_page(live, model, start, 0.5, 3)["errors"][0] > 1


@pytest.mark.parametrize("sizes", [[3, 3, 3], [2, 4, 7]])
def test_its_largest_step_is_where_collapse_becomes_unstable(live, sizes):
    model = UnconstrainedFeatures(len(sizes), sizes, 7)
    start = model.small_start([1e-3], [1], RUN)[0, 0]
    below, above = (in_page(live, model, start, step, 4000) for step in (0.95, 1.05))
    assert below["errors"][0] < 1e-4
    assert not above["errors"][0] < 1e-2


def test_it_is_used_by_keyboard_and_says_what_it_shows(live):
    box = live.locator(".ncb-live")
    said = box.locator(".ncb-live-said")
    assert said.inner_text().startswith("Iteration 0.")
    assert live.evaluate(f"{LIVE}.clock.running") is False  # it waits for the reader
    box.get_by_role("button", name="One step").press("Enter")
    assert said.inner_text().startswith("Iteration 1.")
    assert box.locator("[role=status]").text_content() == said.inner_text()
    classes = box.get_by_label("classes C")
    classes.focus()
    live.keyboard.press("End")
    assert classes.get_attribute("aria-valuetext") == "6"
    assert "The means of 6 classes" in box.locator("canvas").first.get_attribute("aria-label")
    dimension = box.get_by_label("dimension p")
    dimension.focus()
    live.keyboard.press("Home")
    assert "no room for the simplex" in said.inner_text()
    step = box.get_by_label("step / largest stable")
    step.focus()
    live.keyboard.press("End")
    assert "above the largest that is stable" in said.inner_text()
    live.keyboard.press("Home")
    box.get_by_role("button", name="Play").click()
    live.wait_for_function(f"{LIVE}.iteration > 20")
    box.get_by_role("button", name="Pause").click()
    box.get_by_role("button", name="Another start").click()
    assert said.inner_text().startswith("Iteration 0.")


def test_it_turns(live):
    canvas = live.locator(".ncb-live canvas").first
    canvas.scroll_into_view_if_needed()
    before = canvas.screenshot()
    live.get_by_role("button", name="turn to the left").click()
    live.wait_for_timeout(100)
    turned = canvas.screenshot()
    assert turned != before
    box = canvas.bounding_box()
    live.mouse.move(box["x"] + 50, box["y"] + 50)
    live.mouse.down()
    live.mouse.move(box["x"] + 150, box["y"] + 70)
    live.mouse.up()
    live.wait_for_timeout(100)
    assert canvas.screenshot() != turned


def test_a_frame_costs_little(live):
    """A step and both drawings, in milliseconds: 60 frames a second leave 16."""
    took = live.evaluate(
        f"""() => {{ const one = {LIVE}; const began = performance.now();
        for (let i = 0; i < 200; i += 1) {{ one.advance(); one.shape.now(); one.chart.now(); }}
        return (performance.now() - began) / 200; }}"""
    )
    assert took < 8


def test_without_scripts_from_disk_and_on_paper_the_still_stands(browser, live, site):
    still = live.locator(".ncb-live-still")
    assert not still.is_visible()
    live.emulate_media(media="print")
    assert still.is_visible() and not live.locator(".ncb-live").is_visible()
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / UFM).as_uri())
    shown = page.locator(".ncb-live-still svg:visible")
    assert shown.count() == 1 and shown.get_attribute("aria-label")
    context.close()


def test_only_pages_with_a_live_picture_load_its_script(tab, address):
    asked = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(address + "book/mixon-parshall-pi/02-near-the-origin.html")
    site_checks.settle(tab)
    assert not [url for url in asked if re.search(r"/live[\w-]*\.js", url)]


@pytest.mark.parametrize("width", [1280, 390])
def test_the_first_screen_plays_once_and_has_three_ways_on(browser, address, width):
    context = browser.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    page.goto(address + INDEX)
    scene = page.locator(".ncb-scene")
    frame = "document.querySelector('.ncb-scene').ncbScene.frame"
    page.wait_for_function(f"{frame} > 0.5 && {frame} < 15")  # it began by itself
    for name in ("Read", "Check every claim", "Run it"):
        box = page.locator(".ncb-landing").get_by_role("link", name=name).bounding_box()
        assert box["y"] + box["height"] <= 800
    last = page.evaluate("document.querySelector('.ncb-scene').ncbScene.data.frames.length") - 1
    page.wait_for_function(f"{frame} === {last}", timeout=20000)
    assert scene.get_by_role("button", name="Play").is_visible()  # and stands
    context.close()


def test_without_motion_the_first_page_shows_the_end(tab, address):
    tab.goto(address + INDEX)
    tab.locator(".ncb-stage").wait_for()
    tab.wait_for_timeout(500)
    scene = "document.querySelector('.ncb-scene').ncbScene"
    assert tab.evaluate(f"{scene}.frame") == tab.evaluate(f"{scene}.data.frames.length") - 1
