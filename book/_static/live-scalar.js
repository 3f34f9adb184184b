// The one scalar problem behind deep unconstrained features, live (Part IV): the risk of a class against its
// output, as ncbook/theory/deep/scalar.py has it,
// f(s; c) = (1 - s)^2 / 2 + (M + 1)/2 c s^(2/(M + 1)),  c = N lambda n^(-M/(M + 1)) where all decays are lambda.
import { COLOURS, DASHES, Picture, Said, lines, make, mountAll, number, power, slider, spot, stroke } from "./live.js";

export const risk = (s, c, M) => (1 - s) ** 2 / 2 + ((M + 1) / 2) * (s === 0 ? 0 : c * s ** (2 / (M + 1)));
export const threshold = (M) => ((M - 1) ** (M - 1) / M ** (2 * M)) ** (1 / (M + 1));
export const cost = (n, N, decay, M) => N * decay * n ** (-M / (M + 1));

export function spinodal(M) {
  const turn = (M - 1) / (2 * M);
  return (1 - turn) * turn ** ((M - 1) / (M + 1));
}

// The output at the kept minimum, the larger root of (1 - s) s^((M-1)/(M+1)) = c; NaN beyond the spinodal.
export function kept(c, M) {
  if (!(c >= 0 && c <= spinodal(M))) return NaN;
  let [low, high] = [(M - 1) / (2 * M), 1];
  for (let i = 0; i < 60; i += 1) {
    const middle = (low + high) / 2;
    if ((1 - middle) * middle ** ((M - 1) / (M + 1)) > c) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

export const output = (c, M) => (c <= threshold(M) ? kept(c, M) : 0);

// ---------------------------------------------------------------- the picture

const LOWEST = -4; // log10 of the decays on the axis
const POINTS = 240;

export function mount(box, { M = 2, decay = -2, sizes = [200, 100, 50] } = {}) {
  const said = new Said();
  const landscape = new Picture({ width: 300, height: 280, label: "", paint: paintLandscape });
  const outputs = new Picture({ width: 300, height: 280, label: "", paint: paintOutputs });
  const layers = slider("layers M", { min: 1, max: 8, value: M }, refresh);
  const decays = slider("decay λ", { min: LOWEST, max: 0, step: 0.02, value: decay, says: (x) => number(10 ** x) }, refresh);
  const classes = sizes.map((n, k) => slider(`size of class ${k + 1}`, { min: 10, max: 400, step: 10, value: n }, refresh));

  const state = () => {
    const N = classes.reduce((sum, one) => sum + one.value, 0);
    return classes.map((one) => {
      const c = cost(one.value, N, 10 ** decays.value, layers.value);
      return { n: one.value, c, kept: kept(c, layers.value), output: output(c, layers.value) };
    });
  };

  function refresh() {
    landscape.draw();
    outputs.draw();
    tell();
  }

  function tell() {
    const found = state();
    const names = (which) => found.map((one, k) => (which(one) ? k + 1 : 0)).filter(Boolean);
    const lost = names((one) => !one.output);
    const stuck = names((one) => !one.output && one.kept > 0);
    const list = (of) => `${of.length > 1 ? "classes" : "class"} ${of.join(" and ")}`;
    let words = lost.length ? `At the global minimum ${list(lost)} ${lost.length > 1 ? "are" : "is"} lost. ` : "At the global minimum all classes are kept. ";
    words += `Outputs: ${found.map((one) => number(one.output)).join(", ")}. `;
    if (stuck.length) words += `Of ${list(stuck)} a kept minimum is left, which is only local. `;
    words += layers.value > 1 ? `An output jumps to 0 from ${number((layers.value - 1) / layers.value)}.` : "With one layer an output goes to 0 continuously.";
    said.say(words, false);
    landscape.label = `The risk of each class against its output, with its minima. ${words}`;
    outputs.label = `The output of each class at the global minimum against the decay. ${words}`;
  }

  const look = (k) => ({ colour: COLOURS[k], dash: DASHES[k] });

  function paintLandscape(pen, width, height, colours) {
    const found = state();
    const at = Array.from({ length: POINTS + 1 }, (_, i) => (1.1 * i) / POINTS);
    const series = found.map(({ n, c }, k) => ({ name: `n = ${n}`, at, values: at.map((s) => risk(s, c, layers.value)), ...look(k) }));
    const y = { low: 0, high: 0.9, ticks: [[0, "0"], [0.5, "½"]], name: "risk of a class, times N/n" };
    const { across, up } = lines(pen, width, height, colours, { series, x: { low: -0.03, high: 1.1, ticks: [[0, "0"], [1, "1"]], name: "output s" }, y });
    found.forEach((one, k) => {
      const on = (s) => [across(s), up(risk(s, one.c, layers.value))];
      spot(pen, on(one.output), COLOURS[k]);
      if (one.output && layers.value > 1) spot(pen, on(0), COLOURS[k], true);
      if (!one.output && one.kept > 0) spot(pen, on(one.kept), COLOURS[k], true);
    });
  }

  function paintOutputs(pen, width, height, colours) {
    const N = classes.reduce((sum, one) => sum + one.value, 0);
    const at = Array.from({ length: POINTS + 1 }, (_, i) => LOWEST * (1 - i / POINTS));
    const costs = (n) => at.map((x) => cost(n, N, 10 ** x, layers.value));
    const series = classes.flatMap((one, k) => [
      { name: `n = ${one.value}`, at, values: costs(one.value).map((c) => (c <= threshold(layers.value) ? kept(c, layers.value) : NaN)), ...look(k) },
      { at, values: costs(one.value).map((c) => (c > threshold(layers.value) ? kept(c, layers.value) : NaN)), colour: COLOURS[k], dash: [1, 4] },
    ]);
    const ticks = [-4, -2, 0].map((x) => [x, power(x)]);
    const y = { low: -0.03, high: 1.2, ticks: [[0, "0"], [1, "1"]], name: "output; dots: local minimum only" };
    const { across, up } = lines(pen, width, height, colours, { series, x: { low: LOWEST, high: 0, ticks, name: "decay λ" }, y });
    pen.strokeStyle = colours.muted;
    pen.lineWidth = 1;
    stroke(pen, [[across(decays.value), up(0)], [across(decays.value), up(1)]]);
    state().forEach((one, k) => spot(pen, [across(decays.value), up(one.output)], COLOURS[k]));
  }

  box.append(
    make("div", { className: "ncb-live-pictures" }, landscape.canvas, outputs.canvas),
    make("div", { className: "ncb-live-controls" }, layers.row, decays.row, ...classes.map((one) => one.row)),
    said.words, said.spoken,
  );
  refresh();
  return { state, landscape, outputs };
}

mountAll("scalar", mount);
