// The gradient flow on the invariant subspace S in closed form, live (Part I): squared singular values of W
// follow logistic curves, the bias relaxes exponentially, as ncbook/theory/ufm/subspace.py has it. Two
// classes have one singular value s and beta, and their landscape is drawn exactly; three have u1 and u2.
import { Clock, COLOURS, DASHES, Picture, Said, button, choice, dragging, lines, make, mountAll, number, slider, spot, stroke } from "./live.js";

// u(t) with u' = 2 sqrt(N) u - 2 u^2.
export function logistic(u0, N, t) {
  const root = Math.sqrt(N);
  return u0 > 0 ? (root * u0) / (u0 + (root - u0) * Math.exp(-2 * root * t)) : 0;
}

export const bias = (b0, C, N, t) => 1 / C + (b0 - 1 / C) * Math.exp(-C * N * t);

// The risk on S: of the squared singular values, and of b = beta 1.
export function risk(us, beta, C, N) {
  return us.reduce((sum, u) => sum + (u - Math.sqrt(N)) ** 2, 0) / 2 + (N / 2) * (C * beta - 1) ** 2;
}

// ---------------------------------------------------------------- the picture

const KINDS = ["three classes: u₁ and u₂", "two classes: s and β"];
const FINE = 60; // cells of the landscape along an axis
const SPEED = 1 / 6; // of the whole time, a second

export function mount(box, { N = 3, u1 = -4, u2 = -7, beta = 0 } = {}) {
  let [time, side] = [0, 1]; // two classes: s may be negative
  const said = new Said();
  const plane = new Picture({ width: 300, height: 300, label: "", paint: paintPlane });
  const chart = new Picture({ width: 320, height: 300, label: "", paint: paintChart });
  const play = button("Play", () => {
    if (clock.running) return clock.pause();
    if (time >= end()) time = 0;
    return clock.play();
  });
  const clock = new Clock(box, (passed) => go(time + (SPEED * end() * passed) / 1000), (running) => {
    play.textContent = running ? "Pause" : "Play";
    tell();
  });
  const again = () => {
    clock.pause();
    go(0);
  };
  const kind = choice("landscape of", KINDS, again);
  const small = (x) => number(10 ** x);
  const controls = {
    N: slider("examples N", { min: 1, max: 16, value: N }, again),
    u1: slider("u₁ at the start", { min: -12, max: 0.8, step: 0.02, value: u1, says: small }, again),
    u2: slider("u₂ at the start", { min: -12, max: 0.8, step: 0.02, value: u2, says: small }, again),
    beta: slider("β at the start", { min: -1, max: 2, step: 0.05, value: beta, says: (x) => x.toFixed(2) }, again),
    t: slider("time, of the whole", { min: 0, max: 1, step: 0.005, value: 0, says: (x) => x.toFixed(2) }, (share) => {
      clock.pause();
      go(share * end());
    }),
  };

  const two = () => kind.list.selectedIndex === 1;
  const classes = () => (two() ? 2 : 3);
  const starts = () => (two() ? [10 ** controls.u1.value] : [10 ** controls.u1.value, 10 ** controls.u2.value]);
  // The last logistic curve has come to 99.9 % of its height.
  const end = () => {
    const root = Math.sqrt(controls.N.value);
    return Math.max(...starts().map((u) => (Math.log(Math.max(root / u - 1, 1)) + 7) / (2 * root)));
  };
  const at = (t) => ({
    us: starts().map((u) => logistic(u, controls.N.value, t)),
    beta: bias(controls.beta.value, classes(), controls.N.value, t),
  });

  function go(to) {
    time = Math.min(to, end());
    if (time >= end()) clock.pause();
    controls.t.set(time / end());
    controls.u2.row.hidden = two();
    plane.draw();
    chart.draw();
    tell();
  }

  function tell() {
    const { us, beta: b } = at(time);
    const root = Math.sqrt(controls.N.value);
    const all = risk(us, b, classes(), controls.N.value);
    const level = controls.N.value / 2;
    const close = us.length === 2 && Math.abs(Math.max(...us) - root) < 0.05 * root && Math.min(...us) < 0.05 * root;
    const near = close && Math.abs(all - level) < 0.1 * level;
    const words =
      `Time ${number(time, 3)}. ${us.map((u, i) => `u${us.length > 1 ? "₁₂"[i] : ""} = ${number(u)}`).join(", ")}, of ${number(root)}; ` +
      `β = ${number(b)}, of ${number(1 / classes())}. Risk ${number(all)}.` +
      (near ? ` It stands near the saddle, at the risk N/2 = ${level}.` : "");
    said.say(words, clock.running);
    plane.label = `The landscape of the risk on S, and the flow's path in it. ${words}`;
    chart.label = `Squared singular values over time, logistic curves, and β. ${words}`;
  }

  const frame = () => {
    const root = Math.sqrt(controls.N.value);
    return two() ? { low: [-1.5 * root ** 0.5, -1], high: [1.5 * root ** 0.5, 2] } : { low: [-0.1 * root, -0.1 * root], high: [1.6 * root, 1.6 * root] };
  };
  const edge = 26;
  const place = ([x, y]) => {
    const { low, high } = frame();
    const size = plane.height - edge - 8;
    const wide = plane.width - edge - 8;
    return [edge + (wide * (x - low[0])) / (high[0] - low[0]), 8 + (size * (high[1] - y)) / (high[1] - low[1])];
  };
  const value = ([x, y]) => (two() ? risk([x * x], y, 2, controls.N.value) : risk([x, y], 1 / 3, 3, controls.N.value));

  function paintPlane(pen, width, height, colours) {
    const { low, high } = frame();
    const root = Math.sqrt(controls.N.value);
    const most = value([0, two() ? 0.5 : 0]) * 2;
    const step = [0, 1].map((i) => (high[i] - low[i]) / FINE);
    pen.fillStyle = colours.ink;
    for (let i = 0; i < FINE; i += 1) {
      for (let j = 0; j < FINE; j += 1) {
        const corner = [low[0] + i * step[0], low[1] + j * step[1]];
        if (!two() && Math.min(...corner) < -step[0]) continue;
        const level = Math.min(1, value(corner.map((x, k) => x + step[k] / 2)) / most);
        pen.globalAlpha = 0.05 + 0.3 * (Math.floor(level * 10) / 10);
        const [x, y] = place([corner[0], corner[1] + step[1]]).map(Math.round);
        const [u, v] = place([corner[0] + step[0], corner[1]]).map(Math.round);
        pen.fillRect(x, y, u - x, v - y);
      }
    }
    pen.globalAlpha = 1;
    const path = Array.from({ length: 301 }, (_, i) => at((end() * i) / 300)).map(({ us, beta: b }) => (two() ? [side * Math.sqrt(us[0]), b] : us));
    pen.save(); // a start may lie outside
    pen.beginPath();
    pen.rect(edge, 8, width - edge - 8, height - edge - 8);
    pen.clip();
    pen.strokeStyle = COLOURS[0];
    pen.lineWidth = 2.5;
    stroke(pen, path.map(place));
    const minima = two() ? [[root ** 0.5, 0.5], [-(root ** 0.5), 0.5]] : [[root, root]];
    const saddles = two() ? [[0, 0.5]] : [[root, 0], [0, root]];
    for (const one of minima) spot(pen, place(one), COLOURS[2]);
    for (const one of saddles) spot(pen, place(one), COLOURS[1], true);
    const now = at(time);
    spot(pen, place(two() ? [side * Math.sqrt(now.us[0]), now.beta] : now.us), colours.ink);
    pen.restore();
    pen.fillStyle = colours.muted;
    pen.textBaseline = "alphabetic";
    pen.textAlign = "right";
    pen.fillText(two() ? "s" : "u₁", width - 8, height - 4);
    pen.textAlign = "left";
    pen.fillText(two() ? "β" : "u₂", 4, 18);
    pen.fillText("● minimum   ○ saddle", edge, height - 4);
  }

  function paintChart(pen, width, height, colours) {
    const root = Math.sqrt(controls.N.value);
    const when = Array.from({ length: 241 }, (_, i) => (end() * i) / 240);
    const states = when.map(at);
    const series = starts().map((_, k) => ({ name: starts().length > 1 ? `u${"₁₂"[k]}` : "u = s²", at: when, values: states.map(({ us }) => us[k]), colour: COLOURS[k], dash: DASHES[k] }));
    series.push({ name: "β", at: when, values: states.map(({ beta: b }) => b), colour: COLOURS[2], dash: DASHES[2] });
    const y = { low: Math.min(-0.05, controls.beta.value), high: Math.max(1.1 * root, controls.beta.value, 1), ticks: [[0, "0"], [root, "√N"]] };
    const { across, up } = lines(pen, width, height, colours, { series, x: { low: 0, high: end(), ticks: [[0, "0"], [end(), number(end())]], name: "time" }, y });
    pen.strokeStyle = colours.muted;
    pen.lineWidth = 1;
    stroke(pen, [[across(time), up(y.low)], [across(time), up(y.high)]]);
    at(time).us.forEach((u, k) => spot(pen, [across(time), up(u)], COLOURS[k]));
  }

  // The start may be dragged in the plane, too; a press elsewhere puts it there.
  const begin = () => (two() ? [side * Math.sqrt(starts()[0]), controls.beta.value] : starts());
  const move = ([left, top]) => {
    const { low, high } = frame();
    const x = low[0] + ((left - edge) / (plane.width - edge - 8)) * (high[0] - low[0]);
    const y = high[1] - ((top - 8) / (plane.height - edge - 8)) * (high[1] - low[1]);
    side = two() && x < 0 ? -1 : 1;
    controls.u1.set(Math.log10(Math.max(two() ? x * x : x, 1e-12)));
    if (two()) controls.beta.set(y);
    else controls.u2.set(Math.log10(Math.max(y, 1e-12)));
    again();
  };
  const near = ([x, y]) => Math.hypot(x - place(begin())[0], y - place(begin())[1]) < 24;
  dragging(plane.canvas, near, move);
  plane.canvas.addEventListener("click", (event) => {
    const { left, top } = plane.canvas.getBoundingClientRect();
    move([event.clientX - left, event.clientY - top]);
  });

  box.append(
    make("div", { className: "ncb-live-pictures" }, plane.canvas, chart.canvas),
    make("div", { className: "ncb-live-controls" }, make("span", { className: "ncb-live-buttons" }, play), kind.row, ...Object.values(controls).map((one) => one.row)),
    said.words, said.spoken,
  );
  go(0);
  return { at, end, plane, chart, clock };
}

mountAll("subspace", mount);
