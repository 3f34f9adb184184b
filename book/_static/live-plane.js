// A two-layer ReLU network on two classes in the plane, live (Part III). The model is that of
// ncbook/models/shallow_relu.py with the exponential loss, L = sum_i exp(-y_i f(x_i)),
// f(x) = sum_j v_j relu(<w_j, x>), in rescaled time: theta' = -grad L / L = grad log(1/L).
import { Clock, COLOURS, Picture, Said, button, choice, decades, dragging, lines, make, mountAll, normals, number, power, slider, stroke } from "./live.js";

// ---------------------------------------------------------------- the model

const dot = ([a, b], [c, d]) => a * c + b * d;
const length = ([a, b]) => Math.hypot(a, b);
const unit = (x) => x.map((one) => one / length(x));
export const angle = (one, other) => Math.atan2(Math.abs(one[0] * other[1] - one[1] * other[0]), dot(one, other));
const degrees = (radians) => (180 * radians) / Math.PI;

export class Network {
  // Samples [[x, y], ...] with signs 1 or -1, and h neurons. theta holds w_1, ..., w_h, then the v_j.
  constructor(samples, signs, h) {
    Object.assign(this, { samples, signs, h, theta: new Float64Array(3 * h) });
    this.time = 0;
    this.dt = 1e-3;
  }

  w(j) {
    return [this.theta[2 * j], this.theta[2 * j + 1]];
  }

  v(j) {
    return this.theta[2 * this.h + j];
  }

  // Balanced: |w_j| = |v_j| = eps, directions and signs at random.
  start(eps, normal) {
    const { h, theta } = this;
    for (let j = 0; j < h; j += 1) {
      const [x, y] = unit([normal(), normal()]);
      theta.set([eps * x, eps * y], 2 * j);
      theta[2 * h + j] = normal() < 0 ? -eps : eps;
    }
    [this.time, this.dt] = [0, 1e-3];
  }

  // log L and -grad L / L: neither underflows at any size of L.
  field(theta = this.theta) {
    const { samples, signs, h } = this;
    const excess = samples.map((x, i) => {
      let f = 0;
      for (let j = 0; j < h; j += 1) {
        const into = theta[2 * j] * x[0] + theta[2 * j + 1] * x[1];
        if (into > 0) f += theta[2 * h + j] * into;
      }
      return -signs[i] * f;
    });
    const most = Math.max(...excess);
    const logL = most + Math.log(excess.reduce((sum, one) => sum + Math.exp(one - most), 0));
    const moved = new Float64Array(theta.length);
    samples.forEach((x, i) => {
      const pull = signs[i] * Math.exp(excess[i] - logL);
      for (let j = 0; j < h; j += 1) {
        const into = theta[2 * j] * x[0] + theta[2 * j + 1] * x[1];
        if (into <= 0) continue;
        moved[2 * j] += pull * theta[2 * h + j] * x[0];
        moved[2 * j + 1] += pull * theta[2 * h + j] * x[1];
        moved[2 * h + j] += pull * into;
      }
    });
    return { logL, moved };
  }

  // Heun's method with Euler's inside: a step whose error over the state's norm is at most `tolerance`,
  // and not beyond `until`.
  step(until, tolerance = 1e-3) {
    const { theta } = this;
    const first = this.field().moved;
    for (;;) {
      const dt = Math.min(this.dt, until - this.time);
      const ahead = this.field(theta.map((x, i) => x + dt * first[i])).moved;
      let [error, size] = [0, 0];
      const next = theta.map((x, i) => {
        const to = x + (dt / 2) * (first[i] + ahead[i]);
        error += ((dt / 2) * (ahead[i] - first[i])) ** 2;
        size += to * to;
        return to;
      });
      const share = Math.sqrt(error / size) / tolerance;
      const change = Math.min(3, Math.max(0.2, 0.9 / Math.sqrt(share || 1e-9)));
      if (share <= 1 || dt < 1e-14) {
        theta.set(next);
        this.time += dt;
        if (dt === this.dt || change < 1) this.dt = dt * change;
        return;
      }
      this.dt = dt * change;
    }
  }

  // What neurons of a sign make together on their class: the sum of |v_j| w_j of those that see it.
  direction(sign) {
    const sum = [0, 0];
    for (let j = 0; j < this.h; j += 1) {
      if (this.v(j) * sign <= 0 || !this.sees(j, sign)) continue;
      this.w(j).forEach((x, i) => (sum[i] += Math.abs(this.v(j)) * x));
    }
    return sum;
  }

  sees(j, sign) {
    return this.samples.some((x, i) => this.signs[i] === sign && dot(this.w(j), x) > 0);
  }

  dead() {
    return Array.from({ length: this.h }, (_, j) => j).filter((j) => this.samples.every((x) => dot(this.w(j), x) <= 0));
  }

  // Each neuron is active on one class alone, or on none.
  separated() {
    return Array.from({ length: this.h }, (_, j) => j).every((j) => !(this.sees(j, 1) && this.sees(j, -1)));
  }
}

// The direction of the largest margin of points and the margin: the shortest vector in their convex hull.
export function maxMargin(points) {
  if (points.length && !deadSector(points)) return { direction: [NaN, NaN], margin: 0 }; // no half plane has them all
  let best = points[0];
  const better = (one) => {
    if (dot(one, one) < dot(best, best)) best = one;
  };
  points.forEach((one, i) => {
    better(one);
    for (const other of points.slice(0, i)) {
      const along = [other[0] - one[0], other[1] - one[1]];
      const share = -dot(one, along) / dot(along, along);
      if (share > 0 && share < 1) better([one[0] + share * along[0], one[1] + share * along[1]]);
    }
  });
  return { direction: unit(best), margin: length(best) };
}

// The least cosine within a class and the largest between classes; the data are orthogonally separable if
// the first is positive and the second negative.
export function separability(samples, signs) {
  let [within, between] = [1, -1];
  samples.forEach((x, i) =>
    samples.slice(0, i).forEach((z, k) => {
      const cosine = Math.cos(angle(x, z));
      if (signs[i] === signs[k]) within = Math.min(within, cosine);
      else between = Math.max(between, cosine);
    }),
  );
  return { within, between, holds: within > 0 && between < 0 };
}

// The directions that see no sample: from the widest gap between samples, if it is more than half a turn.
export function deadSector(samples) {
  const turns = samples.map(([x, y]) => Math.atan2(y, x)).sort((a, b) => a - b);
  let sector = null;
  turns.forEach((from, i) => {
    const to = i + 1 < turns.length ? turns[i + 1] : turns[0] + 2 * Math.PI;
    if (to - from > Math.PI) sector = [from + Math.PI / 2, to - Math.PI / 2];
  });
  return sector;
}

// ---------------------------------------------------------------- what can be broken

const DATA = {
  "orthogonally separable": [[[1.05, 0.2], [0.8, 0.6], [0.5, 0.75]], [[-0.75, 0.45], [-1.1, 0.25], [-0.95, 0.5]]],
  "classes too near each other": [[[1.05, 0.2], [0.7, 0.8], [0.3, 1.0]], [[-0.35, 0.9], [-1.1, 0.25], [-0.8, 0.6]]],
  "a class too wide": [[[0.7, -0.75], [0.8, 0.6], [0.05, 1.0]], [[-0.75, -0.15], [-1.1, -0.05], [-0.9, -0.25]]],
};
const SPEED = 3.5; // units of rescaled time a second
const END = 60; // of rescaled time
const BUDGET = 6; // ms of a frame for steps

export function mount(box, { h = 12, eps = -4 } = {}) {
  let [seed, network, history, held] = [1, null, null, 0];
  let [samples, signs] = [[], []];
  const said = new Said();
  const plane = new Picture({ width: 300, height: 300, label: "", paint: paintPlane });
  const chart = new Picture({ width: 300, height: 300, label: "", paint: paintChart });
  const play = button("Play", () => (clock.running ? clock.pause() : go()));
  const clock = new Clock(box, tick, (running) => {
    play.textContent = running ? "Pause" : "Play";
    tell();
  });
  const neurons = slider("neurons h", { min: 2, max: 24, value: h }, restart);
  const small = slider("start size ε", { min: -8, max: 0, value: eps, says: power }, restart);
  const data = choice("data", Object.keys(DATA), () => {
    take(data.list.value);
    restart();
  });
  const object = choice("move", [], () => {
    held = object.list.selectedIndex;
    plane.draw();
  });

  function take(name) {
    const [right, left] = DATA[name];
    samples = [...right, ...left].map((x) => [...x]);
    signs = [...right.map(() => 1), ...left.map(() => -1)];
  }

  function restart() {
    clock.pause();
    network = new Network(samples, signs, neurons.value);
    network.start(10 ** small.value, normals(seed));
    history = { at: [], log: [], angles: [[], [], [], []] };
    const names = [...samples.map((_, i) => `sample ${i + 1}`), ...Array.from({ length: network.h }, (_, j) => `neuron ${j + 1}`)];
    held = Math.min(held, names.length - 1);
    object.offer(names, held);
    note();
    refresh();
  }

  const target = (sign) => {
    const own = samples.filter((_, i) => signs[i] === sign);
    return { mean: own.reduce(([a, b], [c, d]) => [a + c, b + d]), margin: maxMargin(own).direction };
  };

  function note() {
    const { logL } = network.field();
    history.at.push(network.time);
    history.log.push(Math.max(-logL, 1e-9));
    [1, -1].forEach((sign, k) => {
      const at = network.direction(sign);
      const { mean, margin } = target(sign);
      [mean, margin].forEach((to, i) => history.angles[2 * k + i].push(length(at) && length(to) ? degrees(angle(at, to)) : NaN));
    });
  }

  function advance(until) {
    const began = performance.now();
    while (network.time < until - 1e-12 && performance.now() - began < BUDGET) network.step(until);
    note();
  }

  function go() {
    if (network.time >= END - 1e-9) restart();
    clock.play();
  }

  function tick(passed) {
    advance(Math.min(END, network.time + (SPEED * passed) / 1000));
    if (network.time >= END - 1e-9) clock.pause();
    refresh();
  }

  function refresh() {
    plane.draw();
    chart.draw();
    tell();
  }

  function tell() {
    const { within, between, holds } = separability(samples, signs);
    const { logL } = network.field();
    const [mean1, margin1, mean2, margin2] = history.angles.map((one) => one.at(-1));
    const degree = (x) => (Number.isNaN(x) ? "none" : `${number(x)}°`);
    const why = [];
    if (!(within > 0)) why.push("two samples of a class are more than 90° apart");
    if (!(between < 0)) why.push("two samples of different classes are less than 90° apart");
    const dead = network.dead().length;
    const words =
      `log 1/L = ${number(-logL, 3)}. ${dead} of ${network.h} neurons are dead; the others are ${network.separated() ? "separated" : "not separated"}. ` +
      `From the class mean: ${degree(mean1)} and ${degree(mean2)}; from the max margin: ${degree(margin1)} and ${degree(margin2)}. ` +
      (holds ? "The data are orthogonally separable." : `The data are not orthogonally separable: ${why.join(", and ")}.`);
    said.say(words, clock.running);
    plane.label = `Samples of two classes and the neurons, arrows, in the plane. ${words}`;
    chart.label = `Angles of the two classes' neurons to the class mean and to the max margin, and log 1/L, over rescaled time. ${words}`;
  }

  // ---- the plane

  const scale = () => Math.min(plane.width, plane.height) / 2.9;
  const at = ([x, y]) => [plane.width / 2 + scale() * x, plane.height / 2 - scale() * y];
  const back = (x, y) => [(x - plane.width / 2) / scale(), (plane.height / 2 - y) / scale()];
  // Lengths over decades: how large a neuron is against its start.
  const tip = (j) => {
    const w = network.w(j);
    const reach = 0.15 + (0.85 * (Math.log10(length(w)) - small.value)) / (0.8 - Math.min(small.value, -1));
    return unit(w).map((x) => x * Math.max(0.12, Math.min(reach, 1.2)));
  };

  function paintPlane(pen, width, height, colours) {
    const sector = deadSector(samples);
    if (sector) {
      pen.fillStyle = colours.muted;
      pen.globalAlpha = 0.2;
      pen.beginPath();
      pen.moveTo(...at([0, 0]));
      pen.arc(...at([0, 0]), 1.2 * scale(), -sector[1], -sector[0]);
      pen.fill();
      pen.globalAlpha = 1;
      const middle = (sector[0] + sector[1]) / 2;
      pen.textAlign = "center";
      pen.fillText("dead", ...at([1.05 * Math.cos(middle), 1.05 * Math.sin(middle)]));
    }
    [1, -1].forEach((sign, k) => {
      const { mean, margin } = target(sign);
      pen.strokeStyle = COLOURS[k];
      pen.lineWidth = 1.5;
      for (const [to, dash] of [[mean, [2, 3]], [margin, [7, 3]]]) {
        pen.setLineDash(dash);
        stroke(pen, [at([0, 0]), at(unit(to).map((x) => 1.4 * x))]);
      }
    });
    pen.setLineDash([]);
    for (let j = 0; j < network.h; j += 1) {
      const seen = [1, -1].filter((sign) => network.sees(j, sign));
      const [x, y] = at(tip(j));
      const turn = Math.atan2(y - height / 2, x - width / 2);
      pen.strokeStyle = seen.length ? COLOURS[network.v(j) > 0 ? 0 : 1] : colours.muted;
      pen.lineWidth = held === samples.length + j ? 3.5 : 2;
      stroke(pen, [at([0, 0]), [x, y]]);
      stroke(pen, [[x - 7 * Math.cos(turn - 0.4), y - 7 * Math.sin(turn - 0.4)], [x, y], [x - 7 * Math.cos(turn + 0.4), y - 7 * Math.sin(turn + 0.4)]]);
    }
    samples.forEach((sample, i) => {
      const [x, y] = at(sample);
      pen.fillStyle = COLOURS[signs[i] > 0 ? 0 : 1];
      pen.beginPath();
      if (signs[i] > 0) pen.arc(x, y, 6, 0, 7);
      else pen.rect(x - 5.5, y - 5.5, 11, 11);
      pen.fill();
      if (held !== i) return;
      pen.strokeStyle = colours.ink;
      pen.lineWidth = 1.5;
      pen.beginPath();
      pen.arc(x, y, 10, 0, 7);
      pen.stroke();
    });
    pen.fillStyle = colours.muted;
    pen.textAlign = "left";
    pen.fillText("··· class mean   – – max margin", 4, 14);
  }

  // Put what is held to a place: a sample itself, of a neuron the direction. The rest of the run is forgotten
  // where a sample moves; a neuron is turned where the run stands.
  function put(place) {
    if (held < samples.length) {
      const far = length(place);
      if (far < 0.1) return;
      samples[held] = place.map((x) => x * Math.min(1, 1.4 / far));
      const running = clock.running;
      restart();
      if (running) clock.play();
    } else if (length(place) > 1e-6) {
      const j = held - samples.length;
      const size = length(network.w(j));
      network.theta.set(unit(place).map((x) => size * x), 2 * j);
      network.dt = 1e-3;
      for (const one of [history.at, history.log, ...history.angles]) one.pop();
      note();
      refresh();
    }
  }

  function nudge(dx, dy) {
    if (held < samples.length) return put([samples[held][0] + dx, samples[held][1] + dy]);
    const [x, y] = unit(network.w(held - samples.length));
    return put([x + dx, y + dy]);
  }

  function grabbed([x, y]) {
    const places = [...samples.map(at), ...Array.from({ length: network.h }, (_, j) => at(tip(j)))];
    const far = places.map(([a, b]) => Math.hypot(a - x, b - y));
    const nearest = far.indexOf(Math.min(...far));
    if (far[nearest] >= 22) return false;
    held = nearest;
    object.list.selectedIndex = held;
    plane.draw();
    return true;
  }

  dragging(plane.canvas, grabbed, (place) => put(back(...place)));

  function paintChart(pen, width, height, colours) {
    const names = ["degrees to the class mean", "to the max margin", "", ""];
    const { at } = history;
    const series = history.angles.map((values, i) => ({ name: names[i], at, values, colour: COLOURS[i < 2 ? 0 : 1], dash: i % 2 ? [7, 3] : [2, 3] }));
    series.push({ name: "log 1/L", at, values: history.log, colour: colours.ink, dash: [] });
    const end = Math.max(20, 10 * Math.ceil(network.time / 10));
    const x = { low: 0, high: end, ticks: [[0, "0"], [end, `${end}`]], name: "rescaled time" };
    lines(pen, width, height, colours, { series, x, y: { low: 1e-3, high: 1e4, log: true, ticks: decades(-3, 4) } });
  }

  const push = (words, label, dx, dy) => {
    const one = button(words, () => nudge(dx, dy));
    one.setAttribute("aria-label", label);
    return one;
  };
  take(data.list.value);
  restart();
  box.append(
    make("div", { className: "ncb-live-pictures" }, plane.canvas, chart.canvas),
    make("div", { className: "ncb-live-controls" },
      make("span", { className: "ncb-live-buttons" }, play, button("From the start", restart),
        button("Another start", () => { seed += 1; restart(); }),
        button("The data as they were", () => { take(data.list.value); restart(); })),
      neurons.row, small.row, data.row, object.row,
      make("span", { className: "ncb-live-buttons" },
        push("←", "move to the left", -0.05, 0), push("→", "move to the right", 0.05, 0),
        push("↑", "move up", 0, 0.05), push("↓", "move down", 0, -0.05))),
    said.words, said.spoken,
  );
  tell();
  return { get network() { return network; }, get samples() { return samples; }, clock, advance, plane, chart };
}

mountAll("plane", mount);
