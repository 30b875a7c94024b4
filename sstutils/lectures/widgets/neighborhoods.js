// What a batch holds. The Python twins of the functions up to `render` are in neighborhoods.py.

const SAMPLERS = { local: "local", balanced: "class-balanced", shuffled: "shuffled" };
const MATTERS = -2.1972245773362196; // z where s = 1 / (1 + exp(-z)) is 0.1
const PER_CLASS = 5; // images of a class in a class-balanced batch
const SIDE = 28, COLUMNS = 20; // of the pictures on the sprite sheet
const LOW = -16, STEP = 0.5, BINS = 40; // histogram of z, from -16 to 4; its ends take what lies beyond

/** Draw `count` items without replacement: Fisher and Yates. */
function drawn(items, count, next) {
  items = Array.from(items);
  for (let i = 0; i < count; i++) {
    const j = i + Math.floor(next() * (items.length - i));
    [items[i], items[j]] = [items[j], items[i]];
  }
  return items.slice(0, count);
}

/** Draw `count` items; each comes before any comes again. */
function some(items, count, next) {
  const out = [];
  items = Array.from(items);
  while (out.length < count) out.push(...drawn(items, items.length, next));
  return out.slice(0, count);
}

/** Items by group: grouped([1, 0, 1]) is [[1], [0, 2]]. */
function grouped(numbers) {
  const groups = [];
  numbers.forEach((number, item) => (groups[number] ??= []).push(item));
  return Array.from(groups, (group) => group ?? []);
}

/** The batches of one epoch, each ascending; those without a triplet are among them. */
function drawBatches(sampler, labels, clusters, size, seed) {
  const next = random(seed), count = labels.length;
  let batches;
  if (sampler === "local") {
    batches = grouped(clusters).filter((group) => group.length)
      .map((group) => (group.length > size ? drawn(group, size, next) : group));
  } else if (sampler === "balanced") {
    const members = grouped(labels), most = Math.min(size, count);
    const classes = Math.max(2, Math.min(members.length, Math.floor(most / PER_CLASS))), each = Math.floor(most / classes);
    batches = Array.from({ length: Math.max(1, Math.floor(count / (classes * each))) }, () =>
      some(members.keys(), classes, next).flatMap((c) => some(members[c], each, next)));
  } else {
    const order = drawn(labels.keys(), count, next);
    batches = Array.from({ length: Math.max(1, Math.floor(count / size)) }, (_, i) => order.slice(i * size, (i + 1) * size));
  }
  return batches.map((batch) => Int32Array.from(batch).sort());
}

/** Squared distances between all rows of whole numbers, times scale^2. The sums are exact, as in Python. */
function squaredDistances(vectors, dims, scale) {
  const count = vectors.length / dims, d2 = new Float64Array(count * count), unit = scale * scale;
  const x = Float64Array.from(vectors);
  for (let i = 0; i < count; i++) {
    for (let j = 0; j < i; j++) {
      let sum = 0;
      for (let a = i * dims, b = j * dims, end = a + dims; a < end; a++, b++) sum += (x[a] - x[b]) * (x[a] - x[b]);
      d2[i * count + j] = d2[j * count + i] = sum * unit;
    }
  }
  return d2;
}

/** Positions of the k nearest positives of position a in a batch; of equally near ones the first. */
function nearest(d2, count, batch, labels, a, k) {
  const row = batch[a] * count, label = labels[batch[a]], near = [];
  for (let i = 0; i < batch.length; i++) if (i !== a && labels[batch[i]] === label) near.push(i);
  return near.sort((i, j) => d2[row + batch[i]] - d2[row + batch[j]] || i - j).slice(0, k);
}

/** Count the triplets of a batch, and the shares whose gradient matters; `bins` takes the histogram of z. */
function measure(d2, count, batch, labels, k, margin, bins = null) {
  // Class by class, so that the negatives of an anchor are two runs: all items but those from `low` to `high`.
  const items = Int32Array.from(Array.from(batch.keys()).sort((i, j) => labels[batch[i]] - labels[batch[j]] || i - j), (i) => batch[i]);
  const size = items.length, d = new Float64Array(size * size), near = new Int32Array(k);
  for (let i = 0; i < size; i++) for (let j = 0, row = items[i] * count; j < size; j++) d[i * size + j] = d2[row + items[j]];
  let triplets = 0, sst = 0, inside = 0, active = 0, pairs = 0, close = 0;
  for (let a = 0, low = 0, high = 0; a < size; a++) {
    if (a === high) for (low = high; high < size && labels[items[high]] === labels[items[low]];) high++;
    if (high - low === size) break; // one class only
    const row = a * size;
    let found = 0; // the k nearest of the class, nearest first
    for (let i = low; i < high; i++) {
      if (i === a) continue;
      let at = found;
      while (at && d[row + i] < d[row + near[at - 1]]) at--;
      if (at === k) continue;
      if (found < k) found++;
      for (let t = found - 1; t > at; t--) near[t] = near[t - 1];
      near[at] = i;
    }
    pairs += size - high + low;
    triplets += found * (size - high + low);
    for (let half = 0; half < 2; half++) {
      const from = half ? high : 0, to = half ? size : low;
      for (let n = from; n < to; n++) if (d[row + n] < margin) close++;
      for (let t = 0; t < found; t++) {
        const far = near[t] * size, dap = d[row + near[t]];
        for (let n = from; n < to; n++) {
          const dan = d[row + n], z = dap - (dan + d[far + n]) / 2;
          sst += z > MATTERS ? 1 : 0;
          inside += z > 0 ? 1 : 0;
          active += dap + margin - dan > 0 ? 1 : 0;
          if (bins) bins[Math.max(0, Math.min(BINS - 1, Math.floor((z - LOW) / STEP)))]++;
        }
      }
    }
  }
  const share = (part, whole) => (whole ? part / whole : 0);
  return {
    triplets, sst: share(sst, triplets), inside: share(inside, triplets), triplet: share(active, triplets),
    contrastive: share(close, pairs),
  };
}

/** Means over the batches that have triplets, their number, all triplets, and how many images they use. */
function epoch(d2, count, batches, labels, k, margin) {
  const means = { sst: 0, inside: 0, triplet: 0, contrastive: 0, triplets: 0, batches: 0, used: 0 }, used = new Set();
  for (const batch of batches) {
    const found = measure(d2, count, batch, labels, k, margin);
    if (!found.triplets) continue;
    for (const name of ["sst", "inside", "triplet", "contrastive", "triplets"]) means[name] += found[name];
    means.batches++;
    for (const item of batch) used.add(item);
  }
  for (const name of ["sst", "inside", "triplet", "contrastive"]) means[name] /= means.batches || 1;
  return { ...means, used: used.size };
}

/** Colour (0 to 3) and mark (0 to 7) of each group of a map; 32 differ. Groups of one colour lie far apart. */
function groupLooks(middles) {
  const colour = [], used = [0, 0, 0, 0], most = Math.ceil(middles.length / 4);
  return middles.map(([x, y]) => {
    const far = used.map((count, tint) => (count >= most ? -1
      : Math.min(...colour.map((other, i) => (other === tint ? Math.hypot(middles[i][0] - x, middles[i][1] - y) : Infinity)))));
    const tint = far.indexOf(Math.max(...far));
    colour.push(tint);
    return [tint, used[tint]++ % 8];
  });
}

/** The negatives of position a that matter to a loss, with any of its positives (or all, if a batch has no pair for it). */
function mattering(d2, count, batch, labels, a, positives, loss, margin) {
  const row = batch[a] * count;
  return Array.from(batch).filter((n) => labels[n] !== labels[batch[a]] && positives.some((p) => {
    const dap = d2[row + batch[p]], dan = d2[row + n];
    if (loss === "contrastive") return dan < margin;
    if (loss === "triplet") return dap + margin - dan > 0;
    return dap - (dan + d2[batch[p] * count + n]) / 2 > MATTERS;
  }));
}

/** The first image of a batch whose class is the largest there. */
function firstAnchor(batch, labels) {
  const sizes = Array.from(batch, (item) => batch.filter((other) => labels[other] === labels[item]).length);
  return batch[sizes.indexOf(Math.max(...sizes))];
}

const STYLE = `
.sst-widget .nb-map { flex: 1 1 460px; min-width: 0; max-width: 540px; }
.sst-widget .nb-map canvas { display: block; cursor: pointer; touch-action: manipulation; }
.sst-widget .nb-facts { flex: 1 1 300px; min-width: 0; }
.sst-widget .nb-what { font-size: 17px; font-weight: 600; margin: 0; }
.sst-widget .nb-count { font-size: 17px; margin: 0 0 2px; }
.sst-widget .nb-note { margin: 0 0 8px; color: var(--sst-faint); min-height: 4.35em; }
.sst-widget .nb-key { margin: -4px 0 6px; color: var(--sst-faint); font-size: 13px; }
.sst-widget .nb-head { margin: 0 0 4px; font-weight: 600; }
.sst-widget .nb-row { display: grid; grid-template-columns: 1fr auto; margin-bottom: 9px; align-items: end; }
.sst-widget .nb-number { font-size: 21px; line-height: 1.1; font-weight: 700; font-variant-numeric: tabular-nums; }
.sst-widget .nb-bar { grid-column: 1 / 3; position: relative; height: 16px; background: var(--sst-panel); border: 1px solid var(--sst-line); }
.sst-widget .nb-bar i { position: absolute; inset: 0 auto 0 0; background: var(--nb-fill); }
.sst-widget .nb-bar b { position: absolute; top: -3px; bottom: -3px; width: 0; border-left: 4px solid var(--sst-ink); margin-left: -2px; outline: 1px solid var(--sst-paper); }
.sst-widget .nb-means { grid-column: 1 / 3; font-size: 13px; color: var(--sst-faint); font-variant-numeric: tabular-nums; display: flex; flex-wrap: wrap; gap: 0 10px; }
.sst-widget .nb-means span[data-now] { color: var(--sst-ink); font-weight: 700; }
.sst-widget .nb-legend { display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: 13px; margin: 4px 0; padding: 0; list-style: none; }
.sst-widget .nb-legend li { margin: 0; display: flex; gap: 6px; align-items: center; }
.sst-widget .nb-legend svg { flex: none; }
.sst-widget .nb-top input[type="range"] { width: 140px; }
.sst-widget .nb-grid { display: block; cursor: pointer; touch-action: manipulation; margin-bottom: 8px; }
.sst-widget .nb-steps { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; }
`;

const TINTS = ["green", "purple", "orange", "sky"]; // of neighborhoods; blue and vermilion are kept for positives and negatives
const LOSSES = { sst: "SST", triplet: "triplet", contrastive: "contrastive" };
const ROWS = [
  ["sst", "SST loss", "s > 0.1", "blue"],
  ["inside", "SST loss", "s > 0.5: inside the sphere", "blue"],
  ["triplet", "triplet loss", "active at margin m", "purple"],
  ["contrastive", "contrastive loss", "negatives within m", "orange"],
];
const percent = (x) => (x <= 0 || x >= 0.0995 ? `${Math.round(100 * x)} %` : x < 0.0005 ? "<0.1 %" : `${(100 * x).toFixed(1)} %`);
const many = (x) => x.toLocaleString("en-US");
const plural = (count, one, more = `${one}s`) => `${many(count)} ${count === 1 ? one : more}`;

function render({ model, el }) {
  const { root, body, say } = stage(el, model,
    "A map of training images. The images of one batch appear as pictures, the others as marks, with a colour and a shape for each "
    + "neighborhood. Choose how batches are made and see how many of their triplets still have a gradient.");
  root.append(h("style", {}, STYLE));
  const stages = model.get("stages"), sizes = model.get("sizes"), classes = model.get("classes");
  const labels = numbers(model.get("labels"), Int16Array), count = labels.length;
  const vectors = numbers(model.get("vectors"), Int16Array), layouts = numbers(model.get("layouts"), Int16Array);
  const clusters = numbers(model.get("clusters"), Uint8Array);
  const most = Math.max(...grouped(labels).map((group) => group.length)) - 1;

  // -- what is computed, and kept as long as it is the same --
  const kept = new Map();
  const once = (name, key, compute) => {
    if (kept.get(name)?.key !== key) kept.set(name, { key, value: compute() });
    return kept.get(name).value;
  };
  const at = () => Math.max(0, stages.findIndex((entry) => entry.name === model.get("stage")));
  const offsets = stages.map((_, i) => stages.slice(0, i).reduce((sum, entry) => sum + entry.dims * count, 0));
  function distances(number) {
    const { dims, scale } = stages[number];
    return once(`d2 ${number}`, 0, () => squaredDistances(vectors.subarray(offsets[number], offsets[number] + dims * count), dims, scale));
  }
  function assignment(number) {
    const from = (number * sizes.length + Math.max(0, sizes.indexOf(model.get("B")))) * count;
    return clusters.subarray(from, from + count);
  }
  function batchesOf(sampler) {
    const number = at(), B = model.get("B"), seed = model.get("seed");
    return once(sampler, `${sampler === "local" && number} ${B} ${seed}`, () => drawBatches(sampler, labels, assignment(number), B, seed));
  }
  function epochOf(sampler) {
    const batches = batchesOf(sampler), k = model.get("k"), margin = model.get("margin"), number = at();
    return once(`epoch ${sampler}`, `${number} ${model.get("B")} ${model.get("seed")} ${k} ${margin}`,
      () => epoch(distances(number), count, batches, labels, k, margin));
  }

  // Batch and anchor belong together: whichever did not move follows the other.
  let shownBatch = model.get("batch");
  function settle() {
    const batches = batchesOf(model.get("sampler"));
    let batch = Math.min(model.get("batch"), batches.length - 1), anchor = model.get("anchor");
    if (!batches[batch].includes(anchor)) {
      const holds = batches.findIndex((items) => items.includes(anchor));
      if (holds >= 0 && model.get("batch") === shownBatch) batch = holds;
      else anchor = firstAnchor(batches[batch], labels);
    }
    shownBatch = batch;
    if (batch !== model.get("batch") || anchor !== model.get("anchor")) put(model, { batch, anchor });
    return { batches, batch, anchor };
  }

  // -- controls --
  const top = h("div", { class: "sst-controls nb-top" });
  body.append(top);
  const change = (values) => { put(model, values); draw(); };
  const stageOf = choice(top, {
    label: "Network", options: stages.map((entry) => [entry.name, entry.name]), value: model.get("stage"), onChange: (x) => change({ stage: x }),
  });
  const samplerOf = choice(top, {
    label: "Batches", options: Object.entries(SAMPLERS), value: model.get("sampler"), onChange: (x) => change({ sampler: x }),
  });
  const sizeOf = slider(top, {
    label: "Batch size B", min: 0, max: sizes.length - 1, step: 1, value: sizes.indexOf(model.get("B")), format: (i) => String(sizes[i]),
    onInput: (i) => change({ B: sizes[i] }),
  });
  const kOf = slider(top, { label: "Positives k", min: 1, max: Math.min(10, most), step: 1, value: model.get("k"), onInput: (k) => change({ k }) });
  const marginOf = slider(top, {
    label: "Margin m", min: 0, max: 5, step: 0.1, value: model.get("margin"), format: (m) => m.toFixed(1), onInput: (margin) => change({ margin }),
  });
  const batchOf = slider(top, {
    label: "Batch", min: 1, max: 1, step: 1, value: 1, format: (i) => `${i} of ${batchesOf(model.get("sampler")).length}`,
    onInput: (i) => change({ batch: i - 1 }),
  });
  const steps = h("div", { class: "nb-steps" });
  top.append(steps);
  button(steps, "Next batch", () => change({ batch: (model.get("batch") + 1) % batchesOf(model.get("sampler")).length }));
  button(steps, "Reshuffle", () => change({ seed: (model.get("seed") + 1) % 2 ** 31 }));

  // -- the map --
  const left = h("div", { class: "nb-map" });
  const paper = canvas(left, 540, 540);
  const key = (drawing, text) => h("li", {}, s("svg", { width: 26, height: 18, "aria-hidden": "true" }, ...drawing), text);
  const stroke = (name, more = {}) => ({ fill: "none", stroke: `var(--sst-${name})`, "stroke-width": 2, ...more });
  const legend = h("ul", { class: "nb-legend" },
    key([s("rect", { x: 5, y: 1, width: 16, height: 16, ...stroke("anchor", { "stroke-width": 3 }) })], "anchor"),
    key([s("path", { d: "M0 9H9", ...stroke("positive", { "stroke-width": 3 }) }), s("circle", { cx: 17, cy: 9, r: 7, ...stroke("positive", { "stroke-width": 2.5 }) })], "nearest positives"),
    key([s("path", { d: "M0 9H10", ...stroke("negative", { "stroke-dasharray": "3 2" }) }), s("rect", { x: 11, y: 2, width: 14, height: 14, ...stroke("negative", { "stroke-dasharray": "3 2" }) })], "negatives that matter"));
  left.append(legend);
  const anchors = h("div", { class: "sst-controls" });
  left.append(anchors);
  let valid = [];
  const anchorOf = slider(anchors, {
    label: "Anchor", min: 1, max: 1, step: 1, value: 1, format: (i) => (valid[i - 1] === undefined ? "none" : `${i}: ${classes[labels[valid[i - 1]]]}`),
    onInput: (i) => { if (valid.length) change({ anchor: valid[i - 1] }); },
  });
  const lossOf = choice(anchors, {
    label: "Negatives that matter to", options: Object.entries(LOSSES), value: model.get("loss"), onChange: (x) => change({ loss: x }),
  });
  const about = h("p", { class: "nb-note" });
  left.append(about);

  // -- the numbers --
  const what = h("p", { class: "nb-what" }), total = h("p", { class: "nb-count" }), note = h("p", { class: "nb-note" });
  const rows = ROWS.map(([name, loss, condition, tint]) => {
    const number = h("span", { class: "nb-number" }), fill = h("i"), mean = h("b");
    const means = Object.keys(SAMPLERS).map((sampler) => [sampler, h("span")]);
    const row = h("div", { class: "nb-row", "data-share": name, style: `--nb-fill:var(--sst-${tint})` },
      h("span", {}, h("strong", {}, loss), ` ${condition}`), number, h("div", { class: "nb-bar", "aria-hidden": "true" }, fill, mean),
      h("div", { class: "nb-means" }, h("span", {}, "epoch:"), means.map(([, node]) => node)));
    return { name, number, fill, mean, means, row };
  });
  const wide = 330, high = 84, base = 66;
  const x = (z) => ((z - LOW) / (STEP * BINS)) * wide;
  const columns = Array.from({ length: BINS }, (_, i) => {
    const from = LOW + i * STEP, tint = from >= 0 ? "negative" : from + STEP / 2 > MATTERS ? "orange" : "faint";
    return s("rect", { x: x(from) + 0.5, width: wide / BINS - 1, y: base, height: 0, style: `fill:var(--sst-${tint})` });
  });
  const histogram = s("svg", { viewBox: `0 0 ${wide} ${high + 18}`, role: "img", "aria-label": "" }, columns,
    s("path", { d: `M0 ${base}H${wide}`, ...stroke("faint", { "stroke-width": 1 }) }),
    [[MATTERS, "s = 0.1", "end", -3], [0, "s = 0.5", "start", 3]].flatMap(([z, text, anchor, dx]) => [
      s("path", { d: `M${x(z)} 0V${base + 4}`, ...stroke("ink", { "stroke-width": 1, "stroke-dasharray": z ? "3 2" : null }) }),
      s("text", { x: x(z) + dx, y: 11, "text-anchor": anchor }, text)]),
    [-15, -10, -5, 0].map((z) => s("text", { x: x(z), y: base + 15, "text-anchor": "middle" }, tidy(z, 0))),
    s("text", { x: 0, y: base + 30, class: "sst-faint" }, "no gradient: far outside"),
    s("text", { x: wide, y: base + 30, class: "sst-faint", "text-anchor": "end" }, "z \u2192 still wrong"));
  const pictures = h("div");
  const grid = canvas(pictures, 376, 176, { class: "nb-grid" });
  const right = h("div", { class: "nb-facts" }, what, total, note,
    h("p", { class: "nb-head" }, "Share of triplets whose gradient matters"), h("p", { class: "nb-key" }, "Bar: this batch. Line across: mean of the epoch."),
    rows.map(({ row }) => row), h("p", { class: "nb-head" }, "The triplets of this batch by z"), histogram,
    h("p", { class: "nb-head" }, "The pictures of this batch, class by class"), pictures);
  body.append(left, right);

  // -- drawing --
  let sheet = null, palette = null;
  decode(model.get("sprite"), (image) => { sheet = image; last = ""; draw(); });
  const place = new Float32Array(2 * count);
  function thumb(pen, item, px, py, w) {
    if (sheet) return pen.drawImage(sheet, (item % COLUMNS) * SIDE, Math.floor(item / COLUMNS) * SIDE, SIDE, SIDE, px, py, w, w);
    Object.assign(pen, { fillStyle: palette.paper, strokeStyle: palette.faint, lineWidth: 1, textAlign: "center", textBaseline: "middle" });
    pen.fillRect(px, py, w, w);
    pen.strokeRect(px, py, w, w);
    pen.fillStyle = palette.ink;
    pen.font = `${w * 0.55}px system-ui, sans-serif`;
    pen.fillText(classes[labels[item]], px + w / 2, py + w / 2, w);
  }

  /** All pictures of the batch in rows, class after class; `cells` remembers where. */
  let cells = [];
  function drawGrid(items, anchor, positives, negatives) {
    const { pen, width, height } = grid, gap = 5;
    const sorted = Array.from(items).sort((p, q) => labels[p] - labels[q] || p - q);
    let size = 30, fits = false;
    while (!fits) { // as large as fits
      size--;
      let px = 0, py = 0;
      cells = sorted.map((item, i) => {
        if (i && labels[item] !== labels[sorted[i - 1]]) px += gap;
        if (px + size > width) { px = 0; py += size + 2; }
        px += size;
        return [item, px - size, py];
      });
      fits = py + size <= height || size < 9;
    }
    pen.clearRect(0, 0, width, height);
    const blue = new Set(positives), red = new Set(negatives);
    for (const [item, px, py] of cells) {
      const mine = item === anchor, held = mine || blue.has(item) || red.has(item);
      pen.globalAlpha = held || !positives.length ? 1 : 0.45;
      thumb(pen, item, px, py, size);
      pen.globalAlpha = 1;
      if (!held || !positives.length) continue;
      const line = mine ? 3.5 : blue.has(item) ? 3 : 2;
      Object.assign(pen, { strokeStyle: palette[mine ? "ink" : blue.has(item) ? "positive" : "negative"], lineWidth: line });
      pen.setLineDash(mine || blue.has(item) ? [] : [4, 3]);
      pen.beginPath();
      if (blue.has(item)) pen.arc(px + size / 2, py + size / 2, (size - line) / 2, 0, 7);
      else pen.rect(px + line / 2, py + line / 2, size - line, size - line);
      pen.stroke();
      pen.setLineDash([]);
    }
  }

  function drawMap(number, batches, batch, anchor, positives, negatives) {
    const { pen } = paper, side = paper.width, edge = 16;
    const unit = (side / 2 - edge) / 32767, from = number * 2 * count;
    for (let i = 0; i < count; i++) {
      place[2 * i] = side / 2 + layouts[from + 2 * i] * unit;
      place[2 * i + 1] = side / 2 - layouts[from + 2 * i + 1] * unit;
    }
    pen.clearRect(0, 0, side, side);
    const inBatch = new Uint8Array(count), items = batches[batch], local = model.get("sampler") === "local";
    for (const item of items) inBatch[item] = 1;
    const groups = local ? grouped(assignment(number)).filter((group) => group.length) : [Array.from(labels.keys())];
    const middles = groups.map((members) => [0, 1].map((axis) => Float32Array.from(members, (item) => place[2 * item + axis]).sort()[members.length >> 1]));
    const groupLook = groupLooks(middles);
    groups.forEach((group, c) => {
      pen.beginPath();
      const [tint, kind] = local ? groupLook[c] : [0, 0];
      for (const item of group) if (!inBatch[item]) mark(pen, kind, place[2 * item], place[2 * item + 1], side / 150);
      pen.fillStyle = local ? palette[TINTS[tint]] : palette.faint;
      pen.globalAlpha = local ? 0.75 : 0.45;
      pen.fill();
    });
    // Neighbors lie close together on the map: small pictures, lest they hide each other.
    const size = (side / 540) * (local || items.length > 120 ? 19 : items.length > 60 ? 23 : 28);
    const hold = new Set([anchor, ...positives, ...negatives]);
    const picture = (item, grow = 1) => thumb(pen, item, place[2 * item] - size * grow / 2, place[2 * item + 1] - size * grow / 2, size * grow);
    const none = !positives.length;
    pen.globalAlpha = none ? 1 : 0.5;
    for (const item of items) if (!hold.has(item)) picture(item);
    pen.globalAlpha = 1;
    const ray = (item) => { pen.moveTo(place[2 * anchor], place[2 * anchor + 1]); pen.lineTo(place[2 * item], place[2 * item + 1]); };
    pen.beginPath();
    negatives.forEach(ray);
    pen.setLineDash([4, 3]);
    Object.assign(pen, { strokeStyle: palette.negative, lineWidth: 1, globalAlpha: negatives.length > 40 ? 0.45 : 0.8 });
    pen.stroke();
    pen.globalAlpha = 1;
    for (const item of negatives) {
      picture(item);
      pen.lineWidth = 2;
      pen.strokeRect(place[2 * item] - size / 2, place[2 * item + 1] - size / 2, size, size);
    }
    pen.setLineDash([]);
    pen.beginPath();
    positives.forEach(ray);
    Object.assign(pen, { strokeStyle: palette.positive, lineWidth: 3 });
    pen.stroke();
    for (const item of positives) {
      picture(item, 1.15);
      pen.beginPath();
      pen.arc(place[2 * item], place[2 * item + 1], size * 0.82, 0, 7);
      Object.assign(pen, { strokeStyle: palette.positive, lineWidth: 3 });
      pen.stroke();
    }
    picture(anchor, 1.4);
    const w = size * 1.4 + 4;
    for (const [tint, width] of [["paper", 7], ["ink", 4]]) {
      Object.assign(pen, { strokeStyle: palette[tint], lineWidth: width });
      pen.strokeRect(place[2 * anchor] - w / 2, place[2 * anchor + 1] - w / 2, w, w);
    }
    if (!local) return;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.lineJoin = "round";
    middles.forEach(([x, y], b) => { // at the image that is nearest to the middle: that itself may be empty
      const far = groups[b].map((item) => Math.hypot(place[2 * item] - x, place[2 * item + 1] - y));
      const item = groups[b][far.indexOf(Math.min(...far))], px = place[2 * item], py = place[2 * item + 1];
      pen.font = `700 ${b === batch ? 22 : 15}px system-ui, sans-serif`;
      Object.assign(pen, { strokeStyle: palette.paper, lineWidth: 5, fillStyle: palette.ink });
      pen.strokeText(b + 1, px, py);
      pen.fillText(b + 1, px, py);
    });
  }

  /** Write the means of a sampler. Those of the samplers not chosen follow after the frame, so that sliders stay quick. */
  let later = 0;
  function tell(sampler, means) {
    for (const row of rows) {
      const node = row.means.find(([name]) => name === sampler)[1];
      node.textContent = `${sampler} ${means.batches ? percent(means[row.name]) : "\u2013"}`;
    }
  }

  let last = "";
  function draw() {
    const { batches, batch, anchor } = settle();
    const state = ["stage", "sampler", "B", "k", "margin", "seed", "loss"].map((name) => model.get(name));
    const now = JSON.stringify([state, batch, anchor]);
    if (now === last) return;
    last = now;
    const [, sampler, B, k, margin, , loss] = state, number = at(), d2 = distances(number), items = batches[batch];
    const bins = new Float64Array(BINS), found = measure(d2, count, items, labels, k, margin, bins);
    const present = new Set(Array.from(items, (item) => labels[item])).size;
    const position = items.indexOf(anchor), name = classes[labels[anchor]];
    const positions = present > 1 ? nearest(d2, count, items, labels, position, k) : [];
    const positives = positions.map((p) => items[p]);
    const negatives = mattering(d2, count, items, labels, position, positions, loss, margin);

    // controls
    stageOf.set(stages[number].name);
    samplerOf.set(sampler);
    lossOf.set(loss);
    sizeOf.set(sizes.indexOf(B));
    kOf.set(k);
    marginOf.set(margin);
    batchOf.input.max = batches.length;
    batchOf.set(batch + 1);
    const sizesOf = new Map();
    for (const item of items) sizesOf.set(labels[item], (sizesOf.get(labels[item]) ?? 0) + 1);
    valid = present > 1 ? Array.from(items).filter((item, i) => sizesOf.get(labels[item]) > 1 && items[i - 1] !== item) : [];
    anchorOf.input.max = Math.max(1, valid.length);
    anchorOf.input.disabled = !valid.length;
    anchorOf.set(Math.max(1, valid.indexOf(anchor) + 1));

    // words
    const members = sampler === "local" ? grouped(assignment(number)).filter((group) => group.length)[batch].length : items.length;
    what.textContent = `Batch ${batch + 1} of ${batches.length}: ${plural(items.length, "image")} of ${plural(present, "class", "classes")}`;
    total.textContent = plural(found.triplets, "triplet");
    const here = epochOf(sampler);
    let odd = "";
    if (present < 2) odd = "This batch has one class only: no negative, no triplet. Training skips it.";
    else if (!found.triplets) odd = "No class has two images in this batch: no positive, no triplet. Training skips it.";
    else if (members > items.length) odd = `Its neighborhood has ${members} images; the batch is a random ${B} of them. `;
    if (found.triplets) odd += `The epoch has ${plural(here.batches, "batch", "batches")} with ${plural(here.triplets, "triplet")} and uses ${here.used} of the ${count} images.`;
    note.textContent = odd;
    const rest = items.filter((item) => labels[item] !== labels[anchor]).length;
    about.textContent = positives.length
      ? `Anchor ${name}: ${plural(positives.length, "nearest positive")} \u00d7 ${plural(rest, "negative")} = ${plural(positives.length * rest, "triplet")}; `
        + `${negatives.length} of its negatives ${negatives.length === 1 ? "matters" : "matter"} to the ${LOSSES[loss]} loss.`
      : present < 2 ? "No triplet to draw here: choose another batch."
        : `${name} is the only image of its class in this batch: a negative for others, but no anchor.`;
    about.append(h("br"), `Map: ${model.get("layout_name")} with pictures nudged apart. Distances use ${stages[number].dims} principal components (${percent(stages[number].held)} of the variance).`);

    // bars
    tell(sampler, here);
    clearTimeout(later);
    later = setTimeout(() => { for (const other of Object.keys(SAMPLERS)) if (other !== sampler) tell(other, epochOf(other)); });
    for (const row of rows) {
      row.number.textContent = found.triplets ? percent(found[row.name]) : "\u2013";
      row.fill.style.width = `${found.triplets ? 100 * found[row.name] : 0}%`;
      row.mean.style.left = `${100 * here[row.name]}%`;
      row.mean.style.display = here.batches ? "" : "none";
      for (const [other, node] of row.means) node.toggleAttribute("data-now", other === sampler);
    }
    const top = Math.max(1, ...bins);
    columns.forEach((column, i) => {
      const height = (bins[i] / top) * (base - 16);
      column.setAttribute("height", height);
      column.setAttribute("y", base - height);
    });
    histogram.setAttribute("aria-label", `Histogram of z: ${percent(found.sst)} of the triplets have s above 0.1, ${percent(found.inside)} lie inside the sphere.`);

    palette ??= colours(root, ["paper", "ink", "faint", "positive", "negative", ...TINTS]);
    drawMap(number, batches, batch, anchor, positives, negatives);
    drawGrid(items, anchor, positives, negatives);
    const told = `${stages[number].name}, ${SAMPLERS[sampler]}, B = ${B}, k = ${k}, m = ${margin.toFixed(1)}: ${what.textContent.toLowerCase()}, ${total.textContent}`;
    grid.node.setAttribute("aria-label", `The ${items.length} pictures of the batch, class by class: ${positives.length} nearest positives and ${negatives.length} negatives that matter are framed.`);
    paper.node.setAttribute("aria-label", `Map of ${count} images. ${told}. ${about.firstChild.textContent}`);
    say(found.triplets ? `${told}. Gradient that matters: ${ROWS.map(([share, text], i) => `${i === 1 ? "inside the sphere" : text} ${percent(found[share])}`).join(", ")}.` : `${told}. ${odd}`);
  }

  // Any image can be chosen by pointing at it; its batch follows.
  paper.node.addEventListener("pointerdown", (event) => {
    const [px, py] = pointer(event, paper.node);
    const inside = new Set(batchesOf(model.get("sampler"))[model.get("batch")]);
    let best = -1, closest = 20 ** 2;
    for (let i = 0; i < count; i++) {
      const far = (place[2 * i] - px) ** 2 + (place[2 * i + 1] - py) ** 2 + (inside.has(i) ? 0 : 60);
      if (far < closest) [best, closest] = [i, far];
    }
    if (best >= 0) change({ anchor: best });
  });

  grid.node.addEventListener("pointerdown", (event) => {
    const [px, py] = pointer(event, grid.node);
    const hit = cells.findLast(([, left, top]) => px >= left && py >= top);
    if (hit) change({ anchor: hit[0] });
  });

  const watch = new ResizeObserver(() => {
    const side = Math.max(240, Math.min(540, Math.floor(left.clientWidth)));
    const changed = [paper.resize(side, side), grid.resize(Math.max(240, Math.floor(right.clientWidth)), grid.height)];
    if (changed.includes(true)) last = "";
    draw();
  });
  watch.observe(body);
  const ends = [
    follow(model, ["stage", "sampler", "B", "k", "margin", "batch", "anchor", "loss", "seed"], draw),
    onTheme(() => { palette = null; last = ""; draw(); }),
    () => { watch.disconnect(); clearTimeout(later); },
  ];
  draw();
  return () => ends.forEach((end) => end());
}

export { drawBatches, epoch, mattering, measure, nearest, squaredDistances };
export default { render };
