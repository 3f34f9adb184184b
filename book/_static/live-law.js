// The law of a neuron's weights u in the plane, for infinitely many neurons, and the classifier that it comes with,
// live (Part II). Two classes have the labels 1 and -1 and one output, f(x) = gamma w^T E[a tanh(u^T x)], with
// lambda = 1/beta; the equations are those of ncbook/theory/mean_field/limit.py. With one output the law depends on w
// by G = gamma^2 |w|^2 alone: for a given G its residual R is unique, and w is stationary at one gamma. So all
// stationary points with w != 0 are one curve, gamma(G), which begins at gamma_c for G = 0. They are minima where it
// rises: in w the least free energy falls where gamma > gamma(G).
import { COLOURS, Picture, Said, lines, make, mountAll, number, slider, spot, stroke } from "./live.js";

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
    Object.assign(this, { half, hidden: new Float64Array(half * this.n), squares: new Float64Array(half), law: new Float64Array(half) });
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

  // For R, G and beta: the law, its log integral, the kernel K, and means and covariances of the derivatives in R and G
  // of (R sigma)^2 G/2.
  moments(R, G, beta) {
    const { n, half, hidden, squares, law } = this;
    const scale = (beta / n) ** 2;
    let top = -Infinity;
    for (let g = 0; g < half; g += 1) {
      let pull = 0;
      for (let i = 0; i < n; i += 1) pull += R[i] * hidden[g * n + i];
      law[g] = (scale * G * pull * pull) / 2 - squares[g];
      if (law[g] > top) top = law[g];
    }
    const [kernel, cov] = [n, n + 1].map((size) => Array.from({ length: size }, () => new Float64Array(size)));
    const mean = new Float64Array(n + 1);
    const d = new Float64Array(n + 1);
    let [total, length] = [0, 0];
    for (let g = 0; g < half; g += 1) {
      const p = Math.exp(law[g] - top) * (g === half - 1 ? 1 : 2);
      law[g] = p;
      if (p < 1e-20) continue;
      total += p;
      length += p * squares[g];
      let pull = 0;
      for (let i = 0; i < n; i += 1) pull += R[i] * hidden[g * n + i];
      for (let i = 0; i < n; i += 1) d[i] = pull * hidden[g * n + i];
      d[n] = (pull * pull) / 2;
      for (let i = 0; i <= n; i += 1) {
        const one = p * d[i];
        mean[i] += one;
        for (let j = 0; j <= i; j += 1) cov[i][j] += one * d[j];
      }
      for (let i = 0; i < n; i += 1) {
        const one = p * hidden[g * n + i];
        for (let j = 0; j <= i; j += 1) kernel[i][j] += one * hidden[g * n + j];
      }
    }
    for (let g = 0; g < half; g += 1) law[g] /= total * (g === half - 1 ? 1 : 2);
    for (let i = 0; i <= n; i += 1) mean[i] /= total;
    for (let i = 0; i <= n; i += 1) for (let j = 0; j <= i; j += 1) cov[i][j] = cov[j][i] = cov[i][j] / total - mean[i] * mean[j];
    for (let i = 0; i < n; i += 1) for (let j = 0; j <= i; j += 1) kernel[i][j] = kernel[j][i] = kernel[i][j] / total;
    return { kernel, mean, cov, length: (2 * length) / total, logIntegral: top + Math.log(total) + 2 * Math.log(this.cell) };
  }

  // Newton's method for R at a given G, or for R and G at a given gamma. Gives NaN as G where it does not converge.
  solve({ R, G }, beta, gamma = null) {
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
      // Near the end each step squares the error: stop where only rounding is left.
      if (worst < 1e-10 && !(worst < best / 2)) {
        const product = 2 * m.mean[n]; // R K R^T
        return { R: at, G: g, gamma: gamma ?? 1 / Math.sqrt(scale * product), ...m };
      }
      best = Math.min(best, worst);
      const hessian = Array.from({ length: size }, (_, i) => Array.from({ length: size }, (__, j) => {
        const by = (k) => (k < n ? g : 1);
        let entry = -scale * scale * by(i) * by(j) * m.cov[i][j];
        if (i < n && j < n) entry -= scale * g * m.kernel[i][j] + (i === j ? beta / n : 0);
        else if (i < n || j < n) entry -= scale * m.mean[Math.min(i, j)];
        return entry;
      }));
      const move = solved(hessian, slope);
      found = found.map((x, i) => (i < size ? x - move[i] : x));
      if (!(found[n] >= 0)) break;
    }
    return { R, G: NaN, gamma: NaN };
  }

  // Without a classifier R = -Y and u is normal; there w = 0 becomes unstable at gamma_c.
  none(beta) {
    return this.solve({ R: this.labels.map((y) => -y), G: 0 }, beta);
  }
}
