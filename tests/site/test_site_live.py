"""Pictures that compute in the page: equal to ncbook, by keyboard, still where they should be."""

import math
import re

import pytest
import site_checks
import torch
from scipy.integrate import solve_ivp

from ncbook.dynamics.descent import descent
from ncbook.metrics import strong_collapse
from ncbook.models.shallow_relu import ShallowReLU
from ncbook.models.ufm import UnconstrainedFeatures
from ncbook.runtime import Runtime
from ncbook.theory.relu.one_class_svm import one_class_svm
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


# --- A ReLU network in the plane ------------------------------------------------------------------

PLANE = "book/min-zhu-vidal/03-alignment.html"
FIELD = """async ({samples, signs, theta}) => {
  const { Network } = await import("/_static/live-plane.js");
  const network = new Network(samples, signs, theta.length / 3);
  const { logL, moved } = network.field(Float64Array.from(theta));
  return [logL, [...moved]];
}"""
FLOW = """async ({samples, signs, theta, until, tolerance}) => {
  const { Network } = await import("/_static/live-plane.js");
  const network = new Network(samples, signs, theta.length / 3);
  network.theta.set(theta);
  while (network.time < until - 1e-12) network.step(until, tolerance);
  return [...network.theta];
}"""
GEOMETRY = """async ({samples, signs}) => {
  const { maxMargin, separability, deadSector } = await import("/_static/live-plane.js");
  const of = (sign) => samples.filter((_, i) => signs[i] === sign);
  return { margins: [1, -1].map((sign) => maxMargin(of(sign))),
           ...separability(samples, signs), dead: deadSector(samples) };
}"""


@pytest.fixture
def plane(tab, address):
    """A tab with the network in the plane in it, which stands still."""
    tab.goto(address + PLANE)
    tab.locator(".ncb-live[data-mounted]").wait_for()
    return tab


def two_classes(seed: int, n: int = 3):
    """Samples around two directions 100 degrees or more apart, and their signs."""
    angles = RUN.normal([seed], 2 * n)[0] * 0.3
    angles[:n] += 0.6
    angles[n:] += 2.7
    radii = RUN.normal([seed + 100], 2 * n)[0].abs() + 0.3
    samples = radii[:, None] * torch.stack([angles.cos(), angles.sin()], -1)
    return samples, [1] * n + [-1] * n


def columns(theta, h: int):
    """The page's state, neuron by neuron, of ncbook's, and back: rows of W first."""
    return torch.cat([theta[: 2 * h].view(2, h).T.flatten(), theta[2 * h :]])


@pytest.mark.parametrize("size", [1e-6, 1.0, 30.0])
def test_the_field_in_the_page_is_that_of_ncbook(plane, size):
    for seed in range(5):
        samples, signs = two_classes(seed)
        labels = [0 if sign > 0 else 1 for sign in signs]
        network = ShallowReLU(samples, labels, 2, 8, "exponential")
        theta = size * RUN.normal([seed], network.size)[0]
        given = {"samples": samples.tolist(), "signs": signs, "theta": columns(theta, 8).tolist()}
        log_L, moved = plane.evaluate(FIELD, given)
        ours, field = network.log_loss_and_rescaled_field(theta)
        assert log_L == pytest.approx(float(ours), rel=1e-12)
        field = columns(field, 8)
        assert float((RUN.tensor(moved) - field).abs().max()) < 1e-12 * float(field.abs().max())


def test_the_flow_in_the_page_follows_the_field(plane):
    samples, signs = two_classes(1)
    network = ShallowReLU(samples, [0, 0, 0, 1, 1, 1], 2, 4, "exponential")
    start = network.balanced_start([1e-2], [2], RUN)[0, 0]
    given = {"samples": samples.tolist(), "signs": signs, "theta": columns(start, 4).tolist()}

    def right(_, z):
        return network.rescaled_field(RUN.tensor(z)).numpy()

    exact = solve_ivp(right, (0, 8), start.numpy(), method="DOP853", rtol=1e-10, atol=1e-12).y[
        :, -1
    ]
    exact = columns(RUN.tensor(exact), 4)
    error = {}
    for tolerance in (1e-3, 1e-5):
        found = plane.evaluate(FLOW, given | {"until": 8, "tolerance": tolerance})
        error[tolerance] = float((RUN.tensor(found) - exact).norm() / exact.norm())
    assert error[1e-3] < 0.02 and error[1e-5] < 4e-4 and error[1e-5] < error[1e-3] / 5


def test_margins_and_separability_in_the_page_are_those_of_ncbook(plane):
    kinds = set()
    for seed in range(12):
        samples, signs = two_classes(seed, 2 + seed % 3)
        labels = torch.tensor([0 if sign > 0 else 1 for sign in signs])
        found = plane.evaluate(GEOMETRY, {"samples": samples.tolist(), "signs": signs})
        ours = one_class_svm(samples, labels)
        margins = [one["margin"] for one in found["margins"]]
        assert margins == pytest.approx(ours.margins.tolist(), rel=1e-9)
        directions = RUN.tensor([one["direction"] for one in found["margins"]])
        assert float((directions - ours.directions).abs().max()) < 1e-7
        unit = samples / samples.norm(dim=1, keepdim=True)
        cosines, same = unit @ unit.T, labels[:, None] == labels
        off = ~torch.eye(len(labels), dtype=torch.bool)
        assert found["within"] == pytest.approx(float(cosines[same & off].min()), abs=1e-12)
        assert found["between"] == pytest.approx(float(cosines[~same].max()), abs=1e-12)
        kinds.add(found["holds"])
        turns = torch.linspace(0, 2 * math.pi, 721, dtype=torch.float64)
        dead = (torch.stack([turns.cos(), turns.sin()], -1) @ samples.T <= 0).all(1)
        low, high = found["dead"] or (0, 0)
        inside = ((turns - low) % (2 * math.pi)) < (high - low) % (2 * math.pi)
        assert int((inside != dead).sum()) <= 2  # but for the edges
    assert kinds == {True, False}


def test_a_run_aligns_separates_and_turns_to_the_margin(plane):
    plane.evaluate(
        f"() => {{ const one = {LIVE}; while (one.network.time < 24) one.advance(24); }}"
    )
    state = plane.evaluate(
        f"""async () => {{ const {{ angle, maxMargin }} = await import("/_static/live-plane.js");
        const {{ network, samples }} = {LIVE};
        return [1, -1].map((sign) => {{
          const own = samples.filter((_, i) => network.signs[i] === sign);
          return angle(network.direction(sign), maxMargin(own).direction); }}).concat(
          [network.separated() ? 1 : 0, -network.field().logL]); }}"""
    )
    assert max(state[:2]) < math.radians(3) and state[2] == 1 and state[3] > 20


def test_samples_and_neurons_are_moved_by_keyboard_and_by_pointer(plane):
    box = plane.locator(".ncb-live")
    said = box.locator(".ncb-live-said")
    assert "are orthogonally separable." in said.inner_text()
    first = plane.evaluate(f"{LIVE}.samples[0]")
    box.get_by_role("button", name="move to the right").press("Enter")
    assert plane.evaluate(f"{LIVE}.samples[0]")[0] > first[0]
    box.get_by_label("move", exact=True).select_option("neuron 1")
    turned = plane.evaluate(f"[...{LIVE}.network.theta]")
    box.get_by_role("button", name="move up").click()
    after = plane.evaluate(f"[...{LIVE}.network.theta]")
    assert after[:2] != turned[:2] and after[2:] == turned[2:]
    assert math.hypot(*after[:2]) == pytest.approx(math.hypot(*turned[:2]))
    box.get_by_label("data", exact=True).select_option("a class too wide")
    assert "two samples of a class are more than 90° apart" in said.inner_text()
    box.get_by_label("data", exact=True).select_option("classes too near each other")
    assert "of different classes are less than 90° apart" in said.inner_text()
    canvas = box.locator("canvas").first
    canvas.scroll_into_view_if_needed()
    area = canvas.bounding_box()
    before = plane.evaluate(f"{LIVE}.samples[0]")
    scale = min(area["width"], area["height"]) / 2.9
    x = area["x"] + area["width"] / 2 + scale * before[0]
    y = area["y"] + area["height"] / 2 - scale * before[1]
    plane.mouse.move(x, y)
    plane.mouse.down()
    plane.mouse.move(x - 20, y - 10)
    plane.mouse.up()
    moved = plane.evaluate(f"{LIVE}.samples[0]")
    assert moved[0] == pytest.approx(before[0] - 20 / scale, abs=0.03)
    assert moved[1] == pytest.approx(before[1] + 10 / scale, abs=0.03)
