"""Pictures that compute in the page: equal to ncbook, by keyboard, still where they should be."""

import math
import re

import pytest
import site_checks
import torch
from playwright.sync_api import Error
from scipy.integrate import solve_ivp

from ncbook import metrics
from ncbook.dynamics.descent import descent
from ncbook.metrics import strong_collapse
from ncbook.models.shallow_relu import ShallowReLU
from ncbook.models.ufm import UnconstrainedFeatures
from ncbook.runtime import Runtime, generator
from ncbook.theory.deep import scalar
from ncbook.theory.mean_field.kernels import gaussian_kernel
from ncbook.theory.mean_field.limit import fixed_limit, stationary_limit
from ncbook.theory.mean_field.particles import critical_gamma
from ncbook.theory.relu.growth import log_time
from ncbook.theory.relu.one_class_svm import one_class_svm
from ncbook.theory.ufm import subspace
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
    spoken = "document.querySelector('.ncb-live [role=status]').textContent"
    live.wait_for_function(f"{spoken} === document.querySelector('.ncb-live-said').textContent")
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
    drawn = f"() => {{ {LIVE}.shape.now(); return {LIVE}.shape.canvas.toDataURL(); }}"
    before = live.evaluate(drawn)
    assert live.evaluate(drawn) == before
    live.get_by_role("button", name="turn to the left").click()
    turned = live.evaluate(drawn)
    assert turned != before
    box = canvas.bounding_box()
    live.mouse.move(box["x"] + 50, box["y"] + 50)
    live.mouse.down()
    live.mouse.move(box["x"] + 150, box["y"] + 70)
    live.mouse.up()
    assert live.evaluate(drawn) != turned


def test_a_frame_costs_little(live):
    """A step and both drawings, in milliseconds: 60 frames a second leave 16."""
    took = live.evaluate(
        f"""() => {{ const one = {LIVE}; let least = Infinity;
        for (let batch = 0; batch < 10; batch += 1) {{
          const began = performance.now();
          for (let i = 0; i < 20; i += 1) {{ one.advance(); one.shape.now(); one.chart.now(); }}
          least = Math.min(least, (performance.now() - began) / 20); }}
        return least; }}"""
    )
    assert took < 8


def test_without_scripts_from_disk_and_on_paper_the_still_stands(browser, live, site):
    still = live.locator(".ncb-live-still")
    assert not still.is_visible()
    live.emulate_media(media="print")
    assert still.is_visible() and not live.locator(".ncb-live").is_visible()
    for scripts in (True, False):
        context = browser.new_context(java_script_enabled=scripts)
        page = context.new_page()
        page.goto((site / UFM).as_uri())
        shown = page.locator(".ncb-live-still svg:visible")
        assert shown.count() == 1 and shown.get_attribute("aria-label")
        context.close()


def test_only_pages_with_a_live_picture_load_its_script(tab, address):
    asked = []
    tab.on("request", lambda request: asked.append(request.url))
    for page, loads in ((UFM, True), ("book/mixon-parshall-pi/02-near-the-origin.html", False)):
        asked.clear()
        assert tab.goto(address + page).ok
        site_checks.settle(tab)
        assert bool([url for url in asked if re.search(r"/live[\w-]*\.js", url)]) is loads


@pytest.mark.parametrize("width", [1280, 390])
def test_the_first_screen_plays_once_and_has_three_ways_on(browser, address, width):
    context = browser.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    page.goto(address + INDEX)
    page.locator(".ncb-stage").wait_for()
    last = page.evaluate("document.querySelector('.ncb-scene').ncbScene.data.frames.length") - 1
    frame = "document.querySelector('.ncb-scene').ncbScene.frame"
    page.wait_for_function(f"{frame} < {last}")  # it began by itself, at the first frame
    stage = page.locator(".ncb-stage").bounding_box()
    assert stage["y"] + stage["height"] <= 800
    for name in ("Read", "Check every claim", "Run it"):
        box = page.locator(".ncb-landing").get_by_role("link", name=name).bounding_box()
        assert box["y"] + box["height"] <= 800
    page.wait_for_function(f"{frame} === {last}", timeout=60000)
    assert page.locator(".ncb-scene").get_by_role("button", name="Play").is_visible()  # and stands
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
  const around = maxMargin([[1, 0], [-0.5, 0.8], [-0.5, -0.8]]);
  around.direction = around.direction.map((x) => (Number.isNaN(x) ? null : x));
  return { around, margins: [1, -1].map((sign) => maxMargin(of(sign))),
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
        assert found["around"] == {"direction": [None, None], "margin": 0}
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


# --- Closed forms ---------------------------------------------------------------------------------

SCALAR = """async ([costs, M]) => {
  const { risk, kept, output, threshold, spinodal } = await import("/_static/live-scalar.js");
  return { kept: costs.map((c) => kept(c, M) || null), output: costs.map((c) => output(c, M)),
           risk: costs.map((c) => risk(0.7, c, M)), ends: [threshold(M), spinodal(M)] };
}"""
LIMIT = """async ([R, outside, inside, margins, c]) => {
  const { angle, logTime, needed } = await import("/_static/live-limit.js");
  const at = angle(R, outside, inside);
  return [at, logTime(R, margins, c), needed(at, outside, inside)];
}"""


@pytest.mark.parametrize("layers", [1, 2, 3, 6])
def test_the_scalar_problem_in_the_page_is_that_of_ncbook(tab, address, layers):
    tab.goto(address + INDEX)
    costs = [0.0, 1e-3, 0.1, 0.3, 0.37, 0.42, 0.5, 0.7, 0.99, 1.4]
    found = tab.evaluate(SCALAR, [costs, layers])
    c = RUN.tensor(costs)
    assert found["ends"] == pytest.approx([scalar.threshold(layers), scalar.spinodal(layers)])
    ours = scalar.kept(c, layers).tolist()
    for one, other in zip(found["kept"], ours, strict=True):
        assert (
            other == 0 or math.isnan(other)
            if one is None
            else one == pytest.approx(other, abs=1e-9)
        )
    assert found["output"] == pytest.approx(scalar.output(c, layers).tolist(), abs=1e-9)
    assert found["risk"] == pytest.approx(scalar.risk(0.7, c, layers).tolist(), rel=1e-12)


def test_the_cost_in_the_page_is_that_of_ncbook(tab, address):
    tab.goto(address + INDEX)
    call = """async (given) => (await import("/_static/live-scalar.js")).cost(...given)"""
    for n, samples, decay, layers in [(50, 350, 0.01, 1), (200, 400, 0.003, 4)]:
        ours = scalar.cost(n**0.5, samples, decay ** (layers + 1), layers)
        assert tab.evaluate(call, [n, samples, decay, layers]) == pytest.approx(
            float(ours), rel=1e-12
        )


def test_how_far_the_limit_is_in_the_page_is_as_in_ncbook(tab, address):
    tab.goto(address + INDEX)
    margins, c = [0.6, 0.5, 0.4], math.sqrt(1.5)
    for R, outside, inside in [(30.0, 0.5, 0.3), (1e4, 0.2, 1.0), (700.0, 0.0, 0.4)]:
        angle, log_t, back = tab.evaluate(LIMIT, [R, outside, inside, margins, c])
        assert angle == pytest.approx(math.sqrt(outside**2 / R + inside**2 / R**2), rel=1e-12)
        assert log_t == pytest.approx(float(log_time(R, RUN.tensor(margins), c)), rel=1e-12)
        assert back == pytest.approx(R, rel=1e-9)


LATE = "book/min-zhu-vidal/05-late-training.html"


def test_the_limit_follows_its_sliders(tab, address):
    tab.goto(address + LATE)
    box = tab.locator(".ncb-live[data-mounted]")
    box.wait_for()
    said = box.locator(".ncb-live-said")
    first = said.inner_text()
    loss = box.get_by_label("log 1/L", exact=True)
    loss.focus()
    tab.keyboard.press("End")
    assert said.inner_text() != first and "10 to the power of" in said.inner_text()
    for name in ("A, outside the span", "B, inside the span"):
        box.get_by_label(name, exact=True).focus()
        tab.keyboard.press("Home")
    assert "there from the start" in said.inner_text()


# --- A reader's own features ----------------------------------------------------------------------

MEASURE = "book/papyan-han-donoho/01-measure-your-network.html"
MEASURED = """async ([text, classifier]) => {
  const { read, readClassifier, measure } = await import("/_static/live-measure.js");
  const data = read(text);
  const [K, D] = [data.names.length, data.features[0].length];
  return measure(data, readClassifier(classifier, K, D)).measures;
}"""


@pytest.mark.parametrize(
    ("K", "D", "sizes"), [(3, 2, [5, 5, 5]), (4, 9, [7, 3, 12, 5]), (5, 3, [6] * 5)]
)
def test_measures_in_the_page_are_those_of_ncbook(tab, address, K, D, sizes):
    tab.goto(address + INDEX)
    labels = torch.arange(K).repeat_interleave(torch.tensor(sizes))
    draws = RUN.normal([K], len(labels) + 2 * K, D)[0]
    features = draws[: len(labels)] * 0.2 + draws[-K:][labels] + 0.3
    weights, bias = draws[-2 * K : -K], draws[-K:, 0]
    order = torch.randperm(len(labels), generator=generator(0))
    rows = [[*features[i].tolist(), f"class {int(labels[i])}".replace(" ", "-")] for i in order]
    text = "\n".join(",".join(map(str, row)) for row in rows)
    given = torch.cat([weights, bias[:, None]], 1).tolist()
    given = "\n".join(" ".join(map(str, row)) for row in given)
    found = tab.evaluate(MEASURED, [text, given])
    statistics = metrics.class_statistics(features, labels)
    ours = metrics.measures(statistics, weights)
    ours["nc4.papyan"] = metrics.nc4_papyan(statistics, weights, bias, features)
    assert len(found) == 9
    for name, value in found.items():
        assert value == pytest.approx(float(ours[name]), rel=1e-9, abs=1e-12), name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "There is no row"),
        ("1,2,a\n1,b", "Row 2 has 2 entries, and the first one has 3"),
        ("1,2,a\n1,x,b", 'Row 2 has "x" where a number is expected'),
        ("1,2,a\n3,4,a", "All rows have one label"),
    ],
)
def test_what_is_no_table_is_refused_in_a_sentence(tab, address, text, said):
    tab.goto(address + MEASURE)
    box = tab.locator(".ncb-live[data-mounted]")
    box.wait_for()
    assert box.locator("table tr").count() == 7
    box.get_by_label("features and labels, a row an example").fill(text)
    words = "document.querySelector('.ncb-live-said').textContent"
    tab.wait_for_function("([words]) => " + words + ".includes(words)", arg=[said])
    assert box.locator("table tr").count() == 0
    box.get_by_role("button", name="Example").click()
    assert box.locator("table tr").count() == 7


@pytest.mark.parametrize(
    "text",
    [
        "0,1,label\n0.5,1,a\n1,2,a\n3,1,b",
        "0,5;1;a\n1;2;a\n3;1;b",
        "0.5,1,class 1\n1,2,class 1\n3,1,class 2",
        "class,u,v\na,0.5,1\na,1,2\nb,3,1",
        '"u","v","label"\n"0.5","1","a"\n"1","2","a"\n"3","1","b"',
        "0.5 1 a\n1 2 a\n3 1 b",
    ],
)
def test_common_forms_of_tables_are_read_alike(tab, address, text):
    tab.goto(address + INDEX)
    call = """async (text) => {
      const { features, labels, names } = (await import("/_static/live-measure.js")).read(text);
      return [features.map((row) => [...row]), labels, names.length]; }"""
    assert tab.evaluate(call, text) == [[[0.5, 1], [1, 2], [3, 1]], [0, 0, 1], 2]


def test_many_labels_are_taken_for_another_column(tab, address):
    tab.goto(address + INDEX)
    text = "\n".join(f"0,1,{i}" for i in range(60))
    with pytest.raises(Error, match="There are 60 different labels in 60 rows"):
        tab.evaluate(MEASURED, [text, ""])


def test_names_of_columns_a_file_and_a_wrong_classifier(tab, address, tmp_path):
    tab.goto(address + MEASURE)
    box = tab.locator(".ncb-live[data-mounted]")
    box.wait_for()
    said = box.locator(".ncb-live-said")
    path = tmp_path / "features.csv"
    path.write_text("label;u;v\n1;0.1;1\n1;0;1.1\n10;1;0\n2;-1;0\n# a remark\n")
    box.get_by_label("a file of features and labels").set_input_files(path)
    tab.wait_for_function("document.querySelector('.ncb-live-said').textContent.startsWith('4 ')")
    assert "4 examples of 3 classes, 2 numbers each" in said.inner_text()
    box.get_by_label("classifier").fill("1 2\n3 4")
    refused = "expected 3 rows of 2 numbers, or of 3 with a bias"
    tab.wait_for_function(
        f"document.querySelector('.ncb-live-said').textContent.includes('{refused}')"
    )


# --- The flow on S --------------------------------------------------------------------------------

SUBSPACE = "book/mixon-parshall-pi/03-on-the-subspace.html"
FLOW_ON_S = """async ([us, b0, C, N, times]) => {
  const { logistic, bias, risk } = await import("/_static/live-subspace.js");
  return times.map((t) => {
    const now = us.map((u) => logistic(u, N, t));
    const beta = bias(b0, C, N, t);
    return [...now, beta, risk(now, beta, C, N)];
  });
}"""


@pytest.mark.parametrize(("C", "N"), [(2, 1), (3, 4), (4, 9)])
def test_the_flow_on_the_subspace_in_the_page_is_that_of_ncbook(tab, address, C, N):
    tab.goto(address + INDEX)
    W0 = RUN.normal([C], C, 6)[0] * 0.05
    W0 = W0 - W0.mean(0)
    b0 = RUN.tensor([0.7] * C)
    times = RUN.tensor([0.0, 0.5, 2.0, 9.0])
    W, b = subspace.flow_on_S(W0, b0, N, times)
    us = torch.linalg.svdvals(W0).square()[: C - 1].tolist()
    found = RUN.tensor(tab.evaluate(FLOW_ON_S, [us, 0.7, C, N, times.tolist()]))
    squares = torch.linalg.svdvals(W).square()[:, : C - 1]
    assert float((found[:, : C - 1] - squares).abs().max()) < 1e-12
    assert float((found[:, C - 1] - b[:, 0]).abs().max()) < 1e-13
    risk = sum(subspace.risk_on_S(W, b, N))
    assert float((found[:, C] - risk).abs().max()) < 1e-11


def test_the_flow_on_the_subspace_passes_the_saddle_and_is_dragged(tab, address):
    tab.goto(address + SUBSPACE)
    box = tab.locator(".ncb-live[data-mounted]")
    box.wait_for()
    said = box.locator(".ncb-live-said")
    small = box.get_by_label("u₂ at the start")
    small.focus()
    tab.keyboard.press("Home")
    time = box.get_by_label("time, of the whole")
    time.focus()
    tab.keyboard.press("Home")
    for _ in range(6):
        tab.keyboard.press("PageUp")
    assert "near the saddle, at the risk N/2" in said.inner_text()
    tab.keyboard.press("End")
    assert "near the saddle" not in said.inner_text()
    box.get_by_label("landscape of", exact=True).select_option(index=1)
    assert not small.is_visible()
    canvas = box.locator("canvas").first
    canvas.scroll_into_view_if_needed()
    area = canvas.bounding_box()
    before = box.get_by_label("u₁ at the start").input_value()
    tab.mouse.click(area["x"] + 0.75 * area["width"], area["y"] + 0.3 * area["height"])
    assert box.get_by_label("u₁ at the start").input_value() != before
    assert float(box.get_by_label("β at the start").input_value()) > 0.5


# --- The law of infinitely many neurons -----------------------------------------------------------

LAW = "book/wu-mondelli/04-gradient-flow.html"
MINIMA = """async ([between, width, beta, shares]) => {
  const { Limit, twoClasses } = await import("/_static/live-law.js");
  const { samples, labels } = twoClasses(between, width);
  const [fine, rough] = [new Limit(samples, labels), new Limit(samples, labels, 33, 8)];
  const [none, branch] = [fine.none(beta), rough.branch(beta)];
  const found = shares.map((share) => fine.minimum(branch, beta, share * none.gamma));
  return { samples, labels, found: found.map((one) => one && { ...one, law: [...one.law] }),
           critical: none.gamma, energy: none.energy, jumps: fine.jumps() };
}"""
CURVE = """async ([between, width, beta, G]) => {
  const { Limit, twoClasses } = await import("/_static/live-law.js");
  const { samples, labels } = twoClasses(between, width);
  const limit = new Limit(samples, labels);
  const none = limit.none(beta);
  let { R } = none;
  return G.map((one) => {
    const at = limit.solve({ R, G: one }, beta);
    R = at.R;
    return at.gamma / none.gamma;
  });
}"""
DATA = [(120, 24), (180, 0), (140, 30)]


def plane_limit(page, beta: float, gamma: float, size: float, *, held: bool = False):
    """Return ncbook's limit for the page's data, one output and lambda = 1/beta: w from a size."""
    X, Y = RUN.tensor(page["samples"]), RUN.tensor(page["labels"])[None]
    W = RUN.tensor([[size], [0.0]])
    given = {"activation": "tanh", "beta": beta, "gamma": gamma, "decay": 1 / beta}
    if held:
        return fixed_limit(X, Y, W, **given)
    return stationary_limit(X, Y, W, **given, tolerance=1e-11)


def differences(one, ours, beta: float) -> list[float]:
    """Return how far a minimum in the page is from ncbook's."""
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    nc1 = metrics.nc1_wu_mondelli(metrics.class_statistics(ours.H.mT, labels))
    # The page's is beta times the free energy without the integral over the p = 2 entries of a.
    energy = beta * ours.free_energy + math.log(2 * math.pi)
    pairs = {
        "R": ours.residual[0], "norm": ours.W.norm(), "kernel": ours.kernel, "nc1": nc1,
        "loss": ours.data_loss, "energy": energy, "length": ours.law @ ours.u.square().sum(1),
    }  # fmt: skip
    found = [
        float((RUN.tensor(one[name]) - RUN.tensor(x)).abs().max()) for name, x in pairs.items()
    ]
    half = RUN.tensor(one["law"])
    return [*found, float((torch.cat([half, half[:-1].flip(0)]) - ours.law).abs().max())]


@pytest.mark.parametrize("beta", [3.0, 10.0, 40.0])
@pytest.mark.parametrize("data", DATA)
def test_the_law_in_the_page_is_the_limit_of_ncbook(tab, address, data, beta):
    tab.goto(address + INDEX)
    shares = [0.3, 0.99, 1.05, 1.5, 4.0, 20.0]
    page = tab.evaluate(MINIMA, [*data, beta, shares])
    critical, cold = page["critical"], 1 / beta < page["jumps"]
    for share, one in zip(shares, page["found"], strict=True):
        small = plane_limit(page, beta, share * critical, 0.02)
        if one is None:
            assert share < 1 and float(small.W.norm()) < 1e-6
            large = plane_limit(page, beta, share * critical, 0.4 * beta**0.5)
            assert float(large.W.norm()) < 1e-6
            continue
        ours = plane_limit(page, beta, share * critical, one["norm"] * 1.1)
        assert max(differences(one, ours, beta)) < 1e-9
        other = plane_limit(page, beta, share * critical * (1 + 1e-6), one["norm"] * 1.1)
        assert max(differences(one, other, beta)) > 1e-8  # another gamma is seen
        # Below gamma_c both minima are there; above, none is left at w = 0.
        assert share > 1 or cold
        assert float(small.W.norm()) == pytest.approx(0 if share < 1 else one["norm"], abs=1e-6)
        if share < 1:
            none = beta * small.free_energy + math.log(2 * math.pi)
            assert none == pytest.approx(page["energy"], abs=1e-9)


@pytest.mark.parametrize("data", DATA)
def test_the_classifier_is_born_at_the_critical_gamma_or_with_a_jump_before_it(tab, address, data):
    tab.goto(address + INDEX)
    for beta in (2.0, 60.0):
        shares = [0.999, 1.001]
        page = tab.evaluate(MINIMA, [*data, beta, shares])
        X, Y = RUN.tensor(page["samples"]), RUN.tensor(page["labels"])[None]
        kernel = gaussian_kernel(X, "tanh").values
        critical = float(critical_gamma(kernel, Y, decay=1 / beta))
        assert page["critical"] == pytest.approx(critical, rel=1e-9)
        # The series of the proposition, its variance by ncbook's grid at w = 0.
        at = plane_limit(page, beta, critical, 0.0, held=True)
        squares = (torch.tanh(at.u @ X.mT) @ Y[0]).square()
        variance = at.law @ squares.square() - (at.law @ squares).square()
        pulled = (kernel @ Y[0]).square().sum()
        turn = float(4 * len(X) * pulled / variance)
        assert 1 / page["jumps"] == pytest.approx(turn, rel=1e-9)
        slope = float(beta * pulled / (len(X) * (Y @ kernel @ Y.mT))) * (1 - beta / turn)
        G = [1e-5 / beta, 2e-5 / beta]
        one, two = (
            (x - 1) / g for x, g in zip(tab.evaluate(CURVE, [*data, beta, G]), G, strict=True)
        )
        assert 2 * one - two == pytest.approx(slope, rel=1e-4)
        assert slope * (1 - beta / turn) > 0 and (beta < turn) == (beta == 2)
        below, above = page["found"]
        assert (below is None) == (beta == 2) and above is not None
        assert above["norm"] < 0.1 if beta == 2 else below["norm"] > 1


@pytest.mark.parametrize("beta", [3.0, 40.0])
def test_minima_are_where_the_curve_rises(tab, address, beta):
    tab.goto(address + INDEX)
    G = [x / beta for x in (0.01, 0.1, 1.0, 30.0)]
    page = tab.evaluate(MINIMA, [120, 24, beta, [1.0]])
    here, near = (
        tab.evaluate(CURVE, [120, 24, beta, [x * side for x in G]]) for side in (1, 1.001)
    )
    rising = [b > a for a, b in zip(here, near, strict=True)]
    assert rising == ([True] * 4 if beta == 3 else [False, False, True, True])
    for g, share, rises in zip(G, here, rising, strict=True):
        gamma = share * page["critical"]
        size = g**0.5 / gamma
        at, less, more = (
            plane_limit(page, beta, gamma, size * x, held=True) for x in (1, 0.97, 1.03)
        )
        assert float(at.gradient.abs().max()) < 1e-9 / beta
        assert (less.free_energy > at.free_energy) is rises
        assert (more.free_energy > at.free_energy) is rises


@pytest.fixture
def law(tab, address):
    """A tab with the law of the neurons in it."""
    tab.goto(address + LAW)
    tab.locator(".ncb-live[data-mounted]").wait_for()
    return tab


def test_the_law_follows_its_sliders_and_says_what_it_shows(law):
    box = law.locator(".ncb-live")
    said = box.locator(".ncb-live-said")
    gamma, temperature = box.get_by_label("factor γ"), box.get_by_label("temperature 1/β")
    drawn = f"() => {{ {LIVE}.plane.now(); return {LIVE}.plane.canvas.toDataURL(); }}"
    pictures = [law.evaluate(drawn)]
    gamma.press("Home")
    assert "w = 0: no classifier" in said.inner_text()
    pictures.append(law.evaluate(drawn))
    gamma.press("End")
    assert "‖w‖ = " in said.inner_text() and "mean ‖u‖²" in said.inner_text()
    pictures.append(law.evaluate(drawn))
    for label in box.locator("canvas").all():
        assert said.inner_text() in label.get_attribute("aria-label")
    # At a gamma below the critical one cooling brings a classifier, first as a local minimum.
    temperature.press("End")
    gamma.fill("-1.4")
    assert "no classifier" in said.inner_text() and "too" not in said.inner_text()
    seen = []
    for _ in range(100):
        temperature.press("ArrowLeft")
        seen.append(
            [word for word in ("no classifier", "local minimum, too") if word in said.inner_text()]
        )
    order = [["no classifier"], ["no classifier", "local minimum, too"], ["local minimum, too"], []]
    assert [one for i, one in enumerate(seen) if not i or one != seen[i - 1]] == order
    before = said.inner_text()
    for name in ("angle between", "half a class"):
        box.get_by_label(name).press("End")
        assert said.inner_text() != before
        before = said.inner_text()
    pictures.append(law.evaluate(drawn))
    assert len(set(pictures)) == 4
