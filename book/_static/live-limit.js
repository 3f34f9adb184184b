// How far the limit of Part III is: the angle of a class to its max-margin direction at a loss, and how many
// digits the time has that it takes. The formulas are those of the chapter on late training,
// angle^2 = C_perp^2 / R + C_delta^2 / R^2 and log t = R - log R + log sum_k 1 / (2 c gamma_k), R = log 1/L.
import { COLOURS, Picture, Said, decades, lines, make, mountAll, number, power, slider, spot, stroke } from "./live.js";

export const angle = (R, outside, inside) => Math.sqrt(outside ** 2 / R + inside ** 2 / R ** 2);
export const logTime = (R, margins, c) => R - Math.log(R) + Math.log(margins.reduce((sum, one) => sum + 1 / (2 * c * one), 0));

// The R from which on the angle is smaller.
export function needed(theta, outside, inside) {
  const [a, b] = [outside ** 2, inside ** 2];
  return (a + Math.sqrt(a * a + 4 * theta ** 2 * b)) / (2 * theta ** 2);
}

const DEGREE = Math.PI / 180;
const HIGH = 7; // log10 of the largest R

export function mount(box, { margins = [0.6, 0.5, 0.4], outside = 0.5, inside = 0.3, log = 1.44 } = {}) {
  const said = new Said();
  const picture = new Picture({ width: 600, height: 300, label: "", paint });
  const K = margins.length;
  const c = Math.sqrt(K / (K - 1));
  const loss = slider("log 1/L", { min: 0.5, max: HIGH, step: 0.02, value: log, says: (x) => number(10 ** x, 3) }, refresh);
  const A = slider("A, outside the span", { min: 0, max: 2, step: 0.05, value: outside, says: (x) => x.toFixed(2) }, refresh);
  const B = slider("B, inside the span", { min: 0, max: 2, step: 0.05, value: inside, says: (x) => x.toFixed(2) }, refresh);
  const sliders = margins.map((one, k) => slider(`margin of class ${k + 1}`, { min: 0.05, max: 1, step: 0.05, value: one, says: (x) => x.toFixed(2) }, refresh));

  const digits = (R) => Math.max(1, Math.floor(logTime(R, sliders.map((one) => one.value), c) / Math.LN10) + 1);
  const count = (many) => (many < 1e6 ? many.toLocaleString("en") : number(many));
  const long = (many) => (many === 1 ? "1 digit" : `${count(many)} digits`);

  function refresh() {
    picture.draw();
    const R = 10 ** loss.value;
    const at = angle(R, A.value, B.value) / DEGREE;
    const far = [1, 0.1, 0.01].map((degree) => [degree, needed(degree * DEGREE, A.value, B.value)]);
    const words =
      `At a loss of ${R < 690 ? number(Math.exp(-R)) : `10 to the power of −${count(Math.round(R / Math.LN10))}`} the class is ${number(at)}° from its max-margin direction; ` +
      `the time that takes has ${long(digits(R))}. ` +
      (A.value || B.value ? far.map(([degree, to]) => `For ${degree}°: ${to > 1 ? long(digits(to)) : "1 digit"}`).join(". ") : "With A = B = 0 it is there from the start") + ".";
    said.say(words, false);
    picture.label = `The angle to the max-margin direction against log 1/L, both on logarithmic axes. ${words}`;
  }

  function paint(pen, width, height, colours) {
    const at = Array.from({ length: 201 }, (_, i) => 0.5 + ((HIGH - 0.5) * i) / 200);
    const parts = [
      ["angle in degrees", A.value, B.value],
      ["A alone", A.value, 0],
      ["B alone", 0, B.value],
    ];
    const series = parts.map(([name, a, b]) => ({ name, at, values: at.map((x) => angle(10 ** x, a, b) / DEGREE || NaN) }));
    const x = { low: 0.5, high: HIGH, ticks: [1, 2, 3, 4, 5, 6, 7].map((one) => [one, power(one)]), name: "R = log 1/L" };
    const { across, up } = lines(pen, width, height, colours, { series, x, y: { low: 1e-5, high: 200, log: true, ticks: decades(-4, 2) } });
    pen.setLineDash([2, 3]);
    pen.strokeStyle = pen.fillStyle = colours.muted;
    pen.textAlign = "left";
    for (const [R, words] of [[12 * Math.LN10, "L = 10⁻¹²"], [1074 * Math.LN2, "least double"]]) {
      const place = across(Math.log10(R));
      stroke(pen, [[place, up(200)], [place, up(1e-5)]]);
      pen.fillText(words, place + 4, up(4e-5));
    }
    pen.setLineDash([]);
    spot(pen, [across(loss.value), up(Math.max(1.2e-5, angle(10 ** loss.value, A.value, B.value) / DEGREE))], COLOURS[0]);
  }

  box.append(
    make("div", { className: "ncb-live-pictures" }, picture.canvas),
    make("div", { className: "ncb-live-controls" }, loss.row, A.row, B.row, ...sliders.map((one) => one.row)),
    said.words, said.spoken,
  );
  refresh();
  return { picture };
}

mountAll("limit", mount);
