// The law of a neuron's weights u in the plane, for infinitely many neurons, and the classifier that it comes with,
// live (Part II). Two classes have the labels 1 and -1 and one output, f(x) = gamma w^T E[a tanh(u^T x)], with
// lambda = 1/beta; the equations are those of ncbook/theory/mean_field/limit.py. With one output the law depends on w
// by G = gamma^2 |w|^2 alone: for a given G its residual R is unique, and w is stationary at one gamma. So all
// stationary points with w != 0 are one curve, gamma(G), which begins at gamma_c for G = 0. They are minima where it
// rises: in w the least free energy falls where gamma > gamma(G).
import { COLOURS, Picture, Said, dot, grid, lines, make, mountAll, number, slider, spot, stroke } from "./live.js";

// Solve A x = b for a symmetric A of a few rows, which need not be definite.
function solved(A, b) {
  const size = b.length;
  const rows = A.map((row, i) => [...row, b[i]]);
  for (let k = 0; k < size; k += 1) {
    let best = k;
    for (let i = k + 1; i < size; i += 1) if (Math.abs(rows[i][k]) > Math.abs(rows[best][k])) best = i;
    [rows[k], rows[best]] = [rows[best], rows[k]];
    for (let i = k + 1; i < size; i += 1) {
      const share = rows[i][k] / rows[k][k];
      for (let j = k; j <= size; j += 1) rows[i][j] -= share * rows[k][j];
    }
  }
  for (let k = size - 1; k >= 0; k -= 1) {
    for (let j = k + 1; j < size; j += 1) rows[k][size] -= rows[k][j] * rows[j][size];
    rows[k][size] /= rows[k][k];
  }
  return rows.map((row) => row[size]);
}

// Data in the plane, with sums over a grid of u by the trapezoidal rule. The law is even in u, as tanh is odd: of the
// grid one half is summed, and its middle has half the weight.
export class Limit {
  constructor(samples, labels, points = 81, reach = 10) {
    Object.assign(this, { samples, labels, points, reach, n: labels.length });
    const half = (points * points + 1) / 2; // an odd number of points along each axis
    Object.assign(this, { half, hidden: new Float64Array(half * this.n), squares: new Float64Array(half), pulls: new Float64Array(half), law: new Float64Array(half) });
    this.cell = (2 * reach) / (points - 1);
    for (let g = 0; g < half; g += 1) {
      const [u, v] = this.place(g);
      this.squares[g] = (u * u + v * v) / 2;
      samples.forEach(([x, y], i) => (this.hidden[g * this.n + i] = Math.tanh(u * x + v * y)));
    }
  }

  place(g) {
    return [Math.floor(g / this.points), g % this.points].map((k) => k * this.cell - this.reach);
  }

  // For R, G and beta: the law, its log integral, the mean of |u|^2, the kernel K, and the covariances of the
  // derivatives in R and G of G (R sigma)^2 / 2, which are G (R sigma) sigma_i and (R sigma)^2 / 2, the former over G.
  moments(R, G, beta) {
    const { n, half, hidden, squares, pulls, law } = this;
    const scale = ((beta / n) ** 2 * G) / 2;
    let top = -Infinity;
    for (let g = 0; g < half; g += 1) {
      let pull = 0;
      for (let i = 0; i < n; i += 1) pull += R[i] * hidden[g * n + i];
      pulls[g] = pull;
      law[g] = scale * pull * pull - squares[g];
      if (law[g] > top) top = law[g];
    }
    const [sums, pulled] = [new Float64Array(n * n), new Float64Array(n * n)]; // of sigma_i sigma_j, and times (R sigma)^2
    const cubes = new Float64Array(n);
    let [total, length, second, fourth] = [0, 0, 0, 0];
    for (let g = 0; g < half; g += 1) {
      const p = Math.exp(law[g] - top) * (g === half - 1 ? 1 : 2);
      law[g] = p;
      if (p < 1e-20) continue;
      const square = pulls[g] * pulls[g];
      const more = p * square;
      total += p;
      length += p * squares[g];
      second += more;
      fourth += more * square;
      for (let i = 0, at = g * n; i < n; i += 1) {
        const one = hidden[at + i];
        cubes[i] += more * pulls[g] * one;
        for (let j = 0; j <= i; j += 1) {
          const product = one * hidden[at + j];
          sums[i * n + j] += p * product;
          pulled[i * n + j] += more * product;
        }
      }
    }
    for (let g = 0; g < half; g += 1) law[g] /= total * (g === half - 1 ? 1 : 2);
    const kernel = grid(n, (i, j) => sums[Math.max(i, j) * n + Math.min(i, j)] / total);
    const mean = [...kernel.map((row) => dot(row, R)), second / total / 2];
    const cov = grid(n + 1, (i, j) => {
      const [most, least] = [Math.max(i, j), Math.min(i, j)];
      const product = most < n ? pulled[most * n + least] : least < n ? cubes[least] / 2 : fourth / 4;
      return product / total - mean[i] * mean[j];
    });
    return { kernel, mean, cov, length: (2 * length) / total, logIntegral: top + Math.log(total) + 2 * Math.log(this.cell) };
  }

  // Newton's method from R and G: for R at this G, or for R and G at a given gamma. Near its end each step squares the
  // error; `fine` stops where only rounding is left. Gives NaN as G where it does not converge.
  solve({ R, G }, beta, gamma = null, fine = true) {
    const { n, labels } = this;
    const scale = (beta / n) ** 2;
    const size = gamma === null ? n : n + 1;
    let found = [...R, G];
    let best = Infinity;
    for (let step = 0; step < 40; step += 1) {
      const [at, g] = [found.slice(0, n), found[n]];
      const m = this.moments(at, g, beta);
      const slope = Array.from({ length: size }, (_, i) => (i < n ? -(beta / n) * (labels[i] + at[i]) - scale * g * m.mean[i] : 0.5 / gamma ** 2 - scale * m.mean[n]));
      const worst = Math.max(...slope.map((x, i) => Math.abs(x) * (i < n ? n / beta : 2 * gamma ** 2)));
      if (fine ? worst < 1e-10 && !(worst < best / 2) : worst < 1e-4) return this.told(at, g, beta, gamma ?? 1 / Math.sqrt(2 * scale * m.mean[n]), m);
      best = Math.min(best, worst);
      const by = (k) => (k < n ? g : 1);
      const hessian = grid(size, (i, j) => {
        const second = Math.max(i, j) < n ? g * m.kernel[i][j] : Math.min(i, j) < n ? m.mean[Math.min(i, j)] : 0;
        return -scale * (second + scale * by(i) * by(j) * m.cov[i][j]) - (i === j && i < n ? beta / n : 0);
      });
      const move = solved(hessian, slope);
      found = found.map((x, i) => (i < size ? x - move[i] : x));
      if (!(found[n] >= 0)) break;
    }
    return { R, G: NaN, gamma: NaN };
  }

  // What follows from a stationary point. The energy is beta times the free energy, without the integral over a.
  told(R, G, beta, gamma, { kernel, cov, length, logIntegral }) {
    const { n, labels } = this;
    const dual = R.reduce((sum, r, i) => sum - (beta / n) * (labels[i] * r + (r * r) / 2), -logIntegral);
    const outputs = R.map((r, i) => r + labels[i]);
    const average = (of) => outputs.reduce((sum, f, i) => sum + (of(i) ? f : 0), 0) / labels.filter((_, i) => of(i)).length;
    const means = labels.map((label) => average((i) => labels[i] === label));
    const whole = average(() => true);
    const within = outputs.reduce((sum, f, i) => sum + (f - means[i]) ** 2, 0);
    const nc1 = within / (within + means.reduce((sum, mean) => sum + (mean - whole) ** 2, 0)); // H is along w
    const loss = dot(R, R) / (2 * n);
    return { R, G, gamma, norm: Math.sqrt(G) / gamma, energy: dual + G / (2 * gamma ** 2), loss, nc1, length, kernel, cov, law: this.law.slice() };
  }

  // Without a classifier R = -Y, and u is normal. There gamma is gamma_c, above which w = 0 is no minimum.
  none(beta) {
    return this.solve({ R: this.labels.map((y) => -y), G: 0 }, beta);
  }

  // The temperature below which gamma(G) falls at first: then a classifier is a minimum before w = 0 ceases to be one.
  jumps() {
    const { kernel, cov } = this.none(1);
    const pulled = kernel.map((row) => dot(row, this.labels));
    return cov[this.n][this.n] / (this.n * dot(pulled, pulled));
  }

  // The curve of all stationary points with w != 0, roughly, from G = 0 on.
  branch(beta, many = 36) {
    const found = [this.none(beta)];
    for (let i = 0; i < many; i += 1) {
      const [before, last] = [found.at(i > 1 ? -2 : -1), found.at(-1)];
      const R = last.R.map((r, k) => 2 * r - before.R[k]); // as G grows by a factor
      const one = this.solve({ R, G: 10 ** (-2 + (6 * i) / (many - 1)) / beta }, beta, null, false);
      if (one.G > 0) found.push(one);
    }
    return found;
  }

  // The minimum with a classifier at a gamma, from where a branch that may be rough comes to it; null without one.
  minimum(branch, beta, gamma) {
    for (let i = branch.length - 1; i > 0; i -= 1) {
      const [below, above] = [branch[i - 1], branch[i]];
      if (!(below.gamma < gamma && gamma <= above.gamma)) continue;
      const G = below.G + ((above.G - below.G) * (gamma - below.gamma)) / (above.gamma - below.gamma);
      const one = this.solve({ R: above.R, G }, beta, gamma);
      return one.G > 0 ? one : null;
    }
    return null;
  }
}

// Three samples of each class on the unit circle; angles in degrees.
export function twoClasses(between, width) {
  const angles = [-width, 0, width].map((x) => ((between / 2 + x) * Math.PI) / 180);
  const samples = [...angles, ...angles.map((x) => -x)].map((x) => [Math.cos(x), Math.sin(x)]);
  return { samples, labels: [1, 1, 1, -1, -1, -1] };
}

// ---------------------------------------------------------------- the picture

const VIEW = 5; // of u, to each side
const SIGNS = COLOURS.slice(0, 2).map((one) => [1, 3, 5].map((k) => parseInt(one.slice(k, k + 2), 16)));
const [COLD, LEAST, MOST] = [-2, -2, 1]; // log10 of the temperature, and of gamma at both ends

export function mount(box, { temperature = -0.5, gamma = 0.1, between = 120, width = 24 } = {}) {
  const said = new Said();
  const plane = new Picture({ width: 300, height: 300, label: "", paint: paintPlane });
  const chart = new Picture({ width: 320, height: 300, label: "", paint: paintChart });
  const small = (x) => number(10 ** x, 3);
  const degrees = (x) => `${x}°`;
  const controls = {
    temperature: slider("temperature 1/β", { min: COLD, max: 0, step: 0.02, value: temperature, says: small }, cooled),
    gamma: slider("factor γ", { min: LEAST, max: MOST, step: 0.01, value: gamma, says: small }, refresh),
    between: slider("angle between", { min: 100, max: 180, step: 2, value: between, says: degrees }, moved),
    width: slider("half a class", { min: 0, max: 30, value: width, says: degrees }, moved),
  };
  const image = document.createElement("canvas");
  let fine, rough, jumps, branch, none, classifier, shown;

  function moved() {
    const { samples, labels } = twoClasses(controls.between.value, controls.width.value);
    fine = new Limit(samples, labels);
    rough = new Limit(samples, labels, 33, 8);
    jumps = rough.jumps();
    cooled();
  }

  const beta = () => 10 ** -controls.temperature.value;

  function cooled() {
    branch = rough.branch(beta());
    none = fine.none(beta());
    refresh();
  }

  function refresh() {
    const now = 10 ** controls.gamma.value;
    classifier = fine.minimum(branch, beta(), now);
    shown = classifier && classifier.energy < none.energy ? classifier : none;
    drawLaw();
    plane.draw();
    chart.draw();
    tell(now);
  }

  function tell(now) {
    let words = `The critical γ is ${number(none.gamma, 3)}; below the temperature ${number(jumps, 3)} a classifier comes before it, with a jump. At γ = ${number(now, 3)} `;
    if (shown === none) words += "the least free energy has w = 0: no classifier, and u is normal. ";
    else words += `‖w‖ = ${number(shown.norm)}, NC1 = ${number(shown.nc1)}, data loss ${number(shown.loss)}, of ½ without classifier; mean ‖u‖² ${number(shown.length, 3)}, of 2. `;
    if (shown !== none && now < none.gamma) words += "w = 0 is a local minimum, too.";
    if (shown === none && classifier) words += `‖w‖ = ${number(classifier.norm)} is a local minimum, too.`;
    words = words.trim();
    said.say(words, false);
    plane.label = `The density of a neuron's weights u in the plane, with the samples. ${words}`;
    chart.label = `The norm of the classifier w against γ, on a logarithmic axis. ${words}`;
  }

  // A pixel for each u of the grid that is in view: as opaque as the law is dense, grey where the mean of a along w is
  // within its noise, else in the colour of its sign.
  function drawLaw() {
    const { points, n, hidden, cell } = fine;
    const inner = 2 * Math.round(VIEW / cell) + 1;
    const edge = (points - inner) / 2;
    const pixels = new ImageData(inner, inner);
    const most = shown.law.reduce((a, b) => Math.max(a, b));
    for (let col = 0; col < inner; col += 1) {
      for (let row = 0; row < inner; row += 1) {
        const at = (col + edge) * points + row + edge;
        const g = Math.min(at, points * points - 1 - at); // the law is even
        let mean = 0;
        for (let i = 0; i < n; i += 1) mean -= (beta() / n) * Math.sqrt(shown.G) * shown.R[i] * hidden[g * n + i];
        if (g !== at) mean = -mean;
        const share = Math.min(1, Math.abs(mean));
        const place = 4 * ((inner - 1 - row) * inner + col);
        SIGNS[mean > 0 ? 0 : 1].forEach((colour, k) => (pixels.data[place + k] = 128 + share * (colour - 128)));
        pixels.data[place + 3] = 230 * Math.sqrt(shown.law[g] / most);
      }
    }
    [image.width, image.height] = [inner, inner];
    image.getContext("2d").putImageData(pixels, 0, 0);
  }

  function paintPlane(pen, width, height, colours) {
    const foot = 18;
    const half = Math.min(width, height - foot) / 2;
    const middle = [width / 2, half];
    const unit = (half / VIEW) * (1 - 1 / image.width); // the outermost pixels end half a cell further out
    pen.imageSmoothingQuality = "high";
    pen.drawImage(image, middle[0] - half, middle[1] - half, 2 * half, 2 * half);
    pen.strokeStyle = colours.muted;
    pen.lineWidth = 1;
    pen.strokeRect(middle[0] - half + 0.5, 0.5, 2 * half - 1, 2 * half - 1);
    pen.setLineDash([4, 4]);
    pen.beginPath();
    pen.arc(...middle, Math.SQRT2 * unit, 0, 7);
    pen.stroke();
    pen.setLineDash([]);
    fine.samples.forEach(([x, y], i) => spot(pen, [middle[0] + unit * x, middle[1] - unit * y], colours.ink, fine.labels[i] < 0));
    pen.fillStyle = colours.ink;
    pen.textBaseline = "alphabetic";
    pen.textAlign = "center";
    pen.fillText(`● label 1   ○ label −1   side: ${2 * VIEW}`, middle[0], height - 4);
  }

  function paintChart(pen, width, height, colours) {
    const kinds = branch.slice(1).map((above, i) => {
      if (above.gamma < branch[i].gamma) return "unstable";
      return above.energy < branch[0].energy ? "least" : "local";
    });
    const at = branch.map((one) => Math.log10(one.gamma));
    const part = (kind) => branch.map((one, i) => (kinds[i - 1] === kind || kinds[i] === kind ? one.norm : NaN));
    const born = Math.min(...at.filter((_, i) => kinds[i] === "least"));
    const critical = Math.log10(none.gamma);
    const looks = { least: { colour: COLOURS[0], dash: [] }, local: { colour: COLOURS[0], dash: [2, 3] }, unstable: { colour: COLOURS[1], dash: [6, 3] } };
    const zero = (kind, from, to) => ({ at: [from, to], values: [0, 0], ...looks[kind] });
    const names = { least: "least free energy", local: "local minimum", unstable: "no minimum" };
    const series = [
      ...Object.keys(looks).map((kind) => ({ name: names[kind], at, values: part(kind), ...looks[kind] })),
      zero("least", LEAST, born), zero("local", born, critical), zero("unstable", critical, MOST),
    ];
    const high = 1.1 * Math.max(0.5, ...branch.map((one) => one.norm));
    const x = { low: LEAST, high: MOST, ticks: [-2, -1, 0, 1].map((one) => [one, String(10 ** one)]), name: "γ" };
    const ticks = [0, 0.5, 1, 2, 3, 4, 5].filter((one) => one < high && (one !== 0.5 || high < 2)).map((one) => [one, String(one)]);
    const { across, up } = lines(pen, width, height, colours, { series, x, y: { low: -0.14 * high, high, ticks, name: "‖w‖" } });
    pen.strokeStyle = pen.fillStyle = colours.muted;
    pen.lineWidth = 1;
    pen.setLineDash([2, 3]);
    stroke(pen, [[across(critical), up(0)], [across(critical), up(high)]]);
    pen.setLineDash([]);
    pen.textAlign = "left";
    pen.fillText("critical γ", across(critical) + 4, up(0.12 * high));
    const place = (one) => [across(controls.gamma.value), up(one.norm)];
    if (classifier && controls.gamma.value < critical) spot(pen, place(shown === none ? classifier : none), COLOURS[0], true);
    spot(pen, place(shown), COLOURS[0]);
  }

  box.append(
    make("div", { className: "ncb-live-pictures" }, plane.canvas, chart.canvas),
    make("div", { className: "ncb-live-controls" }, ...Object.values(controls).map((one) => one.row)),
    said.words, said.spoken,
  );
  moved();
  return { controls, plane, chart, get state() { return { shown, none, classifier, fine, rough }; } };
}

mountAll("law", mount);
