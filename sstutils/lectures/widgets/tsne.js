// t-SNE honesty panel. `expand`, `place`, `measured` and `reading` have their twins in tsne.py.

const BITS = 10, MIDDLE = 512, EARLY = 250;
const SIDE = 24, COLUMNS = 16; // of the sheet of pictures
const TWEEN = 450; // milliseconds from map to map
const SETTINGS = ["data", "perplexity", "seed", "angle", "iterations"];

/** Whole numbers of 10 bits each from bytes, the lowest bit first. */
function expand(bytes, count) {
  const out = new Int16Array(count);
  for (let i = 0; i < count; i++) {
    const bit = i * BITS, at = bit >> 3;
    out[i] = ((bytes[at] | (bytes[at + 1] << 8)) >> (bit & 7)) & 1023;
  }
  return out;
}

const setOf = (content, data) => content.sets.find((head) => head.name === (data === "noise" ? "noise" : "letters"));

/** The number of the map of a setting; -1 if there is none. */
function place(content, setting) {
  const head = setOf(content, setting.data);
  let at = content.perplexities.indexOf(setting.perplexity);
  if (!head || at < 0) return -1;
  for (const [name, values] of [["seed", head.seeds], ["angle", head.angles], ["iterations", content.iterations]]) {
    const i = values.length > 1 ? values.indexOf(setting[name]) : 0;
    if (i < 0) return -1;
    at = at * values.length + i;
  }
  return head.first + at;
}

/** What was measured on the map of a setting; `width` is that of the window, in units of the map. */
function measured(content, setting) {
  const i = place(content, setting);
  return { ...Object.fromEntries(Object.entries(content.found).map(([name, values]) => [name, values[i]])),
    width: content.steps[i] * 2 * (MIDDLE - 1) };
}

/** A length of any size, short: 157, 7.3, 0.0047. */
const unit = (x) => (x >= 10 ? x.toFixed(0) : x >= 0.001 ? String(Number(x.toPrecision(2))) : "less than 0.001");

const rule = (correlation) => (correlation < 0.6 ? "do not read them" : "a hint, not a measurement");

/** What may and what may not be read from a map, in sentences made of its numbers. */
function reading(content, setting) {
  const last = content.iterations.at(-1), here = measured(content, setting), end = measured(content, { ...setting, iterations: last });
  const head = setOf(content, setting.data), { data, perplexity, iterations, angle } = setting, chance = tidy(head.chance), told = [];
  if (iterations < last) {
    told.push(`Not finished: after ${iterations} of ${last} iterations the KL divergence is ${tidy(here.kl)}, and ${tidy(end.kl)} at the end` +
      `${iterations <= EARLY ? "; attractions still count 12 times as much" : ""}. Do not read anything into it yet.`);
  }
  if (data === "noise") {
    told.push(`Noise in ${head.dimensions} dimensions, without any groups: any clumps are the work of t-SNE at perplexity ` +
      `${perplexity}. The map keeps ${tidy(here.kept)} of the 10 nearest neighbors.`);
  }
  if (data === "shuffled") {
    told.push(`The same map with labels dealt out at random: Recall@1 ${tidy(here.shuffled)}, chance is ${chance}. This is what ` +
      "meaningless colours look like. The points have not moved: t-SNE never sees a label.");
  }
  if (data !== "letters" || iterations < last) return told;
  const rivals = content.perplexities.map((p) => [measured(content, { ...setting, perplexity: p }).kept, p]);
  const [best, at] = rivals.reduce((a, b) => (b[0] > a[0] ? b : a));
  if (here.kept > best - 0.03) {
    told.push(`You can read who is near whom: the map keeps ${tidy(here.kept)} of the 10 nearest neighbors, and no other perplexity here ` +
      "keeps many more.");
  } else {
    told.push(`Perplexity ${perplexity} ${perplexity < at ? "tears letters apart" : "blurs near twins"}: ${tidy(here.kept)} of the 10 ` +
      `nearest neighbors are kept, ${tidy(best)} at perplexity ${at}.${perplexity < at ? " Do not count islands." : ""}`);
  }
  if (here.precision > head.precision + 0.02) {
    told.push(`The map is tidier than the embedding: R-precision ${tidy(here.precision)} against ${tidy(head.precision)}.`);
  }
  told.push(`Distances between islands: ${rule(here.gaps)} (rank correlation with the true ones ${tidy(here.gaps)}); ` +
    `sizes: ${rule(here.sizes)} (${tidy(here.sizes)}).`);
  if (here.agree !== null) {
    told.push(`Another seed shares ${tidy(here.agree)} of the neighbors on this map; where an island lies is a matter of chance.`);
  }
  if (angle && head.angles.includes(0)) {
    const exact = measured(content, { ...setting, angle: 0 });
    told.push(`Barnes-Hut with angle ${angle} keeps ${tidy(here.kept)} of the neighbors, exact forces ${tidy(exact.kept)}` +
      `${Math.abs(here.kept - exact.kept) < 0.02 ? ": no difference to speak of." : "."}`);
  }
  return told;
}

function render({ model, el }) {
  const { root, body, say } = stage(el, model,
    "One embedding, many t-SNE maps, each from a random start. The network was never trained on these letters. Before you " +
    "believe what you see, change one control at a time.", false);
  const problem = h("p", { class: "sst-about" }), main = h("div", { class: "sst-tsne" });
  body.append(problem, main);
  const content = model.get("content") ?? {}, raw = model.get("maps"), count = (model.get("labels") ?? []).length;
  const stride = Math.ceil((2 * count * BITS) / 8), classes = model.get("classes") ?? [];
  if (!content.steps?.length || !content.sets?.some((head) => head.name === "letters") || !count || raw?.byteLength !== content.steps.length * stride) {
    problem.textContent = "This panel has no maps: make it with TsnePanel.from_recording().";
    return () => {};
  }
  const bytes = new Uint8Array(raw.buffer, raw.byteOffset, raw.byteLength), steps = content.iterations;
  const letters = setOf(content, "letters"), noise = content.sets.find((head) => head.name === "noise");
  const read = () => Object.fromEntries(SETTINGS.map((name) => [name, model.get(name)]));

  // -- controls
  const controls = h("div", { class: "sst-controls" });
  main.append(controls);
  const data = choice(controls, { label: "Map", value: model.get("data"), onChange: (value) => move({ data: value }),
    options: [["letters", "letters"], ["shuffled", "shuffled labels"], ...(noise ? [["noise", "noise"]] : [])] });
  const some = (name, label, values, text = String) => choice(controls, { label, value: model.get(name),
    options: values.map((value) => [value, text(value)]), onChange: (value) => move({ [name]: value }) });
  const perplexity = some("perplexity", "Perplexity", content.perplexities);
  const seed = some("seed", "Seed", letters.seeds);
  const angle = some("angle", "Barnes-Hut angle", letters.angles, (x) => (x ? String(x) : "0 (exact)"));
  const slide = slider(controls, { label: "Iterations", min: 0, max: steps.length - 1, step: 1, value: 0,
    format: (i) => String(steps[i]), onInput: (i) => move({ iterations: steps[i] }) });

  // -- the map and its numbers
  const plane = h("div", { class: "sst-tsne-plane" }), paper = canvas(plane, 320, 320, { tabindex: 0, class: "sst-tsne-map" }), { node } = paper;
  const tip = h("div", { class: "sst-tip", hidden: true });
  const fit = h("p", { class: "sst-tsne-fit", "data-part": "fit" });
  const title = h("p", { class: "sst-tsne-whole", "data-part": "whole" });
  const ROWS = [["recall", "Recall@1"], ["precision", "R-precision"], ["kept", "10 nearest neighbors kept"], ["trust", "Trustworthiness"],
    ["gaps", "Distances between letters, rank correlation"], ["sizes", "Sizes of letters, rank correlation"],
    ["agree", "Neighbors shared with other seeds"], ["kl", "KL divergence"]];
  const table = h("table", {}, h("thead", {}, h("tr", {}, ["", "map", "embedding"].map((text) => h(text ? "th" : "td", text ? { scope: "col" } : {}, text)))),
    h("tbody", {}, ROWS.map(([name, text]) => h("tr", {}, h("th", { scope: "row" }, text), h("td", { "data-part": name }), h("td", { "data-part": `${name}-whole` })))));
  const cells = Object.fromEntries([...table.querySelectorAll("[data-part]")].map((cell) => [cell.dataset.part, cell]));
  const words = h("ul", { "data-part": "reading" });
  plane.append(tip);
  main.append(h("div", { class: "sst-tsne-pair" }, h("div", {}, plane, fit), h("div", {}, title, table, h("h5", {}, "What you can read from it"), words)));
  const legend = classLegend(main, "Letters: show one alone", () => draw(), say);
  legend.list(classes);

  // -- state
  let at = null, from = null, goal = null, began = 0, frame = 0, palette = {}, labels = model.get("labels");
  let hovered = -1, sheet = null, shown = -1;

  function move(change) {
    put(model, change);
    update(true);
  }

  /** Show the present setting: numbers at once, the points on their way. */
  function update(aloud = false) {
    const setting = read(), i = place(content, setting), odd = i < 0 || !["letters", "shuffled", "noise"].includes(setting.data);
    data.set(setting.data);
    perplexity.set(setting.perplexity);
    seed.set(setting.seed);
    angle.set(setting.angle);
    if (steps.includes(setting.iterations)) slide.set(steps.indexOf(setting.iterations));
    const fixed = setting.data === "noise";
    legend.box.hidden = fixed;
    for (const input of [...seed.inputs, ...angle.inputs]) input.disabled = fixed;
    problem.textContent = odd ? `There is no map of this setting (${SETTINGS.map((name) => `${name} ${setting[name]}`).join(", ")}): choose another.` : "";
    problem.hidden = !odd;
    main.querySelector(".sst-tsne-pair").hidden = odd;
    if (odd) return;
    const here = measured(content, setting), head = setOf(content, setting.data), mixed = setting.data === "shuffled";
    labels = model.get(mixed ? "shuffled" : "labels");
    const truth = { recall: fixed ? null : mixed ? head.chance : head.recall[1], precision: fixed || mixed ? null : head.precision, kept: 1, trust: 1,
      gaps: fixed || mixed ? null : 1, sizes: fixed || mixed ? null : 1, agree: null, kl: 0 };
    const on = { ...here, recall: fixed ? null : mixed ? here.shuffled : here.recall, precision: fixed || mixed ? null : here.precision,
      gaps: fixed || mixed ? null : here.gaps, sizes: fixed || mixed ? null : here.sizes };
    for (const [name] of ROWS) {
      const digits = name === "trust" || name === "kl" ? 3 : 2;
      cells[name].textContent = on[name] === null || on[name] === undefined ? "–" : tidy(on[name], digits);
      cells[`${name}-whole`].textContent = truth[name] === null ? "–" : tidy(truth[name], truth[name] === 1 || !truth[name] ? 0 : digits);
    }
    title.textContent = fixed ? `In all ${head.dimensions} dimensions there is no group to find.` : mixed ? `With shuffled labels Recall@1 is chance in ${head.dimensions} dimensions too.`
      : `In all ${head.dimensions} dimensions: ${Object.entries(head.recall).map(([k, value]) => `Recall@${k} ${tidy(value)}`).join(", ")}. No control changes that.`;
    fit.textContent = `The window is ${unit(here.width)} units wide; ` +
      `each map is scaled to fill it.${fixed ? " Noise was mapped with one seed and one angle." : ""}`;
    const sentences = reading(content, setting);
    words.replaceChildren(...sentences.map((text) => h("li", {}, text)));
    node.setAttribute("aria-label", `t-SNE map of ${count} ${fixed ? "points of noise" : "images of unseen letters"}${mixed ? " with shuffled labels" : ""}, ` +
      `perplexity ${setting.perplexity}, ${setting.iterations} iterations, seed ${setting.seed}, angle ${setting.angle}.`);
    if (aloud) say(`${fixed ? "" : `Recall@1 on the map ${cells.recall.textContent}. `}Neighbors kept: ${cells.kept.textContent}. ${sentences[0]}`);
    hover(-1);
    if (i !== shown) {
      shown = i;
      const whole = expand(bytes.subarray(i * stride, (i + 1) * stride), 2 * count);
      goal = Float32Array.from(whole, (x) => (x - MIDDLE) / (MIDDLE - 1));
      if (!at || still.matches || !aloud) { at = goal.slice(); cancelAnimationFrame(frame); frame = 0; }
      else {
        from = at.slice();
        began = performance.now();
        if (!frame) frame = requestAnimationFrame(tween);
      }
    }
    draw();
  }
  function tween() {
    const t = Math.min(1, (performance.now() - began) / TWEEN), ease = t * t * (3 - 2 * t);
    for (let i = 0; i < at.length; i++) at[i] = from[i] + (goal[i] - from[i]) * ease;
    draw();
    frame = t < 1 ? requestAnimationFrame(tween) : 0;
  }

  function layout() {
    const width = Math.floor(plane.clientWidth) || 320;
    palette = colours(root, [...HUES, "faint"]);
    paper.resize(width, width);
    legend.paint(palette);
    draw();
  }
  const spot = (i) => paper.width / 2 + i * (paper.width / 2 - 10), X = (i) => spot(at[2 * i]), Y = (i) => spot(-at[2 * i + 1]);

  function draw() {
    if (!at) return;
    const noise = model.get("data") === "noise"; // no letters, no colours: one class, all discs
    drawClasses(paper, { labels: noise ? new Uint8Array(count) : labels, classes: noise ? [""] : classes, X, Y, ringed: hovered,
      r: Math.max(2.4, Math.min(4.2, paper.width / 110)), palette: noise ? { ...palette, blue: palette.faint } : palette, only: noise ? -1 : legend.only() });
  }

  // -- which letter
  function hover(image) {
    if (image === hovered) return;
    hovered = image;
    draw();
    tip.hidden = image < 0;
    if (image < 0) return;
    const noise = model.get("data") === "noise";
    showTip(tip, { sheet: noise ? null : sheet, item: image, side: SIDE, columns: COLUMNS, name: noise ? "noise" : classes[labels[image]],
      x: X(image), y: Y(image), width: paper.width, height: paper.height });
  }
  const point = (event) => { if (!frame && at) hover(pointed(event, node, count, X, Y)); };
  node.addEventListener("pointermove", point);
  node.addEventListener("pointerdown", point);
  node.addEventListener("pointerleave", () => hover(-1));
  node.addEventListener("blur", () => hover(-1));
  // The arrow keys step from image to image, letter after letter: the nearest in that direction.
  node.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way || !at) return;
    event.preventDefault();
    let near = -1, best = Infinity;
    for (let i = 0; i < count; i++) {
      const dx = X(i) - (hovered < 0 ? paper.width / 2 : X(hovered)), dy = Y(i) - (hovered < 0 ? paper.width / 2 : Y(hovered));
      const along = dx * way[0] + dy * way[1], across = Math.abs(dx * way[1]) + Math.abs(dy * way[0]);
      if (i !== hovered && along > 0.5 && along + 2 * across < best) { best = along + 2 * across; near = i; }
    }
    if (near < 0) return;
    hover(near);
    say(model.get("data") === "noise" ? "A point of noise." : `${classes[labels[near]]}.`);
  });

  decode(model.get("sprite"), (image) => { sheet = image; });
  layout();
  update();
  const resized = new ResizeObserver(() => { if (plane.clientWidth && Math.floor(plane.clientWidth) !== paper.width) layout(); });
  resized.observe(main);
  const ends = [follow(model, SETTINGS, () => update(true)), onTheme(layout)];
  return () => {
    cancelAnimationFrame(frame);
    resized.disconnect();
    ends.forEach((end) => end());
  };
}

export { expand, measured, place, reading };
export default { render };
