// NC1 to NC4 of features that a reader pastes or drops: computed in the page, nothing leaves it. The
// definitions are those of ncbook.metrics with each class counted once.
import { COLOURS, Picture, Said, button, dot, eigen, grid, make, mountAll, number, project, turning } from "./live.js";

// ---------------------------------------------------------------- reading

// Rows of numbers with a label each: in the column named label, class, target or y, else in the last.
export function read(text) {
  const lines = text.split(/\r?\n/).map((line) => line.trim()).filter((line) => line && !line.startsWith("#"));
  if (!lines.length) throw new Error("There is no row: paste a row for each example, its numbers and its label.");
  const mark = [";", "\t", ","].find((one) => lines[0].includes(one));
  const plain = (part) => {
    const word = part.trim().replace(/^"(.*)"$/, "$1");
    return mark === ";" && /^[-+\d.]*,[\d eE+-]+$/.test(word) ? word.replace(",", ".") : word; // a decimal comma
  };
  const parts = (line) => (mark ? line.split(mark) : line.split(/\s+/)).map(plain).filter((part) => part !== "");
  const numeric = (word) => word !== "" && Number.isFinite(Number(word));
  const first = parts(lines[0]);
  const known = ["label", "class", "target"];
  const words = first.map((word) => word.toLowerCase());
  const head = first.slice(0, -1).some((word) => !numeric(word)) || known.includes(words.at(-1)) ? words : null;
  const named = known.find((word) => head?.includes(word));
  const at = named ? head.indexOf(named) : first.length - 1;
  const [labels, features] = [[], []];
  lines.slice(head ? 1 : 0).forEach((line, i) => {
    const row = parts(line);
    const where = `Row ${i + 1}`;
    if (row.length !== first.length) throw new Error(`${where} has ${row.length} entries, and the first one has ${first.length}.`);
    const rest = row.filter((_, j) => j !== at);
    const wrong = rest.find((word) => !numeric(word));
    if (wrong !== undefined) throw new Error(`${where} has ${JSON.stringify(wrong)} where a number is expected.`);
    labels.push(row[at]);
    features.push(Float64Array.from(rest, Number));
  });
  if (!features.length || !features[0].length) throw new Error("There are no numbers beside the labels.");
  const names = [...new Set(labels)].sort((a, b) => (numeric(a) && numeric(b) ? a - b : a < b ? -1 : 1));
  return { features, names, labels: labels.map((label) => names.indexOf(label)) };
}

// A classifier, a row a class in the order of the classes: weights, and a bias where there is a number more.
export function readClassifier(text, K, D) {
  const rows = text.split(/\r?\n/).map((line) => line.trim()).filter(Boolean).map((line) => line.split(/[,;\t]|\s+/).filter(Boolean).map(Number));
  if (!rows.length) return null;
  if (rows.length !== K || rows.some((row) => ![D, D + 1].includes(row.length) || row.length !== rows[0].length || !row.every(Number.isFinite))) {
    throw new Error(`The classifier has ${rows.length} rows of ${rows[0].length}: expected ${K} rows of ${D} numbers, or of ${D + 1} with a bias at the end.`);
  }
  return { W: rows.map((row) => row.slice(0, D)), b: rows.map((row) => (row.length > D ? row[D] : 0)) };
}

// ---------------------------------------------------------------- the measures

const square = (row) => row.reduce((sum, x) => sum + x * x, 0);
const less = (one, other) => one.map((x, j) => x - other[j]);
const mean = (values) => values.reduce((sum, x) => sum + x, 0) / values.length;
const deviation = (values) => {
  const middle = mean(values);
  return Math.sqrt(mean(values.map((x) => (x - middle) ** 2)));
};

function average(rows, D) {
  const sum = new Float64Array(D);
  for (const row of rows) for (let j = 0; j < D; j += 1) sum[j] += row[j];
  return sum.map((x) => x / rows.length);
}

// Unequal lengths, unequal angles and angles off the largest of some vectors.
function nc2(rows) {
  const K = rows.length;
  const lengths = rows.map((row) => Math.sqrt(square(row)));
  const cosines = rows.flatMap((one, k) => rows.filter((_, l) => l !== k).map((other) => dot(one, other) / Math.sqrt(square(one) * square(other))));
  return [deviation(lengths) / mean(lengths), deviation(cosines), mean(cosines.map((x) => Math.abs(x + 1 / (K - 1))))];
}

const unit = (rows) => {
  const norm = Math.sqrt(rows.reduce((sum, row) => sum + square(row), 0));
  return rows.map((row) => row.map((x) => x / norm));
};

// Directions in which the class means differ, with the singular values of the centred means over sqrt(K).
function spread(centred) {
  const K = centred.length;
  const { values, vectors } = eigen(grid(K, (k, l) => dot(centred[k], centred[l]) / K));
  return values.slice(0, K - 1).map((value, i) => {
    const way = centred[0].map((_, j) => vectors[i].reduce((sum, x, k) => sum + x * centred[k][j], 0) / Math.sqrt(K));
    return { value, way: way.map((x) => x / Math.sqrt(value)) };
  }).filter(({ value }) => value > 1e-14 * values[0]);
}

export function measure({ features, labels, names }, classifier = null) {
  const [n, D, K] = [features.length, features[0].length, names.length];
  if (K < 2) throw new Error("All rows have one label: expected at least two classes.");
  if (K > 200 || (K > 20 && 2 * K > n)) {
    throw new Error(`There are ${K} different labels in ${n} rows: is the label in another column? Name it "label" in a first row.`);
  }
  const of = names.map((_, k) => features.filter((_x, i) => labels[i] === k));
  const means = of.map((rows) => average(rows, D));
  const centre = average(means, D);
  const centred = means.map((row) => less(row, centre));
  const apart = features.map((row, i) => less(row, means[labels[i]]));
  const within = apart.map(square);
  const variances = names.map((_, k) => mean(within.filter((_x, i) => labels[i] === k)));
  const all = within.reduce((a, b) => a + b, 0);
  const overall = average(features, D);
  const directions = spread(centred);
  const papyan = directions.reduce((sum, { value, way }) => sum + apart.reduce((more, row) => more + dot(row, way) ** 2, 0) / value, 0) / (n * K);
  const cosines = grid(K, (k, l) => dot(means[k], means[l]) / Math.sqrt(square(means[k]) * square(means[l])));
  const flat = Math.sqrt(cosines.flat().reduce((sum, x) => sum + x * x, 0));
  const orthogonal = Math.sqrt(cosines.flatMap((row, k) => row.map((x, l) => (x / flat - (k === l ? 1 / Math.sqrt(K) : 0)) ** 2)).reduce((a, b) => a + b, 0));
  const found = {
    "nc1.papyan": directions.length ? papyan : all / 0,
    "nc1.min-zhu-vidal": variances.reduce((a, b) => a + b, 0) / centred.reduce((sum, row) => sum + square(row), 0),
    "nc1.wu-mondelli": all / (all + means.reduce((sum, row, k) => sum + of[k].length * square(less(row, overall)), 0)),
  };
  const unequal = nc2(centred);
  ["equinorm", "equiangularity", "max-angle"].forEach((name, i) => (found[`nc2.${name}.means`] = unequal[i]));
  found["nc2.min-zhu-vidal"] = orthogonal;
  if (classifier) {
    const [one, other] = [unit(classifier.W), unit(centred)];
    found["nc3.papyan"] = one.reduce((sum, row, k) => sum + square(less(row, other[k])), 0);
    const first = (values) => values.indexOf(Math.max(...values));
    const differ = features.filter((row) => {
      const decides = first(classifier.W.map((w, k) => dot(w, row) + classifier.b[k]));
      return decides !== first(means.map((at) => -square(less(row, at))));
    });
    found["nc4.papyan"] = differ.length / n;
  }
  return { measures: found, n, D, K, centred, apart, directions };
}

// ---------------------------------------------------------------- the page

const TITLES = {
  "nc1.papyan": "NC1, Papyan, Han, Donoho: tr(Σ_W Σ_B⁺)/K",
  "nc1.min-zhu-vidal": "NC1, Min, Zhu, Vidal: variances over the spread of the means",
  "nc1.wu-mondelli": "NC1, Wu, Mondelli: within-class share of the variance",
  "nc2.equinorm.means": "NC2: unequal lengths of the centred means",
  "nc2.equiangularity.means": "NC2: unequal angles",
  "nc2.max-angle.means": "NC2: angles off the largest",
  "nc2.min-zhu-vidal": "NC2, Min, Zhu, Vidal: means off an orthogonal frame",
  "nc3.papyan": "NC3: classifier and centred means, each at norm 1, squared distance",
  "nc4.papyan": "NC4: share decided otherwise than by the nearest mean",
};
const SHOWN = 1000; // examples in the picture

// Three classes around a triangle, as an example of the form.
export function example() {
  const rows = ["x,y,label"];
  [["cat", 90], ["dog", 210], ["cow", 330]].forEach(([name, at]) => {
    for (let i = 0; i < 12; i += 1) {
      const [r, turn] = [0.25 * ((i % 4) / 3), (i * 137.5 * Math.PI) / 180];
      const [x, y] = [Math.cos((at * Math.PI) / 180) + r * Math.cos(turn), Math.sin((at * Math.PI) / 180) + r * Math.sin(turn)];
      rows.push(`${x.toFixed(3)},${y.toFixed(3)},${name}`);
    }
  });
  return rows.join("\n");
}

export function mount(box) {
  let [found, data, later] = [null, null, 0];
  const view = [0.6, 0.4];
  const said = new Said();
  const picture = new Picture({ width: 280, height: 280, label: "No features yet.", paint });
  const area = (words, rows, value, hint) => {
    const text = make("textarea", { rows, value, spellcheck: false, placeholder: hint });
    text.setAttribute("aria-label", words);
    text.addEventListener("input", () => {
      clearTimeout(later);
      later = setTimeout(run, 150);
    });
    return text;
  };
  const given = area("features and labels, a row an example", 8, example(), "a row an example: numbers, then the label");
  const classifier = area("classifier, a row a class; may be empty", 3, "", "the classifier, if there is one: a row a class, weights and, last, a bias");
  const table = make("table", { className: "table" });
  const turns = turning(picture, view);
  const file = make("input", { type: "file", accept: ".csv,.tsv,.txt" });
  file.setAttribute("aria-label", "a file of features and labels");
  const load = async (one) => {
    given.value = await one.text();
    run();
  };
  file.addEventListener("change", () => file.files[0] && load(file.files[0]));
  given.addEventListener("dragover", (event) => event.preventDefault());
  given.addEventListener("drop", (event) => {
    if (!event.dataTransfer.files[0]) return;
    event.preventDefault();
    load(event.dataTransfer.files[0]);
  });

  function run() {
    try {
      data = read(given.value);
      found = measure(data, readClassifier(classifier.value, data.names.length, data.features[0].length));
      const rows = Object.entries(found.measures).map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, TITLES[name]), make("td", {}, number(value, 4))));
      table.replaceChildren(make("tbody", {}, ...rows));
      said.say(`${found.n} examples of ${found.K} classes, ${found.D} numbers each. NC1 of Papyan, Han and Donoho is ${number(found.measures["nc1.papyan"], 4)}.`, false);
      picture.label = `Examples and class means in the directions in which the means differ. ${said.words.textContent}`;
    } catch (error) {
      found = null;
      table.replaceChildren();
      said.say(error.message, false);
      picture.label = error.message;
    }
    turns.hidden = !found || found.directions.length < 3;
    picture.canvas.style.cursor = turns.hidden ? "" : "grab";
    picture.draw();
  }

  function paint(pen, width, height, colours) {
    if (!found) return;
    const ways = found.directions.slice(0, 3).map(({ way }) => way);
    const place = (row) => [0, 1, 2].map((i) => (ways[i] ? dot(row, ways[i]) : 0));
    const means = found.centred.map(place);
    const every = Math.ceil(found.n / SHOWN);
    const points = found.apart.flatMap((row, i) => (i % every ? [] : [[data.labels[i], place(row).map((x, j) => x + means[data.labels[i]][j])]]));
    const reach = Math.max(...points.map(([, at]) => Math.hypot(...at)), ...means.map((at) => Math.hypot(...at)), 1e-300);
    const flat = ways.length < 3;
    const on = (at) => {
      const [x, y, z] = at.map((one) => one / reach);
      return flat ? [width / 2 + 0.42 * height * x, height / 2 - 0.42 * height * y, 0] : project([x, y, z], view, 0.45 * height, [width / 2, height / 2]);
    };
    for (const [k, at] of points) {
      const [x, y] = on(at);
      pen.fillStyle = COLOURS[k % COLOURS.length];
      pen.globalAlpha = 0.6;
      pen.fillRect(x - 2, y - 2, 4, 4);
    }
    pen.globalAlpha = 1;
    pen.textBaseline = "middle";
    means.forEach((at, k) => {
      const [x, y] = on(at);
      pen.fillStyle = COLOURS[k % COLOURS.length];
      pen.beginPath();
      pen.arc(x, y, 6, 0, 7);
      pen.fill();
      pen.fillStyle = colours.ink;
      pen.fillText(data.names[k], x + 9, y);
    });
  }

  box.append(
    make("div", { className: "ncb-live-pictures" }, make("div", { className: "ncb-live-texts" }, given, classifier), picture.canvas),
    make("div", { className: "ncb-live-controls" }, make("span", { className: "ncb-live-buttons" }, file,
      button("Example", () => { given.value = example(); classifier.value = ""; run(); }), turns)),
    said.words, said.spoken, table,
  );
  run();
  return { get found() { return found; } };
}

mountAll("measure", mount);
