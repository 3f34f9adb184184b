// Gradient descent of the unconstrained features model, live (Part I). The model is that of
// ncbook/models/ufm.py: the risk 1/2 ||W H + b 1^T - Y||^2 over H (p x n), W (C x p), b (C).
import {
  Clock, COLOURS, Picture, Said, button, decades, dot, eigen, grid, lines, make, mountAll, normals, number, power, project, slider,
  stroke, turning,
} from "./live.js";

// ---------------------------------------------------------------- the model

export class Model {
  constructor(sizes, p) {
    Object.assign(this, { sizes, p, C: sizes.length, n: sizes.reduce((a, b) => a + b, 0) });
    this.of = sizes.flatMap((size, k) => Array(size).fill(k)); // the class of each column of H
    this.H = new Float64Array(p * this.n);
    this.W = new Float64Array(this.C * p);
    this.b = new Float64Array(this.C);
    this.E = new Float64Array(this.C * this.n);
    // What descent ends in: W W^T -> G, the root of M M^T, with M the labels less their mean.
    const { C, n } = this;
    const MM = grid(C, (k, l) => (k === l ? sizes[k] : 0) - (sizes[k] * sizes[l]) / n);
    const { values, vectors } = eigen(MM);
    const roots = values.map((value) => (value > 1e-12 * values[0] ? Math.sqrt(value) : 0));
    const combine = (of) => grid(C, (k, l) => vectors.reduce((sum, v, i) => sum + of(roots[i]) * v[k] * v[l], 0));
    this.G = combine((root) => root);
    this.inverse = combine((root) => (root ? 1 / root : 0));
    // The Hessian there is a Kronecker sum: its largest eigenvalue is n plus the largest root.
    this.largestStep = 2 / (n + Math.max(...roots));
  }

  // H and W in random directions with norm eps, b = 0, as in the paper's Figure 1.
  start(eps, normal) {
    for (const part of [this.H, this.W]) {
      for (let i = 0; i < part.length; i += 1) part[i] = normal();
      const norm = Math.sqrt(part.reduce((sum, x) => sum + x * x, 0));
      for (let i = 0; i < part.length; i += 1) part[i] *= eps / norm;
    }
    this.b.fill(0);
  }

  // One iteration of gradient descent, all parts at once.
  step(rate) {
    const { C, n, p, H, W, b, E, of } = this;
    for (let k = 0; k < C; k += 1) {
      for (let i = 0; i < n; i += 1) {
        let sum = b[k] - (of[i] === k ? 1 : 0);
        for (let j = 0; j < p; j += 1) sum += W[k * p + j] * H[j * n + i];
        E[k * n + i] = sum;
      }
    }
    const dW = new Float64Array(C * p);
    for (let k = 0; k < C; k += 1) {
      for (let j = 0; j < p; j += 1) {
        let sum = 0;
        for (let i = 0; i < n; i += 1) sum += E[k * n + i] * H[j * n + i];
        dW[k * p + j] = sum;
      }
    }
    for (let j = 0; j < p; j += 1) {
      for (let i = 0; i < n; i += 1) {
        let sum = 0;
        for (let k = 0; k < C; k += 1) sum += W[k * p + j] * E[k * n + i];
        H[j * n + i] -= rate * sum;
      }
    }
    for (let at = 0; at < C * p; at += 1) W[at] -= rate * dW[at];
    for (let k = 0; k < C; k += 1) {
      let sum = 0;
      for (let i = 0; i < n; i += 1) sum += E[k * n + i];
      b[k] -= rate * sum;
    }
  }

  // The residuals of strong collapse: of W W^T, of H from W (relative), of b. For equal classes they
  // are those of ncbook.metrics.strong_collapse; for others the limits are those of their sizes.
  errors() {
    const { C, n, p, H, W, b, G, inverse, sizes, of } = this;
    let frame = 0;
    for (let k = 0; k < C; k += 1) {
      for (let l = 0; l < C; l += 1) {
        let sum = -G[k][l];
        for (let j = 0; j < p; j += 1) sum += W[k * p + j] * W[l * p + j];
        frame += sum * sum;
      }
    }
    const balanced = sizes.every((size) => size === sizes[0]);
    // The columns that a feature of class k should be, in terms of W's rows.
    const lift = grid(C, (l, k) => {
      if (balanced) return l === k ? 1 / Math.sqrt(sizes[0]) : 0;
      return inverse[l][k] - inverse[l].reduce((sum, x, m) => sum + (x * sizes[m]) / n, 0);
    });
    let [off, all] = [0, 0];
    for (let j = 0; j < p; j += 1) {
      for (let i = 0; i < n; i += 1) {
        let sum = H[j * n + i];
        for (let l = 0; l < C; l += 1) sum -= W[l * p + j] * lift[l][of[i]];
        off += sum * sum;
        all += H[j * n + i] ** 2;
      }
    }
    const bias = Math.hypot(...sizes.map((size, k) => b[k] - size / n));
    return [Math.sqrt(frame), Math.sqrt(off / all), bias];
  }

  // The means of the classes, as rows.
  means() {
    const { C, n, p, H, sizes, of } = this;
    const found = Array.from({ length: C }, () => new Float64Array(p));
    for (let j = 0; j < p; j += 1) for (let i = 0; i < n; i += 1) found[of[i]][j] += H[j * n + i] / sizes[of[i]];
    return found;
  }

  rows() {
    return Array.from({ length: this.C }, (_, k) => this.W.subarray(k * this.p, (k + 1) * this.p));
  }

  // Three directions that the start fixes: those in which what grows lies, then what is left of W.
  axes() {
    const { C, p } = this;
    const means = this.means();
    const grows = this.rows().map((row, k) => row.map((x, j) => x + Math.sqrt(this.sizes[k]) * means[k][j]));
    const centre = grows[0].map((_, j) => grows.reduce((sum, row) => sum + row[j], 0) / C);
    const centred = grows.map((row) => row.map((x, j) => x - centre[j]));
    const { vectors } = eigen(grid(C, (k, l) => dot(centred[k], centred[l])));
    const found = [];
    for (const from of [...vectors.map((v) => centre.map((_, j) => v.reduce((sum, x, k) => sum + x * centred[k][j], 0))), ...this.rows().map((row) => [...row])]) {
      const rest = [...from];
      const before = Math.hypot(...from);
      for (const axis of found) {
        const share = dot(rest, axis);
        axis.forEach((x, j) => (rest[j] -= share * x));
      }
      const norm = Math.hypot(...rest);
      if (norm > 1e-6 * before && found.length < Math.min(3, p)) found.push(rest.map((x) => x / norm));
    }
    while (found.length < 3) found.push(new Array(p).fill(0));
    return found;
  }
}

// ---------------------------------------------------------------- the picture

const NAMES = ["frame: W Wᵀ", "duality: H from W", "bias: b"];
const MOST = 20000; // iterations, after which it stops
const BROKEN = 1e6; // an error of that size will not come down

export function mount(box, { C = 3, N = 3, p = 15, eps = -3, step = 0.5, ratio = 1 } = {}) {
  let [seed, iteration, owed, model, axes, history] = [1, 0, 0, null, null, [[], [], []]];
  const view = [0.5, 0.45];
  const said = new Said();
  const shape = new Picture({ width: 280, height: 300, label: "", paint: paintShape });
  const chart = new Picture({ width: 320, height: 300, label: "", paint: paintChart });
  const play = button("Play", () => (clock.running ? clock.pause() : go()));
  const clock = new Clock(box, tick, (running) => {
    play.textContent = running ? "Pause" : "Play";
    tell();
  });
  const change = () => {
    clock.pause();
    restart();
  };
  const controls = {
    eps: slider("start size ε", { min: -6, max: 0, step: 0.5, value: eps, says: (x) => (Number.isInteger(x) ? power(x) : number(10 ** x)) }, change),
    step: slider("step / largest stable", { min: 0.05, max: 1.3, step: 0.05, value: step, says: (x) => x.toFixed(2) }, tell),
    C: slider("classes C", { min: 2, max: 6, value: C }, change),
    N: slider("examples N", { min: 1, max: 10, value: N }, change),
    ratio: slider("first class / N", { min: 1, max: 5, value: ratio }, change),
    p: slider("dimension p", { min: 1, max: 32, value: p }, change),
  };

  function restart() {
    const { C: classes, N: each, ratio: more, p: wide } = controls;
    model = new Model([each.value * more.value, ...Array(classes.value - 1).fill(each.value)], wide.value);
    model.start(10 ** controls.eps.value, normals(seed));
    axes = model.axes();
    iteration = 0;
    history = [[], [], []];
    note();
    refresh();
  }

  function note() {
    model.errors().forEach((error, i) => history[i].push(error));
  }

  const over = () => iteration >= MOST || !(Math.max(...history.map((one) => one.at(-1))) < BROKEN);

  function advance() {
    model.step(controls.step.value * model.largestStep);
    iteration += 1;
    note();
  }

  function go() {
    if (over()) restart();
    clock.play();
  }

  // Sixty iterations a second at first, for the eye; then more, so that the end comes.
  function tick(passed) {
    owed += (0.06 * passed) * (1 + Math.floor(iteration / 300));
    for (; owed >= 1 && !over(); owed -= 1) advance();
    if (over()) clock.pause();
    refresh();
  }

  function refresh() {
    shape.draw();
    chart.draw();
    tell();
  }

  function tell() {
    const [frame, duality, bias] = history.map((one) => one.at(-1));
    const bound = controls.step.value > 1 ? " The step is above the largest that is stable at collapse." : "";
    let words = `Iteration ${iteration}. Errors: frame ${number(frame)}, duality ${number(duality)}, bias ${number(bias)}.${bound}`;
    if (!(Math.max(frame, duality, bias) < BROKEN)) words = `Descent has diverged at iteration ${iteration}.${bound}`;
    else if (controls.p.value < controls.C.value - 1) words += " p < C − 1: there is no room for the simplex.";
    said.say(words, clock.running);
    shape.label = `The means of ${model.C} classes, dots, and the rows of W, squares, in three directions. ${words}`;
    chart.label = `The three errors over the iterations on a logarithmic axis. ${words}`;
  }

  function paintShape(pen, width, height, colours) {
    const scaled = model.means().map((mean, k) => mean.map((x) => x * Math.sqrt(model.sizes[k])));
    const place = (vector) => axes.map((axis) => dot(vector, axis));
    const [means, rows] = [scaled.map(place), model.rows().map(place)];
    const reach = Math.max(...[...means, ...rows].map((at) => Math.hypot(...at)), 1e-300);
    const limit = Math.max(...model.G.map((row, k) => row[k])) ** 0.5;
    const half = Math.min(width, height - 40) * 0.44;
    const on = (at) => project(at.map((x) => x / reach), view, half, [width / 2, height / 2 - 4]);
    pen.textBaseline = "alphabetic";
    pen.textAlign = "left";
    pen.fillStyle = colours.muted;
    const larger = limit / reach;
    const size = larger > 1.3 ? `enlarged ${number(larger)} times` : "at full size";
    pen.fillText(larger > 0.7 ? size : `made ${number(1 / larger)} times smaller`, 4, 14);
    pen.fillText("● √n times a class mean   □ a row of W", 4, height - 6);
    if (!Number.isFinite(reach)) return;
    pen.strokeStyle = colours.muted;
    pen.lineWidth = 1;
    rows.forEach((one, k) => rows.slice(0, k).forEach((other) => stroke(pen, [on(one), on(other)])));
    const middle = on([0, 0, 0]);
    const order = means.map((_, k) => k).sort((k, l) => on(rows[k])[2] - on(rows[l])[2]);
    for (const k of order) {
      const colour = COLOURS[k % COLOURS.length];
      const [x, y] = on(rows[k]);
      const [u, v] = on(means[k]);
      pen.strokeStyle = pen.fillStyle = colour;
      pen.lineWidth = 2.5;
      stroke(pen, [middle, [x, y]]);
      pen.lineWidth = 2;
      pen.strokeRect(x - 6, y - 6, 12, 12);
      pen.beginPath();
      pen.arc(u, v, 4.5, 0, 7);
      pen.fill();
    }
  }

  function paintChart(pen, width, height, colours) {
    const end = Math.max(100, 50 * Math.ceil(iteration / 50));
    const at = history[0].map((_, i) => i);
    const series = NAMES.map((name, i) => ({ name, at, values: history[i] }));
    const x = { low: 0, high: end, ticks: [[0, "0"], [end, `${end}`]], name: "iteration" };
    lines(pen, width, height, colours, { series, x, y: { low: 1e-9, high: 100, log: true, ticks: decades(-9, 2) } });
  }

  restart();
  const panel = make("div", { className: "ncb-live-controls" },
    make("span", { className: "ncb-live-buttons" }, play,
      button("One step", () => { clock.pause(); if (!over()) { advance(); refresh(); } }),
      button("Another start", () => { seed += 1; change(); }),
      turning(shape, view)),
    ...Object.values(controls).map((one) => one.row));
  box.append(make("div", { className: "ncb-live-pictures" }, shape.canvas, chart.canvas), panel, said.words, said.spoken);
  tell();
  return { get model() { return model; }, get iteration() { return iteration; }, controls, clock, advance, shape, chart };
}

mountAll("ufm", mount);
