// What the live pictures share: a canvas that fits its box, the page's colours, a clock, controls,
// a view that turns, a chart. Each picture is a file live-<name>.js, which imports this one, computes
// its model by itself and mounts where the page has <div data-live="name">.

export const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#a67c00", "#8a63d2"];
export const DASHES = [[], [6, 2], [2, 2], [6, 2, 2, 2], [10, 3], [1, 3]];
// ---------------------------------------------------------------- elements

export function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

export function button(words, pressed) {
  return make("button", { type: "button", onclick: pressed }, words);
}

let names = 0;

// A slider with its name before it and its value behind it. `says` turns the number into words.
export function slider(words, { min, max, step = 1, value, says = String }, changed) {
  const id = `ncb-live-${(names += 1)}`;
  const input = make("input", { type: "range", id, min, max, step, value });
  const output = make("output", { htmlFor: id, ariaLive: "off" }); // the slider itself is spoken
  const say = () => {
    output.textContent = says(Number(input.value));
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", () => {
    say();
    changed(Number(input.value));
  });
  say();
  const row = make("span", { className: "ncb-live-row" }, make("label", { htmlFor: id }, words), input, output);
  return {
    row,
    get value() {
      return Number(input.value);
    },
    set(value) {
      input.value = value;
      say();
    },
  };
}

// A list to choose from, with its name before it.
export function choice(words, options, changed) {
  const id = `ncb-live-${(names += 1)}`;
  const list = make("select", { id });
  const offer = (those, chosen = 0) => {
    list.replaceChildren(...those.map((one) => make("option", { value: one }, one)));
    list.selectedIndex = chosen;
  };
  list.addEventListener("change", changed);
  offer(options);
  return { list, offer, row: make("span", { className: "ncb-live-row" }, make("label", { htmlFor: id }, words), list) };
}

// A number as people read it: 2.5, 0.03, 4.1 · 10⁻⁷.
export function number(value, digits = 2) {
  if (value === 0) return "0";
  if (!Number.isFinite(value)) return "not finite";
  const [digit, raised] = value.toExponential(digits - 1).split("e");
  const exponent = Number(raised);
  if (exponent >= -2 && exponent < 4) return Number(value.toPrecision(digits)).toString();
  return `${digit} · ${power(exponent)}`;
}

export const power = (exponent) => `10${String(exponent).replace(/[-\d]/g, (c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]))}`;

// Standard normal numbers from a seed (mulberry32, then Box and Muller).
export function normals(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (((mixed ^ (mixed >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

// ---------------------------------------------------------------- small matrices

export const grid = (size, of) => Array.from({ length: size }, (_, k) => Array.from({ length: size }, (__, l) => of(k, l)));
export const dot = (one, other) => one.reduce((sum, x, j) => sum + x * other[j], 0);

// Eigenvalues, largest first, and eigenvectors of a symmetric matrix, by Jacobi's rotations.
export function eigen(matrix) {
  const size = matrix.length;
  const A = matrix.map((row) => [...row]);
  const V = grid(size, (k, l) => (k === l ? 1 : 0)); // rows are the vectors
  for (let sweep = 0; sweep < 30; sweep += 1) {
    let off = 0;
    for (let k = 0; k < size; k += 1) for (let l = 0; l < k; l += 1) off += A[k][l] ** 2;
    if (off < 1e-300) break;
    for (let k = 0; k < size; k += 1) {
      for (let l = k + 1; l < size; l += 1) {
        if (A[k][l] === 0) continue;
        const theta = (A[l][l] - A[k][k]) / (2 * A[k][l]);
        const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1));
        const c = 1 / Math.hypot(t, 1);
        const s = t * c;
        for (let m = 0; m < size; m += 1) [A[m][k], A[m][l]] = [c * A[m][k] - s * A[m][l], s * A[m][k] + c * A[m][l]];
        for (let m = 0; m < size; m += 1) [A[k][m], A[l][m]] = [c * A[k][m] - s * A[l][m], s * A[k][m] + c * A[l][m]];
        for (let m = 0; m < size; m += 1) [V[k][m], V[l][m]] = [c * V[k][m] - s * V[l][m], s * V[k][m] + c * V[l][m]];
      }
    }
  }
  const order = A.map((_, k) => k).sort((k, l) => A[l][l] - A[k][k]);
  return { values: order.map((k) => A[k][k]), vectors: order.map((k) => V[k]) };
}

// ---------------------------------------------------------------- a canvas

// A picture that is painted again when its size or the page's theme changes, or when asked.
// `paint(pen, width, height, colours)` draws in pixels of the page. A picture that does not take the
// pointer is told by `label`, which may be changed at any time.
export class Picture {
  constructor({ width, height, paint, label }) {
    this.canvas = make("canvas", { role: "img", "aria-label": label, className: "ncb-live-canvas" });
    this.canvas.style.cssText = `flex:1 1 ${width}px;min-width:0;height:${height}px`;
    this.height = height;
    this.paint = paint;
    this.asked = 0;
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    window.addEventListener("resize", () => this.draw()); // a zoom may leave the size as it is
    new MutationObserver(() => {
      this.colours = null;
      this.draw();
    }).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  get width() {
    return this.canvas.clientWidth;
  }

  set label(words) {
    this.canvas.setAttribute("aria-label", words);
  }

  draw() {
    if (!this.asked) this.asked = requestAnimationFrame(() => this.now());
  }

  now() {
    this.asked = 0;
    const { canvas, height } = this;
    const width = canvas.clientWidth;
    if (!width) return;
    const dense = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * dense) || canvas.height !== Math.round(height * dense)) {
      [canvas.width, canvas.height] = [Math.round(width * dense), Math.round(height * dense)];
    }
    if (!this.colours) {
      const style = getComputedStyle(canvas);
      const muted = style.getPropertyValue("--pst-color-text-muted").trim() || style.color;
      const ground = style.getPropertyValue("--pst-color-background").trim() || "#fff";
      this.colours = { ink: style.color, muted, ground, family: style.fontFamily };
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.font = `12px ${this.colours.family}`;
    this.paint(pen, width, height, this.colours);
  }
}

// ---------------------------------------------------------------- time

// Calls `tick(milliseconds)` on each frame while it runs and its box is seen.
export class Clock {
  constructor(box, tick, changed = () => {}) {
    Object.assign(this, { tick, changed, running: false, seen: true, asked: 0, last: 0 });
    new IntersectionObserver((entries) => {
      this.seen = entries.at(-1).isIntersecting;
      this.ask();
    }).observe(box);
  }

  play() {
    this.running = true;
    this.last = 0;
    this.changed(true);
    this.ask();
  }

  pause() {
    if (!this.running) return;
    this.running = false;
    this.changed(false);
  }

  ask() {
    if (this.asked || !this.running || !this.seen) return;
    this.asked = requestAnimationFrame((now) => {
      this.asked = 0;
      if (!this.running) return;
      const passed = this.last ? Math.min(now - this.last, 100) : 16;
      this.last = now;
      this.tick(passed);
      this.ask();
    });
  }
}

// ---------------------------------------------------------------- space

// Where a place in space is on the picture, and how near to the eye; as scene.js and scene.py do it.
export function project([x, y, z], [azimuth, elevation], half, middle) {
  const [ca, sa, ce, se] = [Math.cos(azimuth), Math.sin(azimuth), Math.cos(elevation), Math.sin(elevation)];
  const flat = ca * x + sa * y;
  return [middle[0] + half * (ca * y - sa * x), middle[1] - half * (ce * z - se * flat), ce * flat + se * z];
}

// Follow a pointer from where it is pressed: `begin(place)` says whether it has got hold of something, then
// `move(place, from)` is told where it goes. A finger that holds nothing scrolls the page.
export function dragging(canvas, begin, move, holds = true) {
  const place = (event) => {
    const { left, top } = canvas.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  };
  const hold = (event) => begin(place(event.touches[0])) && event.preventDefault();
  if (holds) canvas.addEventListener("touchstart", hold, { passive: false });
  canvas.addEventListener("pointerdown", (down) => {
    if (down.button || !begin(place(down))) return;
    canvas.setPointerCapture(down.pointerId);
    let last = place(down);
    const follow = (event) => {
      move(place(event), last);
      last = place(event);
    };
    const up = () => {
      canvas.removeEventListener("pointermove", follow);
      for (const end of ["pointerup", "pointercancel"]) canvas.removeEventListener(end, up);
    };
    canvas.addEventListener("pointermove", follow);
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, up);
  });
}

// Let the mouse turn a picture's view, and give buttons that do the same.
export function turning(picture, view) {
  const by = (azimuth, elevation) => {
    view[0] += azimuth;
    view[1] = Math.max(-Math.PI / 2, Math.min(Math.PI / 2, view[1] + elevation));
    picture.draw();
  };
  const { canvas } = picture;
  canvas.style.cursor = "grab";
  canvas.style.touchAction = "pan-y"; // a finger turns it sideways, and scrolls the page
  dragging(canvas, () => true, ([x, y], [before, above]) => by((before - x) / 120, (y - above) / 120), false);
  const turn = (words, label, ...angles) => {
    const one = button(words, () => by(...angles));
    one.setAttribute("aria-label", label);
    return one;
  };
  const step = Math.PI / 18;
  return make(
    "span",
    { className: "ncb-live-turn" },
    turn("←", "turn to the left", step, 0),
    turn("→", "turn to the right", -step, 0),
    turn("↑", "turn up", 0, step),
    turn("↓", "turn down", 0, -step),
  );
}

// ---------------------------------------------------------------- a chart

// Lines with a legend and two axes. `series` has {name, at, values, colour, dash}: a line without a name is
// not in the legend, and one that is not finite somewhere has a gap there. An axis has {low, high, ticks, name};
// ticks are [place, words], y.log makes it logarithmic. Returns where places are, for marks.
export function lines(pen, width, height, colours, { series, x, y }) {
  const [left, right, foot] = [44, 8, 22];
  pen.textBaseline = "middle";
  // The legend, in as many rows as it takes.
  let [place, row] = [left, 9];
  const look = ({ colour, dash }, i) => {
    pen.strokeStyle = colour || COLOURS[i];
    pen.lineWidth = 2;
    pen.setLineDash(dash || DASHES[i]);
  };
  series.forEach((one, i) => {
    if (!one.name) return;
    const wide = 26 + pen.measureText(one.name).width + 14;
    if (place + wide > width - right && place > left) [place, row] = [left, row + 16];
    look(one, i);
    stroke(pen, [[place, row], [place + 22, row]]);
    pen.setLineDash([]);
    pen.fillStyle = colours.ink;
    pen.textAlign = "left";
    pen.fillText(one.name, place + 26, row);
    place += wide;
  });
  const top = row + 16;
  const scale = y.log ? (value) => Math.log10(Math.max(value, 1e-300)) : (value) => value;
  const across = (value) => left + ((width - left - right) * (value - x.low)) / (x.high - x.low);
  const up = (value) => top + ((height - foot - top) * (scale(y.high) - scale(value))) / (scale(y.high) - scale(y.low));
  pen.lineWidth = 1;
  for (const [value, words] of y.ticks) {
    pen.strokeStyle = colours.muted;
    pen.globalAlpha = 0.3;
    stroke(pen, [[left, up(value)], [width - right, up(value)]]);
    pen.globalAlpha = 1;
    pen.fillStyle = colours.muted;
    pen.textAlign = "right";
    pen.fillText(words, left - 5, up(value));
  }
  pen.fillStyle = colours.muted;
  for (const [value, words] of x.ticks) {
    pen.textAlign = across(value) < left + 20 ? "left" : across(value) > width - right - 20 ? "right" : "center";
    pen.fillText(words, across(value), height - foot + 10);
  }
  if (y.name) {
    pen.textAlign = "left";
    pen.fillText(y.name, left + 4, top + 8);
  }
  if (x.name) {
    pen.textAlign = "right";
    pen.fillText(x.name, width - right - 2, height - foot - 8);
  }
  pen.save();
  pen.beginPath();
  pen.rect(left, top - 2, width - left - right, height - foot - top + 4);
  pen.clip();
  series.forEach((one, i) => {
    look(one, i);
    const last = one.at.length - 1;
    const every = Math.max(1, Math.floor(last / (2 * width)));
    let shown = [];
    one.at.forEach((at, n) => {
      if (n % every && n < last) return;
      if (Number.isFinite(one.values[n])) return void shown.push([across(at), up(one.values[n])]);
      stroke(pen, shown);
      shown = [];
    });
    stroke(pen, shown);
  });
  pen.restore();
  pen.setLineDash([]);
  return { across, up };
}

// The even powers of ten between two exponents, as ticks.
export function decades(low, high) {
  const found = [];
  for (let at = 2 * Math.ceil(low / 2); at <= high; at += 2) found.push([10 ** at, power(at)]);
  return found;
}

export function spot(pen, [x, y], colour, open = false) {
  pen.beginPath();
  pen.arc(x, y, 5, 0, 7);
  pen.fillStyle = pen.strokeStyle = colour;
  pen.lineWidth = 2;
  if (open) pen.stroke();
  else pen.fill();
}

export function stroke(pen, places) {
  if (!places.length) return;
  pen.beginPath();
  places.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  pen.stroke();
}

// ---------------------------------------------------------------- the page

// Words about the state: always to be read, spoken only while nothing moves.
export class Said {
  constructor() {
    this.words = make("p", { className: "ncb-live-said" });
    this.spoken = make("p", { className: "ncb-live-spoken", role: "status" });
  }

  say(words, moving) {
    this.words.textContent = words;
    clearTimeout(this.later);
    // Only where it comes to rest: a slider that is held down would be spoken at each step.
    if (!moving) this.later = setTimeout(() => (this.spoken.textContent = words), 400);
  }
}

// Mount a live picture in each place of its name. The still beside it stays for paper.
export function mountAll(name, mount) {
  for (const box of document.querySelectorAll(`[data-live="${name}"]:not([data-mounted])`)) {
    box.dataset.mounted = "";
    box.ncbLive = mount(box, JSON.parse(box.dataset.start || "{}"));
  }
}
