// The playground: a network is trained in the page, by the engine, in a Worker; this file draws it and reads the dials.

const E = engine();
const LOSS_NAMES = { sst: "SST", triplet: "triplet", contrastive: "contrastive" };
const DATA_NAMES = { rings: "rings and spirals", digits: "digits", letters: "letters", own: "your own" };
const SAMPLER_NAMES = { local: "local", balanced: "class-balanced", shuffled: "shuffled" };
const VALUES = {
  margin: [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 3, 5, 10],
  scale: [0.1, 0.2, 0.5, 1, 2, 3, 4, 6, 10],
  B: [6, 10, 20, 40, 50, 60, 70, 100, 140, 200],
  k: [1, 2, 3, 5, 10],
  warmup: [0, 1, 2, 5, 10, 20],
  lr: [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1],
};
const CHOICES = { data: Object.keys(DATA_NAMES), dim: [2, 3, 16], loss: Object.keys(LOSS_NAMES),
  sampler: Object.keys(SAMPLER_NAMES), optimizer: ["adam", "sgd"], normalize: [false, true] };
const FRESH = ["data", "dim", "seed"]; // a change of these begins a new run
const RATES = [[2, "2 steps/s"], [20, "20 steps/s"], [0, "full speed"]];
const NAMES = { data: "data", dim: "dimensions", loss: "loss", margin: "margin", scale: "scale", normalize: "unit length",
  sampler: "batches", warmup: "warm-up epochs", B: "batch size B", k: "positives k", lr: "learning rate", optimizer: "optimiser", seed: "seed" };

// -- settings as text: in the address, and in words

const allowed = (name, value) => (CHOICES[name] ? CHOICES[name].includes(value)
  : Number.isFinite(value) && (name === "seed" ? value >= 0 && value < 2 ** 31 && Number.isInteger(value)
    : value >= Math.min(...VALUES[name]) && value <= Math.max(...VALUES[name]) && (["lr", "margin", "scale"].includes(name) || Number.isInteger(value))));
const parsed = (name, text) => (name === "normalize" ? text === "true" : typeof E.SETTINGS[name] === "number" ? Number(text) : text);

/** The settings that are allowed, among some: { name: value }. */
const cleaned = (values) => Object.fromEntries(Object.entries(values ?? {}).filter(([name, value]) => name in E.SETTINGS && allowed(name, value)));

/** The part of an address after "#": all that the curves follow from. Settings that are usual are left out. */
export function toLink({ experiment = "", settings = {}, rival = null, changes = [[], []] }) {
  const text = new URLSearchParams();
  if (experiment) text.set("experiment", experiment);
  const all = { ...E.SETTINGS, ...settings };
  for (const name of Object.keys(E.SETTINGS)) if (all[name] !== E.SETTINGS[name]) text.set(name, all[name]);
  if (rival) {
    text.set("race", "1");
    for (const name of Object.keys(E.SETTINGS)) if ({ ...all, ...rival }[name] !== all[name]) text.set(`b.${name}`, rival[name]);
  }
  changes.forEach((list, i) => {
    if (list?.length) text.set(i ? "b.changes" : "changes", list.map(([step, values]) =>
      `${step}:${Object.entries(values).map(([name, value]) => `${name}=${value}`).join(",")}`).join(";"));
  });
  return text.toString();
}

/** What a link says; what it says wrongly is left out. */
export function fromLink(text) {
  const found = new URLSearchParams(text.replace(/^#/, "")), settings = {}, other = {}, changes = [[], []];
  for (const [key, value] of found) {
    const second = key.startsWith("b."), name = second ? key.slice(2) : key;
    if (name === "changes") {
      changes[second ? 1 : 0] = value.split(";").map((part) => {
        const [step, list = ""] = part.split(":");
        const values = Object.fromEntries(list.split(",").map((pair) => pair.split("=")).map(([n, v]) => [n, parsed(n, v)]));
        return [Number(step), cleaned(values)];
      }).filter(([step, values]) => Number.isInteger(step) && step >= 0 && Object.keys(values).length);
    } else (second ? other : settings)[name] = parsed(name, value);
  }
  const base = { ...E.SETTINGS, ...cleaned(settings) };
  return { experiment: found.get("experiment") ?? "", settings: base, changes,
    rival: found.has("race") ? { ...base, ...cleaned(other), ...Object.fromEntries(FRESH.map((name) => [name, base[name]])) } : null };
}

const spoken = (name, value) => (name === "loss" ? LOSS_NAMES[value] : name === "sampler" ? SAMPLER_NAMES[value]
  : name === "normalize" ? (value ? "yes" : "no") : name === "data" ? DATA_NAMES[value] : name === "optimizer" ? { adam: "Adam", sgd: "plain SGD" }[value] : String(value));

/** What differs between two settings, in words; what has no effect with either is left out. */
export function difference(a, b) {
  const idle = (s, name) => (name === "margin" && s.loss === "sst") || (name === "warmup" && s.sampler !== "local");
  const names = Object.keys(E.SETTINGS).filter((name) => a[name] !== b[name] && !(idle(a, name) && idle(b, name)));
  return names.length ? `What differs: ${names.map((name) => `${NAMES[name]} ${spoken(name, a[name])} (A) and ${spoken(name, b[name])} (B)`).join("; ")}.` : "Nothing differs yet: move one of B's dials.";
}

const big = (x) => (x < 1e4 ? String(x) : x < 1e6 ? `${Math.round(x / 1e3)} thousand` : `${(x / 1e6).toFixed(x < 1e8 ? 1 : 0)} million`);
const counted = (count, one, many) => `${count} ${count === 1 ? one : many}`;
const percent = (x) => `${Math.round(100 * x)} %`;

/** Has all fallen to one point? Compared with the widest spread so far. */
export const collapsed = (rows) => rows.length > 1 && rows[rows.length - 1][8] < 0.05 * Math.max(...rows.map((row) => row[8]));

/** The state of a run in words: where it is, what is measured, and what is alarming. */
function parts(run, data) {
  const row = run.rows[run.rows.length - 1], pairs = run.settings.loss === "contrastive", batches = run.batches?.length;
  if (!row) return ["", "", ""];
  const loss = row[3] === null ? "" : `loss ${tidy(row[3], 3)}, `;
  const matter = row[6] === null ? "" : `${percent(row[6])} of the ${pairs ? "pairs of different classes" : "triplets"} still matter, `;
  return [`Step ${run.step}, epoch ${tidy(run.epoch, 1)}${batches ? ` (${counted(batches, "batch", "batches")})` : ""}`,
    `, ${big(run.triplets)} ${pairs ? "pairs" : "triplets"}: ${loss}Recall@1 ${tidy(row[4])} (unseen ${data.others}: ${tidy(row[5])}); ` +
    `${matter}${percent(row[7])} of the ten nearest neighbors belong to another class, spread ${tidy(row[8])}`,
    (collapsed(run.rows) ? " The embedding has collapsed: all points lie in nearly the same place." : "") +
    (run.ended ? ` Training has ended. ${run.ended}` : "")];
}
export function told(run, data) {
  const [where, measured, alarm] = parts(run, data);
  return where && `${where}${measured}.${alarm}`;
}

// -- one's own data

/** Read labelled points from the text of a CSV file: numbers and, in the last or the only other column, a label. */
export function readCSV(text) {
  const rows = text.split(/\r?\n/).map((line) => line.split(/[,;\t]/).map((cell) => cell.trim().replace(/^"(.*)"$/, "$1"))).filter((row) => row.some(Boolean));
  if (rows.length < 2) throw new Error("the file has fewer than two lines; give one point per line: numbers and a label");
  const numeric = (cell) => cell !== "" && Number.isFinite(Number(cell));
  const width = rows[1].length, words = [...Array(width).keys()].filter((c) => rows.slice(1).some((row) => !numeric(row[c] ?? "")));
  if (words.length > 1) throw new Error(`columns ${new Intl.ListFormat("en-GB").format(words.map((c) => String(c + 1)))} contain words; only one column, the label, may`);
  const label = words.length ? words[0] : width - 1, columns = [...Array(width).keys()].filter((c) => c !== label);
  const body = columns.every((c) => numeric(rows[0][c] ?? "")) && rows[0].length === width ? rows : rows.slice(1);
  const wrong = body.findIndex((row) => row.length !== width);
  if (wrong >= 0) throw new Error(`line ${wrong + 1 + rows.length - body.length} has ${body[wrong].length} columns, the others have ${width}`);
  if (!columns.length) throw new Error("the file has only one column; give numbers and a label");
  const names = body.map((row) => row[label]), d = columns.length, x = new Float32Array(body.length * d);
  columns.forEach((c, j) => { // each column gets mean 0 and variance 1
    const values = body.map((row) => Number(row[c])), mean = values.reduce((p, q) => p + q, 0) / values.length;
    const sd = Math.sqrt(values.reduce((p, q) => p + (q - mean) ** 2, 0) / values.length) || 1;
    values.forEach((value, i) => { x[i * d + j] = (value - mean) / sd; });
  });
  return own(x, d, names, 0);
}

const MOST = 600; // points or pictures of one's own

function own(x, d, names, side) {
  const counts = new Map(), keep = [];
  names.forEach((name) => counts.set(name, (counts.get(name) ?? 0) + 1));
  names.forEach((name, i) => { if (counts.get(name) > 1) keep.push(i); });
  const classes = new Set(keep.map((i) => names[i]));
  if (classes.size < 2) throw new Error(`${classes.size ? "only one class has" : "no class has"} two items or more; at least two such classes are needed${
    side ? " (one folder per class)" : ""}`);
  const some = keep.filter((_, i) => keep.length <= MOST || Math.floor((i * MOST) / keep.length) !== Math.floor(((i - 1) * MOST) / keep.length));
  const rows = new Float32Array(some.length * d);
  some.forEach((item, r) => rows.set(x.subarray(item * d, (item + 1) * d), r * d));
  return E.ownData(rows, d, some.map((i) => names[i]), side);
}

/** Scale pictures down to 16 x 16 grey; the class is the name of the folder that a picture lies in. */
async function readPictures(files) {
  const side = 16, kept = files.filter(({ file }) => file.type.startsWith("image/")).slice(0, 5000), names = [], all = [];
  const step = Math.max(1, kept.length / MOST), pen = Object.assign(document.createElement("canvas"), { width: side, height: side }).getContext("2d", { willReadFrequently: true });
  for (let i = 0; i < kept.length; i += step) {
    const { file, folder } = kept[Math.floor(i)];
    const picture = await createImageBitmap(file, { resizeWidth: side, resizeHeight: side, resizeQuality: "medium" }).catch(() => null);
    if (!picture) continue;
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, side, side);
    pen.drawImage(picture, 0, 0);
    const { data } = pen.getImageData(0, 0, side, side), grey = [];
    for (let p = 0; p < data.length; p += 4) grey.push(1 - (0.299 * data[p] + 0.587 * data[p + 1] + 0.114 * data[p + 2]) / 255);
    all.push(...grey);
    names.push(folder);
  }
  if (!names.length) throw new Error("none of these files is a picture that this browser can read");
  return own(Float32Array.from(all), side * side, names, side);
}

/** Files { file, path } with their class: the outermost folder, or the next one where a single folder holds all. */
function classed(found) {
  const inner = new Set(found.map(({ path }) => path[0])).size === 1 && found.some(({ path }) => path.length > 1) ? 1 : 0;
  return found.filter(({ path }) => path.length >= inner + 1 || !inner).map(({ file, path }) => ({ file, folder: path[inner] ?? file.name }));
}

/** The files of a drop, with the class of each. A page from disk may not read entries in Chromium, but handles; others know entries only. */
async function dropped(transfer) {
  const found = [], items = [...transfer.items];
  async function walk(one, path) {
    const inside = [...path, one.name];
    if (one.getFile) found.push({ file: await one.getFile(), path });
    else if (one.isFile) found.push({ file: await new Promise((good, bad) => one.file(good, bad)), path });
    else if (one.values) for await (const next of one.values()) await walk(next, inside);
    else {
      const reader = one.createReader();
      for (;;) {
        const some = await new Promise((good, bad) => reader.readEntries(good, bad));
        if (!some.length) break;
        for (const next of some) await walk(next, inside);
      }
    }
  }
  const handles = items.map((item) => item.getAsFileSystemHandle?.()), entries = items.map((item) => item.webkitGetAsEntry?.());
  const files = [...transfer.files]; // a drop is emptied as soon as anything is awaited
  const roots = await Promise.all(handles.map(async (handle, i) => (await handle?.catch(() => null)) ?? entries[i]));
  for (const root of roots) if (root) await walk(root, []);
  return classed(found.length ? found : files.map((file) => ({ file, path: [] })));
}

async function fromFiles(files) {
  const table = files.find(({ file }) => /\.(csv|tsv|txt)$/i.test(file.name));
  return table ? readCSV(await table.file.text()) : readPictures(files);
}

// -- the Worker; where a page may not have one, the same engine runs in the page, a few milliseconds at a time

function colleague(receive) {
  const inPage = () => {
    const work = E.serve((message) => setTimeout(() => receive(message)), () => performance.now(), (f) => setTimeout(f, 4));
    return { post: work, end: () => work({ do: "pause" }) };
  };
  try {
    const source = `const channel = new MessageChannel(); let next = null;
      channel.port1.onmessage = () => { const f = next; next = null; f?.(); };
      const later = (f) => { next = f; channel.port2.postMessage(0); };
      const work = (${engine})(${random}).serve((m) => postMessage(m), () => performance.now(), later);
      onmessage = ({ data }) => work(data);`;
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" })), worker = new Worker(url);
    const made = { post: (message) => worker.postMessage(message), end: () => { worker.terminate(); URL.revokeObjectURL(url); } };
    const kept = [];
    made.post = (message) => { kept.push(message); if (kept.length > 20) kept.shift(); worker.postMessage(message); };
    worker.onerror = (event) => { // refused by the page's policy
      if (made.answered) return console.error(event.message);
      Object.assign(made, inPage());
      kept.forEach(made.post);
    };
    worker.onmessage = ({ data }) => { made.answered = true; receive(data); };
    return made;
  } catch {
    return inPage();
  }
}

async function inflated(view) {
  const stream = new Blob([view]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// -- drawing

/** The convex hull of points, as indices in order (Andrew's monotone chain). */
export function hull(items, X, Y) {
  const order = [...items].sort((a, b) => X[a] - X[b] || Y[a] - Y[b]), cross = (o, a, b) => (X[a] - X[o]) * (Y[b] - Y[o]) - (Y[a] - Y[o]) * (X[b] - X[o]);
  const half = (list) => {
    const chain = [];
    for (const item of list) {
      while (chain.length > 1 && cross(chain[chain.length - 2], chain[chain.length - 1], item) <= 0) chain.pop();
      chain.push(item);
    }
    return chain.slice(0, -1);
  };
  return order.length < 3 ? order : [...half(order), ...half(order.reverse())];
}

/** How embeddings are seen: a centre, two axes, and for 16 dimensions the share of the variance in view. */
function lens(z, n, dim, turn, before, fixed) {
  if (dim === 2) return { mean: fixed ? [0, 0] : E.principal(z, n, 2).mean, axes: [[1, 0], [0, 1]], share: 1 };
  if (dim === 3) {
    const [a, b] = turn, mean = fixed ? [0, 0, 0] : E.principal(z, n, 3).mean;
    return { mean, share: 1, axes: [[Math.cos(a), 0, Math.sin(a)], [-Math.sin(a) * Math.sin(b), Math.cos(b), Math.cos(a) * Math.sin(b)]],
      depth: [-Math.sin(a) * Math.cos(b), -Math.sin(b), Math.cos(a) * Math.cos(b)] };
  }
  const found = E.principal(z, n, dim);
  found.axes.forEach((axis, i) => { // an axis has no sign: keep the one of the picture before
    const old = before?.axes?.[i];
    if (old?.length === dim && axis.reduce((sum, value, c) => sum + value * old[c], 0) < 0) axis.forEach((value, c) => { axis[c] = -value; });
  });
  return found;
}

/** Draw the mark of the number-th class on its own small canvas. */
function drawSign(node, number, palette) {
  const pen = node.getContext("2d"), [hue, kind] = looks(number), middle = node.width / 2;
  pen.fillStyle = palette[hue];
  pen.beginPath();
  mark(pen, kind, middle, middle, 0.57 * middle);
  pen.fill();
}

function arrow(pen, x, y, dx, dy) {
  const length = Math.hypot(dx, dy);
  if (length < 1.5) return;
  const head = Math.min(6, length), ux = dx / length, uy = dy / length;
  pen.moveTo(x, y);
  pen.lineTo(x + dx, y + dy);
  pen.moveTo(x + dx - head * (ux - 0.5 * uy), y + dy - head * (uy + 0.5 * ux));
  pen.lineTo(x + dx, y + dy);
  pen.lineTo(x + dx - head * (ux + 0.5 * uy), y + dy - head * (uy - 0.5 * ux));
}

/** A round number near x: 1, 2 or 5 times a power of ten. */
export function round125(x) {
  const power = 10 ** Math.floor(Math.log10(x)), lead = x / power;
  return (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10) * power;
}

const CURVES = [[3, "Loss", null], [4, "Recall@1, training", 1], [5, "Recall@1, unseen", 1],
  [6, "Share that matters", 1], [7, "Local overlap", 1], [8, "Spread", null]];
const AXES = [[0, "steps"], [1, "epochs"], [2, "triplets"]];

/** Pixels of a canvas for each of the page, so that it is sharp on any screen, and the size of type on it: slides have larger type. */
const sharpness = (node) => Math.max(1, Math.min(3, devicePixelRatio * (node.currentCSSZoom ?? 1)));
const typeSize = (node) => parseFloat(getComputedStyle(node).fontSize);

/** Draw one of the curves of the runs on a canvas. */
function drawCurve(node, runs, column, top, axis, palette) {
  const width = node.clientWidth || 200, height = node.clientHeight || 104, size = sharpness(node), pen = node.getContext("2d"), type = typeSize(node);
  if (node.width !== Math.round(width * size) || node.height !== Math.round(height * size)) { node.width = Math.round(width * size); node.height = Math.round(height * size); }
  pen.setTransform(size, 0, 0, size, 0, 0);
  pen.clearRect(0, 0, width, height);
  const most = Math.max(...runs.flatMap((run) => run.rows.map((row) => row[axis])), axis === 0 ? 20 : axis === 1 ? 2 : 1000);
  const values = runs.flatMap((run) => run.rows.map((row) => row[column]).filter((v) => v !== null));
  const high = top ?? (values.length ? Math.max(round125(Math.max(...values, 1e-6) * 1.2), ...values) : 1);
  const left = 12 + 2 * type, right = 8, up = 0.5 * type + 1, low = type + 6, X = (v) => left + ((width - left - right) * v) / most, Y = (v) => up + (height - up - low) * (1 - v / high);
  pen.font = `${type}px system-ui, sans-serif`;
  pen.strokeStyle = palette.line;
  pen.fillStyle = palette.faint;
  pen.lineWidth = 1;
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const v of [0, high / 2, high]) {
    pen.beginPath();
    pen.moveTo(left, Y(v));
    pen.lineTo(width - right, Y(v));
    pen.stroke();
    if (v !== high / 2) pen.fillText(String(Number(v.toPrecision(2))), left - 5, Y(v));
  }
  pen.textBaseline = "alphabetic";
  pen.fillText(`${axis === 2 ? big(most) : Math.round(most)} ${AXES[axis][1]}`, width - right, height - 3);
  runs.forEach((run, i) => {
    pen.strokeStyle = palette[i ? "vermilion" : "blue"];
    pen.setLineDash(i ? [6, 3] : []);
    pen.lineWidth = 2;
    pen.beginPath();
    let begun = false;
    for (const row of run.rows) {
      if (row[column] === null) continue;
      pen[begun ? "lineTo" : "moveTo"](X(row[axis]), Y(row[column]));
      begun = true;
    }
    pen.stroke();
    pen.setLineDash([]);
    const last = run.rows[run.rows.length - 1];
    if (!last || last[column] === null) return;
    pen.fillStyle = palette[i ? "vermilion" : "blue"];
    pen.beginPath();
    pen.arc(X(last[axis]), Y(last[column]), 3, 0, 2 * Math.PI);
    pen.fill();
  });
}

// -- slow motion: what each station shows and says; `lines` come from Python: the step of the algorithm, and the code

const STATIONS = {
  step: ["choose", "distances", "positives", "weights", "forces", "move"],
  epoch: ["embed", "cluster", "visit"],
};
const STATION_NAMES = { choose: "The batch", distances: "Distances", positives: "Nearest positives", weights: "Triplets and weights",
  forces: "The forces", move: "The move", embed: "Embed", cluster: "Cluster", visit: "Visit" };

/** What a station shows; `known`: of another run with this loss, how a triplet is weighed was said. */
function stationText(name, run, focus, known = false) {
  const { next, settings, batches } = run, n = next?.batch.length ?? 0, pairs = settings.loss === "contrastive";
  if (!next && name !== "embed") return run.ended || "There is no next step.";
  if (name === "choose") return run.owner ? `Neighborhood ${run.at + 1} of ${batches.length}: ${n} points that lie close together become the batch.`
    : `Batch ${run.at + 1} of ${batches.length}: ${n} points, ${settings.sampler === "shuffled" ? "drawn without regard to their classes" : "equally many from each of several classes"}.`;
  if (name === "distances") return `All ${n} × ${n} = ${big(n * n)} squared distances: the loss depends on nothing else. The lines show those from one anchor; the darker the line, the nearer the point.`;
  if (name === "positives") return pairs && !run.owner ? `The contrastive loss uses all positives: ${big(next.pairs.a.length)} pairs.`
    : `Each anchor is paired with its ${settings.k === 1 ? "nearest positive" : `${settings.k} nearest positives`}${run.owner ? ", chosen when the epoch began" : ""}: ${big(next.pairs.a.length)} pairs. The thick lines belong to one anchor.`;
  if (name === "weights") {
    if (pairs) return `${big(next.terms)} pairs of different classes; ${big(next.matter)} of them are closer than the margin, and are pushed apart.`;
    const how = settings.loss === "sst" ? "Each has the weight s = sigmoid(z), drawn as the thickness of its line" : "Each has weight 1 if its negative lies inside the circle, and 0 otherwise";
    return `${big(next.terms)} triplets${known ? "" : `. ${how}`}; ${big(next.matter)} of them (${percent(next.matter / Math.max(next.terms, 1))}) matter. ${focus}`;
  }
  if (name === "forces") return `Each point adds up what its ${pairs ? "pairs" : "triplets"} ask of it: the negative gradient of the loss (now ${tidy(next.value, 3)}). The longest arrow always has the same length. The network cannot follow every arrow at once.`;
  if (name === "move") return `The optimiser changes the weights of the network, so all ${run.shownCount} points move, not only the batch. Rings mark where the points of the batch were.`;
  if (name === "embed") return `The network, as it is now, embeds the whole training set: ${run.shownCount} points.`;
  if (name === "cluster") return run.owner ? `k-means finds ${Math.max(...run.owner) + 1} neighborhoods; ${batches.length} of them contain a triplet, and become batches.`
    : "These batches are drawn without clusters: choose local batches to see neighborhoods.";
  return `Each batch is visited once; number ${run.at + 1} of ${batches.length} comes next.`;
}

// -- the widget

function render({ model, el }) {
  const { root, body, say } = stage(el, model,
    "A small network trains right here, in your browser, from scratch each time. Watch its embedding change as it learns, and move any dial while it does.", false);
  const main = h("div", { class: "sst-pg" });
  body.append(main);

  // -- state
  let current = [], moved = 0, going = false; // the dials of A and B as they are now, when one was moved last, whether it trains
  let runs = [], data = null, playing = false, part = "train", id = 0, turn = [0.5, -0.4], axis = 0, rate = 20, edited = 0;
  let slow = "", station = 0, focus = -1, hovered = -1, palette = {}, sheets = {}, frameDue = 0, spokenAt = 0, follow_ = null, marks = false, moveFrom = 0, over = false;
  const sets = { rings: E.rings() };
  const settings = () => ({ ...E.SETTINGS, ...cleaned(model.get("settings")) });
  const rival = () => (model.get("rival") ? { ...settings(), ...cleaned(model.get("rival")) } : null);
  const task = () => (model.get("experiments") ?? []).find((one) => one.name === model.get("experiment")) ?? null;
  const asking = () => Boolean(task()) && !model.get("committed");

  // -- the question of an experiment
  const head = h("div", { class: "sst-pg-head" });
  const pickId = unique();
  const pick = h("select", { id: pickId, change: () => begin(pick.value) });
  pick.append(h("option", { value: "" }, "None: play freely"), ...(model.get("experiments") ?? []).map((one, i) => h("option", { value: one.name }, `${i + 1}. ${one.title}`)));
  head.append(h("div", { class: "sst-control" }, h("label", { for: pickId }, "Experiment"), pick));
  const ask = h("div", { class: "sst-pg-ask" });
  main.append(head, ask);

  // -- time
  const bar = h("div", { class: "sst-controls sst-pg-bar", role: "group", "aria-label": "Training" });
  const play = button(bar, "Play", () => toggle(), { class: "sst-button sst-pg-main" });
  const one = button(bar, "Step", () => advance("steps"));
  const whole = button(bar, "Epoch", () => advance("epoch"), { title: "Train to the end of the epoch" });
  button(bar, "Reset", () => restart(), { title: "Back to the untrained network" });
  const pace = choice(bar, { label: "Speed", options: RATES, value: rate, onChange: (value) => { rate = value; if (playing) send({ do: "play", rate, until: until() }); } });
  const slowly = button(bar, "Slow motion", () => setSlow(slow ? "" : "step"), { "aria-pressed": "false" });
  const race = button(bar, "Race two settings", () => setRace(), { "aria-pressed": "false", class: "sst-button sst-pg-more" });
  button(bar, "Copy link", () => copy(), { class: "sst-button sst-pg-more", title: "An address that holds the settings, the seed and all changes on the way" });
  const copied = h("p", { class: "sst-pg-hint", hidden: true });
  main.append(bar, copied);
  const stations = h("div", { class: "sst-pg-stations", hidden: true });
  const differs = h("p", { class: "sst-pg-differs", hidden: true });
  main.append(stations, differs);

  // -- what is seen
  const grid = h("div", { class: "sst-pg-grid" }), seen = h("div", { class: "sst-pg-seen" }), dials = h("div", { class: "sst-pg-dials", role: "group", "aria-label": "Dials" });
  const pair = h("div", { class: "sst-pg-pair" });
  main.append(grid);
  grid.append(seen, dials);
  seen.append(pair);
  const panels = ["A", "B", "input"].map((name, side) => {
    const node = h("canvas", { role: "img", "aria-label": side < 2 ? `The embedding, run ${name}` : "The input" }), tip = h("div", { class: "sst-pg-tip", hidden: true });
    const caption = h("p", { class: "sst-pg-caption" });
    const box = h("div", { class: "sst-pg-panel", hidden: side > 0 }, h("div", { class: "sst-pg-plane" }, node, tip), caption);
    pair.append(box);
    const panel = { name, side, box, node, tip, caption, pen: node.getContext("2d"), X: [], Y: [], width: 0 };
    node.addEventListener("pointermove", (event) => point(panel, event));
    node.addEventListener("pointerdown", (event) => { panel.grab = [event.clientX, event.clientY, ...turn]; node.setPointerCapture(event.pointerId); point(panel, event); });
    node.addEventListener("pointerup", () => { panel.grab = null; });
    node.addEventListener("pointercancel", () => { panel.grab = null; });
    node.addEventListener("pointerleave", () => { if (!panel.grab) hover(-1, panel); });
    return panel;
  });
  const state = h("p", { class: "sst-pg-state" });
  const tell = () => state.replaceChildren(...runs.flatMap((run, i) => {
    const [where, measured, alarm] = parts(run, data);
    return [runs.length > 1 ? `${"AB"[i]}: ` : "", where, h("span", { class: "sst-pg-measured" }, measured), `.${alarm} `];
  }));
  const legend = h("p", { class: "sst-pg-legend" });
  const looking = h("div", { class: "sst-controls sst-pg-looking" });
  const swing = slider(looking, { label: "Turn", min: -180, max: 180, step: 5, value: 30, format: (x) => `${x}°`, onInput: (x) => { turn[0] = (x * Math.PI) / 180; paint(); } });
  const tilt = slider(looking, { label: "Tilt", min: -85, max: 85, step: 5, value: -25, format: (x) => `${x}°`, onInput: (x) => { turn[1] = (x * Math.PI) / 180; paint(); } });
  const shown = choice(looking, { label: "Show", options: [["train", "training"], ["unseen", "unseen"]], value: part, onChange: (value) => { part = value; focus = -1; send({ do: "show", part }); label(); } });
  const look = choice(looking, { label: "Drawn as", options: [["pictures", "pictures"], ["marks", "marks"]], value: "pictures", onChange: (value) => { marks = value === "marks"; paint(); } });
  const others = button(looking, "Next anchor", () => nextAnchor(), { title: "Draw the triplet of another anchor of the batch" });
  const curveBox = h("div", { class: "sst-pg-curves" });
  const curves = CURVES.map(([column, title, top]) => {
    const node = h("canvas", { role: "img", "aria-label": title }), value = h("span", {});
    curveBox.append(h("div", { class: "sst-pg-curve" }, h("div", { class: "sst-pg-curve-title" }, h("span", {}, title), value), node));
    return { column, title, top, node, value };
  });
  const along = h("div", { class: "sst-controls sst-pg-along" });
  choice(along, { label: "Curves against", options: AXES, value: axis, onChange: (value) => { axis = value; paintCurves(); } });
  const key = h("p", { class: "sst-pg-key", hidden: true }, h("span", { class: "sst-pg-a" }, "A"), " solid, ", h("span", { class: "sst-pg-b" }, "B"), " dashed");
  seen.append(state, legend, looking, along, key, curveBox, h("p", { class: "sst-pg-hint" },
    "Share that matters: triplets with a weight s > 0.1 (SST), active triplets (triplet loss), or pairs of different classes closer than the margin (contrastive). " +
    "Local overlap: the share of other classes among the ten nearest neighbors. Spread: the root mean square distance from the mean."));

  // -- dials
  const knobs = {};
  const group = (title, ...names) => {
    const box = h("fieldset", { class: "sst-pg-group" }, h("legend", {}, title));
    dials.append(box);
    names.forEach((make_) => make_(box));
  };
  const dial = (name, label, format = String) => (box) => {
    const values = VALUES[name], made = slider(box, { label, min: 0, max: values.length - 1, step: 1, value: 0,
      format: (i) => format(values[i]), onInput: (i) => change({ [name]: values[i] }) });
    knobs[name] = { node: made.input.parentNode, input: made.input, set: (value) => {
      let near = 0;
      values.forEach((v, i) => { if (Math.abs(v - value) < Math.abs(values[near] - value)) near = i; });
      made.set(near);
      if (values[near] !== value) { made.input.nextSibling.textContent = format(value); made.input.setAttribute("aria-valuetext", format(value)); }
    } };
  };
  const options = (name, label, list, read = (key) => key, show = (value) => value) => (box) => {
    const made = choice(box, { label, options: list, value: "", onChange: (key) => change({ [name]: read(key) }) });
    knobs[name] = { node: made.inputs[0].closest("fieldset"), inputs: made.inputs, set: (value) => made.set(show(value)) };
  };
  const which = choice(dials, { label: "Dials of", options: [[0, "A"], [1, "B"]], value: 0, onChange: (value) => { edited = value; label(); } });
  which.inputs[0].closest("fieldset").classList.add("sst-pg-which");
  group("Data and network", (box) => {
    const name = unique();
    const select = h("select", { id: name, change: () => change({ data: select.value }) }, Object.entries(DATA_NAMES).map(([value, text]) => h("option", { value }, text)));
    box.append(h("div", { class: "sst-control" }, h("label", { for: name }, "Data"), select));
    knobs.data = { node: select.parentNode, set: (value) => { select.value = value; select.lastChild.disabled = !sets.own; } };
    const table = h("input", { type: "file", accept: ".csv,.tsv,.txt,image/*", multiple: true, hidden: true, "aria-label": "A CSV file, or pictures", change: () => bring([...table.files].map((file) => ({ file, folder: file.name }))) });
    const folder = h("input", { type: "file", webkitdirectory: true, multiple: true, hidden: true, "aria-label": "A folder of folders of pictures",
      change: () => bring(classed([...folder.files].map((file) => ({ file, path: file.webkitRelativePath.split("/").slice(0, -1) })))) });
    const row = h("div", { class: "sst-control sst-pg-own" });
    button(row, "Your points (CSV) …", () => table.click());
    button(row, "Your pictures (folder) …", () => folder.click());
    box.append(table, folder, row, h("p", { class: "sst-pg-hint" }, "Or drop them here: a CSV file with one labelled point per line, or one folder per class. Nothing leaves this page."));
  }, options("dim", "Embedding", [[2, "2-d"], [3, "3-d"], [16, "16-d"]]));
  group("Loss", options("loss", "Loss", [["sst", "SST"], ["triplet", "triplet"], ["contrastive", "contrastive"]]), dial("margin", "Margin"), dial("scale", "Scale"),
    options("normalize", "Unit length", [["no", "no"], ["yes", "yes"]], (key) => key === "yes", (value) => (value ? "yes" : "no")));
  group("Batches", options("sampler", "Batches", [["local", "local"], ["balanced", "class-balanced"], ["shuffled", "shuffled"]]),
    dial("warmup", "Local", (x) => (x ? `after ${counted(x, "epoch", "epochs")}` : "from the start")), dial("B", "Batch size B"), dial("k", "Positives k"));
  group("Optimiser", dial("lr", "Learning rate"), options("optimizer", "Method", [["adam", "Adam"], ["sgd", "plain SGD"]]), (box) => {
    const name = unique(), input = h("input", { id: name, type: "number", min: 0, max: 2 ** 31 - 1, step: 1, class: "sst-pg-seed", change: () => change({ seed: Math.max(0, Math.min(2 ** 31 - 1, Math.floor(Number(input.value) || 0))) }) });
    const row = h("div", { class: "sst-control" }, h("label", { for: name }, "Seed"), input);
    button(row, "Next", () => change({ seed: (current[0].seed + 1) % 2 ** 31 }), { "aria-label": "Next seed" });
    box.append(row);
    knobs.seed = { node: row, set: (value) => { input.value = value; } };
  });

  // -- talking to the Worker
  const worker = colleague(receive);
  let queue = null; // of messages, while the data of the run that they are about are unpacked
  const send = (message) => (queue ? queue.push(message) : worker.post(message));

  function receive(message) {
    if (message.id !== id) return;
    ({ playing } = message);
    message.runs.forEach((fresh, i) => { runs[i] = { ...fresh, rows: [...(runs[i]?.rows ?? []), ...fresh.rows], reach: runs[i]?.reach ?? null, lens: runs[i]?.lens, shownCount: data[part].n }; });
    if (performance.now() - moved > 400 && message.runs.some((fresh, i) => JSON.stringify(fresh.settings) !== JSON.stringify(current[i]))) {
      current = message.runs.map((fresh) => ({ ...fresh.settings })); // a change that was made before is made again
      label();
    }
    if (message.runs.some((fresh) => fresh.rows.length)) curvesDue = true;
    if (!frameDue) frameDue = requestAnimationFrame(draw);
    if (!playing) {
      keep();
      if (going) { going = false; say(runs.map((run, i) => (runs.length > 1 ? `${"AB"[i]}: ` : "") + told(run, data)).join(" ")); }
      settle();
    } else if (performance.now() - spokenAt > 6000) {
      spokenAt = performance.now();
      const row = runs[0].rows[runs[0].rows.length - 1];
      say(`Training: step ${runs[0].step}, Recall@1 ${tidy(row[4])}.${collapsed(runs[0].rows) ? " The embedding has collapsed." : ""}`);
    }
  }
  let curvesDue = true;
  function draw() {
    frameDue = 0;
    paint();
    if (curvesDue) { curvesDue = false; requestAnimationFrame(paintCurves); } // the next frame: between two, input is answered
    send({ do: "drawn" });
  }

  /** Keep in the traits what was trained, and in the address what it follows from. */
  function keep() {
    const values = { step: runs[0].step, curves: runs.map((run) => run.rows), changes: runs.map((run) => run.changes) };
    const link = toLink({ experiment: model.get("experiment"), settings: settings(), rival: rival(), changes: values.changes });
    if (link !== model.get("link")) copied.hidden = true; // it was the link of another experiment
    put(model, { ...values, link });
    if (model.get("address")) history.replaceState(null, "", `#${link}`);
  }

  async function open(changes = [[], []]) {
    const wanted = settings(), other = rival(), mine = ++id;
    playing = false;
    queue = [];
    if (!sets[wanted.data]) {
      const about = (model.get("sets") ?? {})[wanted.data], view = model.get(wanted.data);
      if (!about || !view?.byteLength) {
        put(model, { settings: { ...wanted, data: "rings" } });
        say(wanted.data === "own" ? "This link was made with somebody's own data, which no link contains: here are rings and spirals instead." : "These data are not in this page.");
        return open();
      }
      const bytes = await inflated(view);
      if (mine !== id) return;
      sets[wanted.data] = E.pictures(wanted.data, bytes, about.side, about.images, about.train, about.unseen);
    }
    if (data !== sets[wanted.data]) { data = sets[wanted.data]; sheets = {}; }
    runs = [];
    current = [wanted, ...(other ? [other] : [])];
    focus = hovered = -1;
    station = 0;
    const early = queue;
    queue = null;
    send({ do: "open", id, data, part, runs: [wanted, ...(other ? [other] : [])].map((values, i) => ({ settings: values, changes: changes[i] ?? [] })) });
    early.forEach(send);
    label();
  }
  /** The dials as they are become the settings of a run from the start. */
  function fold() {
    put(model, { settings: { ...current[0] }, rival: current[1] ? { ...current[1] } : null, changes: [[], []] });
    own_ = JSON.stringify([model.get("settings"), model.get("rival")]);
    return open();
  }
  function restart() {
    over = false;
    fold();
    say("The network is untrained again.");
  }

  // -- dials and modes
  function change(values) {
    const clean = cleaned(values), fresh = FRESH.some((name) => name in clean), before = runs[0]?.step ?? 0;
    const words = Object.entries(clean).map(([name, value]) => `${NAMES[name]}: ${spoken(name, value)}`).join(", ");
    current.forEach((dials_, i) => { if (fresh || i === edited) Object.assign(dials_, clean); });
    moved = performance.now();
    if (slow) station = 0;
    if (fresh || (!before && !playing)) fold();
    else send({ do: "set", which: edited, values: clean });
    label();
    say(words + (before && !fresh ? `, from step ${before} on.` : "."));
  }
  function setRace(on = current.length < 2) {
    current = [current[0], ...(on ? [{ ...current[0] }] : [])];
    edited = on ? 1 : 0;
    fold();
    say(on ? "Two runs from the same network. The dials now belong to B." : "One run.");
  }
  function setSlow(level) {
    slow = level;
    station = 0;
    focus = -1;
    if (slow && part !== "train") { part = "train"; send({ do: "show", part }); }
    if (playing) send({ do: "pause" });
    send({ do: "ahead" });
    label();
    if (slow) sayStation();
  }
  const until = () => (task() && !over ? task().steps : Infinity);
  function toggle(on = !playing) {
    if (asking()) return;
    if (on && runs.length && runs.every((run) => run.ended)) { say(told(runs[0], data)); return; }
    if (on && runs[0]?.step >= until()) over = true;
    playing = on;
    if (slow) setSlow("");
    send(on ? { do: "play", rate, until: until() } : { do: "pause" });
    spokenAt = performance.now();
    label();
    if (on) { going = true; say("Training."); }
  }
  function advance(what) {
    if (asking()) return;
    if (playing) toggle(false);
    send(what === "steps" ? { do: "steps", count: 1 } : { do: "epoch" });
    follow_ = what;
  }

  /** What is due when training pauses: words, and the end of an experiment. */
  function settle() {
    if (follow_) { follow_ = null; say(runs.map((run) => told(run, data)).join(" ")); }
    if (task() && model.get("committed") && runs[0].step >= task().steps) answer();
    label();
  }

  // -- experiments
  /** The settings of the runs of an experiment as it is meant. */
  const meant = (found, seed = 0) => [found.settings, ...(found.rival ? [{ ...found.settings, ...found.rival }] : [])].map((values) => ({ ...E.SETTINGS, ...values, seed }));
  function begin(name, seed = 0) {
    const found = (model.get("experiments") ?? []).find((one_) => one_.name === name), [a, b = null] = found ? meant(found, seed) : [];
    over = false;
    edited = 0;
    slow = "";
    put(model, { experiment: name, chosen: null, committed: false, changes: [[], []],
      ...(found ? { settings: a, rival: b } : {}) });
    own_ = JSON.stringify([model.get("settings"), model.get("rival")]);
    question();
    open();
    if (found) say(found.question);
  }
  let verdict_ = null;
  function question() {
    const found = task();
    pick.value = found?.name ?? "";
    ask.replaceChildren();
    ask.hidden = !found;
    verdict_ = null;
    if (!found) return;
    const committed = model.get("committed"), box = h("div", {});
    ask.append(h("p", { class: "sst-pg-question" }, found.question), box);
    const made = choice(box, { label: "Your answer", options: found.options.map((text, i) => [i, text]), value: model.get("chosen"), onChange: (i) => { put(model, { chosen: i }); commit.disabled = false; } });
    made.inputs[0].closest("fieldset").classList.add("sst-pg-options");
    made.inputs.forEach((input, i) => { // what was not chosen makes room for what is to be seen
      input.disabled = committed;
      input.parentElement.hidden = committed && i !== model.get("chosen");
    });
    const row = h("div", { class: "sst-controls" });
    const commit = button(row, "Commit and run", () => {
      put(model, { committed: true });
      rate = 20;
      if (data && data.train.n > 500) rate = 0;
      pace.set(rate);
      question();
      toggle(true);
      play.focus({ preventScroll: true }); // the button that was pressed is gone
    }, { class: "sst-button sst-pg-main" });
    commit.disabled = model.get("chosen") === null || model.get("chosen") === undefined;
    row.append(h("span", { class: "sst-pg-hint" }, `Then it trains for ${found.steps} steps.`));
    if (!committed) ask.append(row);
    verdict_ = h("div", { class: "sst-pg-verdict" });
    ask.append(verdict_);
  }
  function answer() {
    const found = task();
    if (!verdict_ || verdict_.childElementCount) return;
    const right = model.get("chosen") === found.answer, told_ = found.feedback?.[model.get("chosen")] ?? "";
    const sentence = right ? `✓ Yes: ${found.options[found.answer]}.` : `✗ No. ${told_ ? `${told_} ` : ""}The right answer: ${found.options[found.answer]}.`;
    const asked = meant(found, runs[0].settings.seed), moved_ = asked.length !== runs.length || runs.some((run, i) => run.changes.length || JSON.stringify(cleaned(run.settings)) !== JSON.stringify(cleaned(asked[i])));
    if (moved_) verdict_.append(h("p", {}, "These dials are not those of the experiment, so your runs may look different. As it was set up:"));
    verdict_.append(h("p", { class: right ? "sst-pg-right" : "sst-pg-wrong" }, sentence), h("p", {}, found.because));
    say(`${sentence} ${found.because}`);
  }

  // -- one's own data
  async function bring(given) {
    try {
      const files = await given;
      if (!files.length) throw new Error("nothing was chosen");
      sets.own = await fromFiles(files);
      put(model, { experiment: "", settings: { ...current[0], data: "own" }, rival: null, changes: [[], []] });
      own_ = JSON.stringify([model.get("settings"), model.get("rival")]);
      edited = 0;
      if (data?.name === "own") data = null;
      question();
      await open();
      const { train, unseen, classes, others: kind } = sets.own;
      say(`${classes.length} classes: ${train.n} ${sets.own.side ? "pictures" : "points"} to train on, and ${unseen.n} unseen ones of ${kind === "classes" ? "other" : "the same"} classes.`);
    } catch (error) {
      say(`These files cannot be used: ${error.message}.`);
      state.textContent = `These files cannot be used: ${error.message}.`;
    }
  }
  const target = model.get("address") ? document.documentElement : root; // on its own page a drop may miss the widget
  const drops = { dragover(event) { event.preventDefault(); root.classList.add("sst-pg-drop"); }, dragleave: () => root.classList.remove("sst-pg-drop"),
    async drop(event) { event.preventDefault(); root.classList.remove("sst-pg-drop"); bring(dropped(event.dataTransfer)); } };
  for (const [name, handler] of Object.entries(drops)) target.addEventListener(name, handler);

  async function copy() {
    if (runs.length) keep(); // while it trains, the link is older than the dials
    const page = `playground.html#${model.get("link")}`, home = document.querySelector("a.home"); // a lecture of the site
    const text = model.get("address") ? location.href : home ? new URL(page, home.href).href : page;
    const what = data?.name === "own" ? "Link copied: the settings without your data, which no link contains."
      : model.get("address") ? "Link copied: this page, with the same settings, changes and curves."
        : home ? "Link copied: the page of the playground, with the same settings, changes and curves."
          : `Copied: ${page}, for the page that “make site” writes into site/; it opens with the same settings, changes and curves.`;
    try {
      await navigator.clipboard.writeText(text);
      copied.textContent = what;
      copied.hidden = false;
      say(what);
    } catch { prompt("Copy this link:", text); }
  }

  // -- slow motion
  const names = () => STATIONS[slow || "step"];
  function walk(by) {
    const last = names().length - 1;
    if (!runs[0]) return;
    if (station + by > last) {
      if (asking()) return;
      if (slow === "epoch") { // visit batch by batch; then the next epoch begins
        send({ do: "steps", count: 1 });
        send({ do: "ahead" });
        station = runs[0].at + 1 >= runs[0].batches.length ? 0 : last;
      } else { send({ do: "steps", count: 1 }); send({ do: "ahead" }); station = 0; }
    } else station = Math.max(0, station + by);
    if (slow === "epoch" && station === 0 && runs[0].at > 0 && by < 0) station = last;
    moveFrom = performance.now();
    label();
    paint();
    sayStation();
  }
  const sayStation = () => setTimeout(() => { if (slow && runs[0]) say(`${STATION_NAMES[names()[station]]}. ${stationWords()}`); }, 60);
  function stationWords() {
    const name = names()[station], texts = runs.map((run, i) => {
      const triplet = name === "weights" ? tripletOf(run, focusOf(run)) : null;
      return stationText(name, run, triplet?.words ?? "", i > 0 && run.settings.loss === runs[0].settings.loss);
    });
    return new Set(texts).size === 1 ? texts[0] : texts.map((text, i) => `${"AB"[i]}: ${text}`).join(" ");
  }
  function paintStations() {
    stations.hidden = !slow;
    if (!slow || !runs[0]) return;
    const name = names()[station], lines = (model.get("lines") ?? {})[name] ?? {};
    const asIn = runs[0].owner || !["embed", "cluster", "visit", "choose", "positives"].includes(name); // the paper: these are of local sampling
    const parts_ = () => [...stations.querySelectorAll("input, button")], held = parts_().indexOf(document.activeElement);
    stations.replaceChildren();
    const top = h("div", { class: "sst-controls" });
    choice(top, { label: "Take apart", options: [["step", "one step"], ["epoch", "one epoch"]], value: slow, onChange: (value) => setSlow(value) });
    const back = button(top, "◂ Back", () => walk(-1), { "data-walk": "back" }), forth = button(top, station === names().length - 1 ? (slow === "step" ? "Next step ▸" : "Visit ▸") : "Next ▸", () => walk(1), { "data-walk": "next", class: "sst-button sst-pg-main" });
    back.disabled = station === 0;
    forth.disabled = asking();
    stations.append(top, h("ol", { class: "sst-pg-road" }, names().map((other, i) => h("li", { "aria-current": i === station ? "step" : null },
      h("button", { type: "button", click: () => { station = i; moveFrom = performance.now(); label(); paint(); sayStation(); } }, STATION_NAMES[other])))),
    h("p", {}, stationWords()),
    h("p", { class: "sst-pg-line" }, lines.algorithm && asIn && !(name === "weights" && runs[0].settings.loss === "contrastive") ? `${lines.algorithm} ` : "",
      lines.code && (asIn || ["choose", "visit"].includes(name)) ? [h("code", {}, lines.code), ` (${lines.place})`] : ""));
    if (held >= 0) (parts_()[held].disabled ? forth : parts_()[held]).focus({ preventScroll: true });
  }

  // -- triplets
  /** The chosen place in the batch; the other run of a race has it, too, if its batch is the same. */
  const focusOf = (run) => (run === runs[0] || String(run.next?.batch) === String(runs[0].next?.batch) ? focus : -1);
  const anchors = (run) => [...new Set(run?.next?.pairs.a ?? [])];
  /** The triplet of an anchor (a place in the batch; by default the one that is moved most) that matters most. */
  function tripletOf(run, wanted = -1) {
    const { next } = run, { loss, margin, dim } = run.settings;
    if (!next || !next.pairs.a.length) return null;
    const { z, labels, batch, pairs, gradient } = next, gap = (i, j) => E.gap(z, i * dim, z, j * dim, dim);
    let a = wanted;
    if (!anchors(run).includes(a)) {
      const push = (i) => { let sum = 0; for (let c = 0; c < dim; c++) sum += gradient[i * dim + c] ** 2; return sum; };
      a = anchors(run).reduce((p, q) => (push(q) > push(p) ? q : p));
    }
    const positives = [...pairs.a.keys()].filter((t) => pairs.a[t] === a).map((t) => pairs.p[t]);
    const score = (p, n) => (loss === "sst" ? gap(a, p) - (gap(a, n) + gap(p, n)) / 2 : loss === "triplet" ? gap(a, p) + margin - gap(a, n) : margin - gap(a, n));
    let best = null;
    const negatives = [...labels.keys()].filter((n) => labels[n] !== labels[a]);
    for (const p of positives) for (const n of negatives) { const value = score(p, n); if (!best || value > best.value) best = { p, n, value }; }
    if (!best) return null;
    const s = 1 / (1 + Math.exp(-best.value));
    const words = loss === "sst" ? `The triplet drawn has s = ${tidy(s)}: its negative lies ${best.value > 0 ? "inside" : "outside"} the sphere.`
      : loss === "triplet" ? `The triplet drawn is ${best.value > 0 ? "active: its negative lies inside" : "inactive: its negative lies outside"} the circle.`
        : `The nearest item of another class lies ${best.value > 0 ? "inside the circle, and is pushed away" : "outside the circle, and is left alone"}.`;
    const all = negatives.map((n) => ({ n, weight: Math.max(...positives.map((p) => { const v = score(p, n); return loss === "sst" ? 1 / (1 + Math.exp(-v)) : v > 0 ? 1 : 0; })) }));
    return { a, ...best, s, words, positives, all, apart: gap(a, best.p), item: (i) => batch[i] };
  }
  function nextAnchor() {
    const all = anchors(runs[0]);
    if (!all.length) return;
    const at = all.indexOf(focus < 0 ? tripletOf(runs[0])?.a : focus);
    focus = all[(at + 1) % all.length];
    paint();
    label();
    say(`Anchor ${at + 2 > all.length ? 1 : at + 2} of ${all.length}, ${data.classes[runs[0].next.labels[focus]]}. ${tripletOf(runs[0], focus).words}`);
  }

  // -- words and dials as they are
  function label() {
    const two = current.length > 1, now = current[two ? edited : 0] ?? settings();
    for (const [name, knob] of Object.entries(knobs)) knob.set(now[name]);
    const idle = { margin: now.loss === "sst", warmup: now.sampler !== "local", k: now.loss === "contrastive" && now.sampler !== "local" };
    for (const [name, off] of Object.entries(idle)) { knobs[name].input.disabled = off; knobs[name].node.classList.toggle("sst-off", off); }
    which.inputs[0].closest("fieldset").hidden = !two;
    which.set(edited);
    play.textContent = playing ? "Pause" : "Play";
    for (const node of [play, one, whole]) node.disabled = asking();
    play.title = asking() ? "Commit to an answer first" : "";
    slowly.setAttribute("aria-pressed", String(Boolean(slow)));
    race.setAttribute("aria-pressed", String(two));
    differs.hidden = key.hidden = !two;
    differs.replaceChildren(two ? difference(...current) : "", h("span", { class: "sst-pg-measured" }, " Both start from the same network and draw the same random numbers."));
    panels[1].box.hidden = !two;
    panels[2].box.hidden = two || !data || data.d !== 2;
    pair.classList.toggle("sst-pg-alone", !two && panels[2].box.hidden);
    for (const { input } of [swing, tilt]) input.parentNode.hidden = now.dim !== 3;
    for (const panel of panels) panel.node.style.touchAction = now.dim === 3 && panel.side < 2 ? "none" : ""; // a finger turns it
    look.inputs[0].closest("fieldset").hidden = !data?.side;
    others.hidden = part !== "train";
    shown.set(part);
    if (data) {
      legend.replaceChildren(...(data.classes.length <= 10 ? data.classes.map((text, i) => {
        const sign = h("canvas", { width: 32, height: 32, "aria-hidden": "true" });
        if (palette.ink) drawSign(sign, i, palette);
        return h("span", {}, sign, text);
      }) : [`${data.classes.length} classes; point at one to see its name.`]));
    }
    paintStations();
  }

  // -- painting
  function sheetOf(which_) {
    if (sheets[which_]) return sheets[which_];
    const { side, d } = data, source = data[which_], columns = 32, node = Object.assign(document.createElement("canvas"), { width: columns * side, height: Math.ceil(source.n / columns) * side });
    const pen = node.getContext("2d"), image = pen.createImageData(node.width, node.height), probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const inks = HUES.map((name) => { probe.fillStyle = palette[name]; probe.fillRect(0, 0, 1, 1); return probe.getImageData(0, 0, 1, 1).data; });
    for (let i = 0; i < source.n; i++) {
      const ink = inks[source.labels[i] % 7], x0 = (i % columns) * side, y0 = Math.floor(i / columns) * side;
      for (let p = 0; p < d; p++) {
        const at = 4 * ((y0 + Math.floor(p / side)) * node.width + x0 + (p % side));
        image.data[at] = ink[0]; image.data[at + 1] = ink[1]; image.data[at + 2] = ink[2];
        image.data[at + 3] = 255 * source.x[i * d + p];
      }
    }
    pen.putImageData(image, 0, 0);
    return (sheets[which_] = { node, columns });
  }

  function fit(panel) {
    const width = Math.floor(panel.node.parentNode.clientWidth) || 240, size = Math.min(2, sharpness(panel.node));
    if (panel.width !== width) panel.type = typeSize(panel.node);
    panel.width = width;
    panel.height = Math.round(width * (panel.side === 2 && width === main.clientWidth ? 0.55 : pair.classList.contains("sst-pg-alone") ? 0.72 : 0.95));
    if (panel.node.width !== Math.round(width * size) || panel.node.height !== Math.round(panel.height * size)) {
      panel.node.width = Math.round(width * size);
      panel.node.height = Math.round(panel.height * size);
      panel.node.style.height = `${panel.height}px`;
    }
    panel.pen.setTransform(size, 0, 0, size, 0, 0);
    panel.pen.clearRect(0, 0, width, panel.height);
  }

  function paint() {
    if (!runs.length || !data) return;
    runs.forEach((run, i) => paintRun(run, panels[i]));
    if (!panels[2].box.hidden) paintInput(runs[0], panels[2]);
    tell();
    if (slow && names()[station] === "move" && !still.matches && performance.now() - moveFrom < 900) requestAnimationFrame(paint);
  }

  /** A ring about the point under the pointer, if there is one. */
  function ring(pen, x, y, radius) {
    if (x === undefined) return;
    pen.strokeStyle = palette.ink;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(x, y, radius, 0, 2 * Math.PI);
    pen.stroke();
  }
  function paintRun(run, panel) {
    fit(panel);
    const { pen, width, height } = panel, { dim, normalize, scale } = run.settings, labels = data[part].labels, n = data[part].n;
    const name = slow ? names()[station] : "";
    let z = run.z;
    const blend = name === "move" && run.moved ? (still.matches ? 1 : Math.min(1, (performance.now() - moveFrom) / 800)) : 0;
    if (z.length !== n * dim) return;
    const view = (run.lens = lens(z, n, dim, turn, run.lens, normalize));
    const along = (array, i, k, shift = true) => { let sum = 0; for (let c = 0; c < dim; c++) sum += view.axes[k][c] * (array[i * dim + c] - (shift ? view.mean[c] : 0)); return sum; };
    // The view only ever widens: what falls together is seen to fall together. What can be turned fits however it is turned.
    const most = (size) => { const all = Float32Array.from({ length: n }, (_, i) => size(i)).sort(); return Math.max(all[Math.floor(0.99 * (n - 1))], 1e-9); };
    const [oldX, oldY] = run.reach || [0, 0];
    const round = normalize && dim < 4 ? scale : dim === 3 ? most((i) => Math.hypot(...view.mean.map((m, c) => z[i * 3 + c] - m))) : 0;
    run.reach = [Math.max(oldX, round || most((i) => Math.abs(along(z, i, 0)))), Math.max(oldY, round || most((i) => Math.abs(along(z, i, 1))))];
    const zoom = 0.45 * Math.min(width / run.reach[0], height / run.reach[1]);
    const inside = (v, end) => Math.max(3, Math.min(end - 3, v));
    const px = (array, i) => inside(width / 2 + zoom * along(array, i, 0), width), py = (array, i) => inside(height / 2 - zoom * along(array, i, 1), height);
    const X = (panel.X = new Float32Array(n)), Y = (panel.Y = new Float32Array(n));
    for (let i = 0; i < n; i++) {
      X[i] = px(z, i);
      Y[i] = py(z, i);
      if (blend) { X[i] += blend * (px(run.moved, i) - X[i]); Y[i] += blend * (py(run.moved, i) - Y[i]); }
    }
    const calm = !playing || rate === 2, batch = part === "train" && run.next && calm && !["embed", "cluster"].includes(name) ? run.next.batch : null;

    // the circle (or sphere) of unit length, and a bar that tells the scale
    pen.strokeStyle = palette.line;
    pen.lineWidth = 1;
    if (normalize && dim < 4) { pen.beginPath(); pen.arc(width / 2, height / 2, zoom * scale, 0, 2 * Math.PI); pen.stroke(); }

    // neighborhoods
    if (part === "train" && run.owner && name !== "embed") {
      const groups = new Map();
      run.owner.forEach((c, i) => groups.set(c, [...(groups.get(c) ?? []), i]));
      const current = batch && run.owner[batch[0]];
      for (const [c, items] of groups) {
        const edge = hull(items, X, Y), hue = palette[HUES[c % 6]];
        pen.beginPath();
        edge.forEach((i, j) => pen[j ? "lineTo" : "moveTo"](X[i], Y[i]));
        pen.closePath();
        pen.globalAlpha = batch && c === current ? 0.3 : 0.12;
        pen.fillStyle = pen.strokeStyle = hue;
        pen.lineJoin = "round";
        pen.fill();
        pen.globalAlpha = batch && c === current ? 1 : 0.35;
        pen.lineWidth = batch && c === current ? 2 : 1;
        pen.stroke();
      }
      pen.globalAlpha = 1;
    }

    // points: the batch is lifted out, if the picture is slow enough to be looked at
    const lifted = new Uint8Array(n), pictures = data.side && !marks, g = Math.max(9, Math.min(data.side === 8 ? 14 : 18, width / 34)), r = Math.max(2.4, Math.min(4.2, width / 130));
    if (batch) for (const i of batch) lifted[i] = 1;
    for (const up of batch ? [0, 1] : [0]) {
      pen.globalAlpha = batch && !up ? 0.32 : 0.95;
      if (pictures) {
        const { node, columns } = sheetOf(part), { side } = data;
        for (let i = 0; i < n; i++) if (lifted[i] === up) pen.drawImage(node, (i % columns) * side, Math.floor(i / columns) * side, side, side, X[i] - g / 2, Y[i] - g / 2, g, g);
      } else {
        for (let number = 0; number < data.classes.length; number++) {
          const [hue, kind] = looks(number);
          pen.fillStyle = palette[hue];
          pen.beginPath();
          for (let i = 0; i < n; i++) if (labels[i] === number && lifted[i] === up) mark(pen, kind, X[i], Y[i], up ? r + 1 : r);
          pen.fill();
        }
      }
    }
    pen.globalAlpha = 1;
    if (batch) paintBatch(run, panel, name, { X, Y, zoom, along, px, py });
    ring(pen, X[hovered], Y[hovered], 10);
    const bar_ = round125((0.2 * width) / zoom);
    pen.strokeStyle = pen.fillStyle = palette.faint;
    pen.lineWidth = 1.5;
    pen.beginPath();
    pen.moveTo(10, height - 10);
    pen.lineTo(10 + bar_ * zoom, height - 10);
    pen.stroke();
    pen.font = `${panel.type}px system-ui, sans-serif`;
    pen.fillText(`${Number(bar_.toPrecision(1))} in the embedding`, 10, height - 15);
    if (runs.length > 1) { // in the colour of its curves
      pen.font = `700 ${panel.type + 4}px system-ui, sans-serif`;
      pen.fillStyle = palette[panel.side ? "vermilion" : "blue"];
      pen.fillText(panel.name, 8, panel.type + 10);
    }
    const where = dim === 16 ? `16-d, seen in the plane of greatest variance (${percent(view.share)} of it)` : dim === 3 ? "3-d: drag to turn it" : "the embedding";
    panel.caption.textContent = `${runs.length > 1 ? `${panel.name}: ` : ""}${where}${
      batch ? `; standing out: the next batch, ${batch.length} points` : calm || part !== "train" ? "" : "; pause to see the batch and its arrows"}`;
    panel.node.setAttribute("aria-label", `${runs.length > 1 ? `${panel.name}. ` : ""}The embedding of ${n} ${data.side ? "pictures" : "points"}. ${told(run, data)}`);
  }

  function paintBatch(run, panel, name, { X, Y, zoom, along }) {
    const { pen, width } = panel, { next, settings: { dim, loss, margin } } = run, { batch, gradient } = next, at = (i) => [X[batch[i]], Y[batch[i]]];
    const under = hovered < 0 ? -1 : batch.indexOf(hovered), anchor = anchors(run).includes(under) ? under : focusOf(run);
    const found = ["distances", "positives", "weights"].includes(name) || anchor >= 0 ? tripletOf(run, anchor) : null;
    const line = (i, j, w, hue, alpha = 1, dash = []) => {
      pen.globalAlpha = alpha;
      pen.strokeStyle = palette[hue];
      pen.lineWidth = w;
      pen.setLineDash(dash);
      pen.beginPath();
      pen.moveTo(...at(i));
      pen.lineTo(...at(j));
      pen.stroke();
      pen.setLineDash([]);
      pen.globalAlpha = 1;
    };
    if (name === "distances" && found) batch.forEach((_, j) => {
      if (j !== found.a) line(found.a, j, 1, "ink", Math.max(0.06, 1 - Math.hypot(at(j)[0] - at(found.a)[0], at(j)[1] - at(found.a)[1]) / (0.6 * width)));
    });
    if (name === "positives" && found) {
      next.pairs.a.forEach((a, t) => line(a, next.pairs.p[t], 1, "blue", 0.12));
      found.positives.forEach((p) => line(found.a, p, 3, "blue"));
    }
    if (name === "weights" && found) found.all.forEach(({ n, weight }) => { if (weight > 0.01) line(found.a, n, 0.3 + 4 * weight, "vermilion", 0.25 + 0.6 * weight); });
    if (found && (name === "weights" || !name)) { // one triplet, with its circle or sphere
      const [ax, ay] = at(found.a), [bx, by] = at(found.p), middle = loss === "sst" ? [(ax + bx) / 2, (ay + by) / 2] : [ax, ay];
      const radius = loss === "sst" ? Math.sqrt(0.75 * found.apart) : loss === "triplet" ? Math.sqrt(found.apart + margin) : Math.sqrt(margin);
      line(found.a, found.p, 2.5, "blue");
      line(found.a, found.n, 2, "vermilion", 1, [5, 4]);
      if (loss === "sst") line(found.p, found.n, 2, "vermilion", 1, [5, 4]);
      pen.strokeStyle = palette.ink;
      pen.lineWidth = 1.5;
      pen.setLineDash([3, 3]);
      pen.beginPath();
      pen.arc(...middle, radius * zoom, 0, 2 * Math.PI);
      pen.stroke();
      pen.setLineDash([]);
      const text = loss === "sst" ? `s = ${tidy(found.s)}` : found.value > 0 ? "active" : "inactive";
      pen.font = `600 ${panel.type + 2}px system-ui, sans-serif`;
      pen.lineWidth = 4;
      pen.strokeStyle = palette.paper;
      pen.fillStyle = palette.ink;
      const x = Math.min(Math.max(at(found.n)[0] + 8, 4), width - 60), y = Math.max(at(found.n)[1] - 8, 14);
      pen.strokeText(text, x, y);
      pen.fillText(text, x, y);
    }
    if (!name || name === "forces" || name === "visit") { // arrows of the negative gradient, the longest of fixed length
      let most = 0;
      batch.forEach((_, i) => { most = Math.max(most, Math.hypot(along(gradient, i, 0, false), along(gradient, i, 1, false))); });
      const long = most > 0 ? (0.11 * width) / most : 0;
      pen.strokeStyle = palette.ink;
      pen.lineWidth = 1.3;
      pen.globalAlpha = 0.85;
      pen.beginPath();
      batch.forEach((_, i) => arrow(pen, ...at(i), -long * along(gradient, i, 0, false), long * along(gradient, i, 1, false)));
      pen.stroke();
      pen.globalAlpha = 1;
    }
    if (name === "move" && run.moved) { // rings where they were
      pen.strokeStyle = palette.faint;
      pen.lineWidth = 1;
      pen.beginPath();
      batch.forEach((item) => {
        const x = width / 2 + zoom * along(run.z, item, 0), y = panel.height / 2 - zoom * along(run.z, item, 1);
        pen.moveTo(x + 4, y);
        pen.arc(x, y, 4, 0, 2 * Math.PI);
        pen.moveTo(x, y);
        pen.lineTo(X[item], Y[item]);
      });
      pen.stroke();
    }
  }

  function paintInput(run, panel) {
    fit(panel);
    const { pen, width, height } = panel, { x, labels, n } = data[part], reach = Math.max(...x.map(Math.abs)) * 1.04, zoom = Math.min(width, height) / 2 / reach;
    const X = (panel.X = new Float32Array(n)), Y = (panel.Y = new Float32Array(n)), batch = part === "train" && run.next && (!playing || rate === 2) ? new Set(run.next.batch) : null;
    for (let i = 0; i < n; i++) { X[i] = width / 2 + zoom * x[2 * i]; Y[i] = height / 2 - zoom * x[2 * i + 1]; }
    for (let number = 0; number < data.classes.length; number++) {
      const [hue, kind] = looks(number);
      pen.fillStyle = palette[hue];
      for (const up of [false, true]) {
        pen.globalAlpha = batch && !up ? 0.32 : 0.95;
        pen.beginPath();
        for (let i = 0; i < n; i++) if (labels[i] === number && Boolean(batch?.has(i)) === up) mark(pen, kind, X[i], Y[i], up ? 4 : 2.8);
        pen.fill();
      }
    }
    pen.globalAlpha = 1;
    ring(pen, X[hovered], Y[hovered], 9);
    panel.caption.textContent = "the data as the network gets them";
    panel.node.setAttribute("aria-label", `The input: ${n} points of ${data.classes.length} classes in the plane.`);
  }

  function paintCurves() {
    if (!runs.length) return;
    // All are drawn before any text changes: to ask for the size of a canvas after that would lay out the page again.
    for (const { column, top, node } of curves) drawCurve(node, runs, column, top, axis, palette);
    for (const { column, title, node, value } of curves) {
      const last = runs.map((run) => run.rows.map((row) => row[column]).filter((v) => v !== null).pop());
      const words = last.map((v) => (v === undefined ? "–" : column === 6 || column === 7 ? percent(v) : tidy(v, column === 3 ? 3 : 2)));
      value.replaceChildren(...words.flatMap((text, i) => [i ? " / " : "", h("span", { class: words.length > 1 ? `sst-pg-${"ab"[i]}` : null }, text)]));
      node.setAttribute("aria-label", `${title}: ${value.textContent}, after ${counted(runs[0].rows.length, "measurement", "measurements")}`);
    }
  }

  // -- the pointer
  function point(panel, event) {
    if (panel.grab && panel.side < 2 && current[0].dim === 3 && event.buttons) {
      turn = [panel.grab[2] + (event.clientX - panel.grab[0]) / 120, Math.max(-1.5, Math.min(1.5, panel.grab[3] + (event.clientY - panel.grab[1]) / 120))];
      let degrees = Math.round((turn[0] * 180) / Math.PI) % 360;
      if (degrees > 180) degrees -= 360;
      if (degrees < -180) degrees += 360;
      swing.set(degrees);
      tilt.set(Math.round((turn[1] * 180) / Math.PI));
      paint();
      return;
    }
    hover(pointed(event, panel.node, panel.X.length, (i) => panel.X[i], (i) => panel.Y[i]), panel);
  }
  function hover(item, panel) {
    if (item === hovered) return;
    hovered = item;
    for (const other of panels) other.tip.hidden = true;
    if (item >= 0 && data) {
      const { tip, X, Y, width, height } = panel, picture = data.side ? sheetOf(part) : null;
      showTip(tip, { sheet: picture?.node ?? null, item, side: data.side || 1, columns: picture?.columns ?? 1, name: data.classes[data[part].labels[item]], x: X[item], y: Y[item], width, height });
      tip.hidden = false;
    }
    paint();
  }

  function themed() {
    palette = colours(root, [...HUES, "faint", "line", "paper"]);
    sheets = {};
    label();
    paint();
    paintCurves();
  }

  root.addEventListener("keydown", (event) => {
    if (event.target.matches("input, select, textarea")) return;
    if (event.key === " " && !event.target.matches("button")) toggle();
    else if (event.key === "ArrowRight" && slow) walk(1);
    else if (event.key === "ArrowLeft" && slow) walk(-1);
    else if (event.key === "ArrowRight") advance("steps");
    else if (event.key === "Home") restart();
    else return;
    event.preventDefault();
  });

  // -- from outside: Python, a link, another view
  let own_ = "";
  function outside() {
    const now = JSON.stringify([model.get("settings"), model.get("rival")]);
    if (now === own_) return;
    own_ = now;
    over = false;
    question();
    open();
  }
  function address() {
    if (!model.get("address") || location.hash.length < 2) return;
    const found = fromLink(location.hash);
    if (toLink(found) === model.get("link")) return;
    const named = (model.get("experiments") ?? []).find((one_) => one_.name === found.experiment);
    const bare = [...new URLSearchParams(location.hash.slice(1)).keys()].every((name) => ["experiment", "seed"].includes(name));
    if (named && bare) return begin(named.name, found.settings.seed); // typed by hand: its own settings
    put(model, { experiment: named ? found.experiment : "", settings: found.settings, rival: found.rival, changes: found.changes, chosen: null, committed: false });
    own_ = JSON.stringify([model.get("settings"), model.get("rival")]);
    question();
    open(found.changes);
  }
  themed();
  question();
  own_ = JSON.stringify([model.get("settings"), model.get("rival")]);
  if (model.get("address") && location.hash.length > 1) address();
  else open(model.get("changes") ?? [[], []]);
  addEventListener("hashchange", address);
  const resized = new ResizeObserver(() => { if (panels[0].node.parentNode.clientWidth !== panels[0].width) { paint(); paintCurves(); } });
  resized.observe(main);
  const ends = [follow(model, ["settings", "rival", "changes"], outside), follow(model, ["experiment", "chosen", "committed"], () => { pick.value = model.get("experiment"); label(); }), onTheme(themed)];
  return () => {
    worker.end();
    removeEventListener("hashchange", address);
    for (const [name, handler] of Object.entries(drops)) target.removeEventListener(name, handler);
    resized.disconnect();
    ends.forEach((end) => end());
  };
}

export default { render };
