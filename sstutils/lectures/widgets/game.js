// Retrieval game. `threePoints`, `values` and `sentences` have their twins in game.py.

const COLUMNS = 12; // of the sheet of pictures

/** a, p and n in the plane, by their distances: a and p on the x axis about the origin, n above it (law of cosines). */
function threePoints(ap, an, pn) {
  let x = ap > 0 ? (an ** 2 - pn ** 2) / (2 * ap) : 0;
  x = Math.min(Math.max(x, ap / 2 - pn), an - ap / 2);
  return [[-ap / 2, 0], [ap / 2, 0], [x, Math.sqrt(Math.max(0, an ** 2 - (x + ap / 2) ** 2))]];
}

/** z, s = sigmoid(z) and both losses of a triplet by its distances. */
function values(ap, an, pn, margin) {
  const z = ap ** 2 - (an ** 2 + pn ** 2) / 2;
  return { z, s: 1 / (1 + Math.exp(-z)), sst: Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z))),
    triplet: Math.max(0, ap ** 2 + margin - an ** 2) };
}

/** What is said of a round: the rank of the nearest positive, and what its triplet means. */
function sentences(entry, margin) {
  const { rank, name, others, other, ap, an, pn } = entry, v = values(ap, an, pn, margin);
  const weight = `${(100 * v.s).toFixed(0)} % of its full weight`;
  const first = rank === 1 ? `Of all ${others} other images, the nearest is another ${name}: a hit for Recall@1.`
    : `The nearest other ${name} has rank ${rank} of ${others}: a hit only for Recall@K with K ≥ ${rank}.`;
  if (an < ap) {
    return [first, `n (${other}) is nearer to the query than p` + (v.z > 0
      ? ` and inside the sphere: z > 0, and SST pushes it away with ${weight}.`
      : `, but far from p and so outside the sphere: z < 0, and SST, which measures from a and p alike, pushes it with only ${weight}.`)];
  }
  return [first, `n (${other}) is farther away than p${v.z > 0 ? ", yet inside the sphere" : " and outside the sphere"}` +
    `: SST still pushes it with ${weight}` +
    (v.triplet === 0 ? "; the triplet loss is satisfied." : "; for the triplet loss the margin is not met.")];
}

/** "2", "2 and 4", "1, 2 and 4", from places counted from 0. */
function listed(places) {
  const words = places.map((place) => String(place + 1));
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/** The words for a guess: whether it names exactly the wrong ones. */
function judged(guess, wrong) {
  const right = guess.join() === wrong.join(), is = wrong.length === 1 ? "is" : "are";
  const truth = wrong.length ? `${listed(wrong)} ${is} wrong` : "all are right";
  return [right, right ? `Correct: ${truth}.` : `No: ${truth}, but you marked ${guess.length ? listed(guess) : "none"}.`];
}

function render({ model, el }) {
  const { root, body, say } = stage(el, model,
    "A query and the images whose embeddings are nearest to it. Mark those that belong to a different class, then commit. " +
    "The keys 1, 2, 3 … mark them too.", false);
  const rounds = (model.get("rounds") ?? []).filter((entry) => entry?.neighbors?.length);
  if (!rounds.length) {
    body.append(h("p", { class: "sst-about" }, "This game has no rounds; make it with RetrievalGame(embeddings, labels, images)."));
    return () => {};
  }
  const margin = Number(model.get("margin")) || 0;
  let url = null, sheet = null;

  // -- the table
  const head = h("p", { class: "sst-game-head" });
  const marks = h("ol", { class: "sst-game-marks" }, rounds.map(() => h("li", {})));
  const query = h("div", { class: "sst-game-picture", role: "img" });
  const queryName = h("span", { class: "sst-game-name" });
  const cards = rounds[0].neighbors.map((_, place) => {
    const picture = h("span", { class: "sst-game-picture", "aria-hidden": "true" });
    const badge = h("span", { class: "sst-game-badge", "aria-hidden": "true" });
    const name = h("span", { class: "sst-game-name", "aria-hidden": "true" });
    const node = h("button", { type: "button", class: "sst-game-card", click: () => toggle(place) }, picture, badge);
    return { node, picture, badge, name, box: h("li", {}, node, name) };
  });
  const verdict = h("p", { class: "sst-game-verdict", "data-part": "verdict" });
  const controls = h("div", { class: "sst-controls" });
  const main = h("div", { class: "sst-game" }, h("div", { class: "sst-game-top" }, head, marks),
    h("div", { class: "sst-game-table" },
      h("div", { class: "sst-game-query" }, h("span", { class: "sst-game-label" }, "query"), query, queryName),
      h("div", { class: "sst-game-found" }, h("span", { class: "sst-game-label" }, "nearest first"),
        h("ol", {}, cards.map((card) => card.box)))),
    controls, verdict);
  body.append(main);
  const act = button(controls, "", () => (done(at()) ? onward() : reveal()), { class: "sst-button sst-game-act" });
  const back = button(controls, "Previous", () => go(at() - 1));
  const forth = button(controls, "Next", () => go(at() + 1));
  button(controls, "Start over", () => restart());

  // -- the failure
  const rank = h("p", { "data-part": "rank" }), meaning = h("p", { "data-part": "meaning" });
  const table = h("table", {}, ["z", "sst", "triplet"].map((name) => h("tr", {}, h("th", { scope: "row" }), h("td", { "data-part": name }))));
  const [zRow, sstRow, tripletRow] = table.querySelectorAll("th");
  zRow.textContent = "z = d²(a, p) − (d²(a, n) + d²(p, n)) / 2";
  sstRow.textContent = "SST loss, log(1 + exp z)";
  tripletRow.textContent = `Triplet loss, margin ${margin}`;
  const plane = h("div", { class: "sst-game-plane" });
  const line = (dash) => s("svg", { width: 34, height: 10, "aria-hidden": "true" },
    s("line", { x1: 1, x2: 33, y1: 5, y2: 5, style: `stroke:var(--sst-${dash ? "purple" : "green"});stroke-width:2`, "stroke-dasharray": dash ? "2 4" : "7 4" }));
  const key = h("p", { class: "sst-game-key" }, h("span", {}, line(0), "sphere z = 0: SST loss log 2"),
    h("span", {}, line(1), "the triplet loss is zero outside"));
  const told = h("div", { class: "sst-game-told" }, rank, table, meaning);
  const failure = h("div", { class: "sst-game-failure", hidden: true }, h("div", {}, plane, key), told);
  main.append(failure);

  // -- state
  const at = () => Math.min(Math.max(Math.trunc(Number(model.get("round")) || 0), 0), rounds.length - 1);
  const answers = () => model.get("revealed") ?? {};
  const done = (number) => Array.isArray(answers()[number]);
  const guessed = () => {
    const places = done(at()) ? answers()[at()] : model.get("guess") ?? [];
    return places.filter((place) => place >= 0 && place < cards.length).sort((a, b) => a - b);
  };
  const scoreOf = (all) => Object.entries(all).filter(([i, guess]) => rounds[i] && guess.join() === rounds[i].wrong.join()).length;

  const change = (state) => { put(model, state); update(); };
  function toggle(place) {
    if (done(at())) return;
    const now = guessed(), on = !now.includes(place);
    const guess = on ? [...now, place].sort((a, b) => a - b) : now.filter((other) => other !== place);
    change({ guess });
    say(`Neighbor ${place + 1} ${on ? "marked as wrong" : "not marked"}. ${guess.length ? `Marked: ${listed(guess)}.` : "None is marked."}`);
  }
  function reveal() {
    const number = at(), all = { ...answers(), [number]: guessed() };
    change({ revealed: all, score: scoreOf(all) });
    say(`${judged(all[number], rounds[number].wrong)[1]} ${sentences(rounds[number], margin)[0]}`);
  }
  function go(number) {
    if (number < 0 || number >= rounds.length) return;
    change({ round: number, guess: answers()[number] ?? [] });
    say(`Round ${number + 1} of ${rounds.length}.`);
  }
  function onward() {
    const open = [...rounds.keys()].map((i) => (at() + 1 + i) % rounds.length).find((i) => !done(i));
    if (open === undefined) restart();
    else go(open);
  }
  function restart() {
    change({ revealed: {}, guess: [], score: 0, round: 0 });
    say("All rounds are open again. Round 1.");
  }

  // -- drawing
  function paint(node, cell) {
    if (!url) return;
    const rows = Math.max(1, Math.round(sheet.height / (sheet.width / COLUMNS)) - 1);
    node.style.backgroundImage = `url(${url})`;
    node.style.backgroundPosition = `${(cell % COLUMNS) / (COLUMNS - 1) * 100}% ${Math.floor(cell / COLUMNS) / rows * 100}%`;
  }

  function update() {
    const number = at(), entry = rounds[number], open = !done(number), guess = guessed(), all = answers();
    const played = rounds.filter((_, i) => done(i)).length, won = scoreOf(all);
    head.textContent = `Round ${number + 1} of ${rounds.length}. Score: ${won} of ${played}.`;
    [...marks.children].forEach((node, i) => {
      const right = done(i) && all[i].join() === rounds[i].wrong.join();
      node.textContent = done(i) ? (right ? "✓" : "✗") : String(i + 1);
      node.className = `${done(i) ? (right ? "sst-right" : "sst-wrong") : ""} ${i === number ? "sst-now" : ""}`.trim();
      node.setAttribute("aria-label", `Round ${i + 1}: ${done(i) ? (right ? "right" : "wrong") : "open"}`);
      if (i === number) node.setAttribute("aria-current", "step");
      else node.removeAttribute("aria-current");
    });
    paint(query, entry.query);
    query.setAttribute("aria-label", open ? "the query" : `the query, ${entry.name}`);
    queryName.textContent = open ? "\u00a0" : entry.name;
    cards.forEach(({ node, picture, badge, name, box }, place) => {
      const neighbor = entry.neighbors[place];
      box.hidden = !neighbor;
      if (!neighbor) return;
      const marked = guess.includes(place), wrong = entry.wrong.includes(place);
      paint(picture, neighbor.cell);
      node.className = `sst-game-card ${open ? (marked ? "sst-marked" : "") : wrong ? "sst-wrong" : "sst-right"}`;
      node.setAttribute("aria-pressed", String(marked));
      node.setAttribute("aria-disabled", String(!open));
      node.setAttribute("aria-label", open ? `Neighbor ${place + 1} is wrong` : `Neighbor ${place + 1}, ${neighbor.name}, is ${wrong ? "wrong" : "right"}`);
      badge.textContent = open ? (marked ? "?" : "") : wrong ? "✗" : "✓";
      name.textContent = open ? (marked ? "wrong?" : String(place + 1)) : neighbor.name;
    });
    const all12 = played === rounds.length;
    act.textContent = !open ? (all12 ? "Play again" : "Next round") : guess.length
      ? `${guess.length === 1 ? "This one is" : `These ${guess.length} are`} wrong` : "All are right";
    back.disabled = number === 0;
    forth.disabled = number === rounds.length - 1;
    failure.hidden = open;
    const [right, text] = open ? [false, ""] : judged(guess, entry.wrong);
    verdict.textContent = open ? "\u00a0" : `${right ? "✓" : "✗"} ${text}${all12 ? ` Game over: ${won} of ${played} rounds right.` : ""}`;
    verdict.style.color = open ? "" : `var(--sst-${right ? "blue" : "vermilion"})`;
    if (open) return;
    const v = values(entry.ap, entry.an, entry.pn, margin);
    [rank.textContent, meaning.textContent] = sentences(entry, margin);
    for (const name of ["z", "sst", "triplet"]) table.querySelector(`[data-part=${name}]`).textContent = tidy(v[name], 3);
    draw(entry);
  }

  /** The triangle of query, nearest positive and nearest negative, to scale, with its two boundaries. */
  function draw(entry) {
    const width = Math.max(240, Math.min(480, plane.clientWidth || 440)), { ap, an, pn } = entry;
    const points = threePoints(ap, an, pn), sphere = Math.sqrt(0.75) * ap, hinge = Math.sqrt(ap ** 2 + margin);
    const left = Math.min(-sphere, -ap / 2 - hinge, points[2][0]), right = Math.max(sphere, -ap / 2 + hinge, points[2][0]);
    const low = -Math.max(sphere, hinge), high = Math.max(sphere, hinge, points[2][1]);
    const size = width < 340 ? 40 : 52, away = size / 2 + 18, edge = 14;
    const unit = Math.min((width - 4 * edge) / (right - left || 1), (Math.min(420, 0.86 * width) - 2 * edge) / (high - low || 1));
    const top = Math.max(edge, away + size / 2 + 2 - (high - points[2][1]) * unit), height = top + (high - low) * unit + edge;
    const X = (x) => width / 2 + (x - (left + right) / 2) * unit, Y = (y) => top + (high - y) * unit;
    const [a, p, n] = points.map(([x, y]) => [X(x), Y(y)]);
    const middle = [(a[0] + p[0] + n[0]) / 3, (a[1] + p[1] + n[1]) / 3];
    const halo = "paint-order:stroke;stroke:var(--sst-paper);stroke-width:4px;stroke-linejoin:round";
    const side = (u, v, name, length) => {
      const along = [v[0] - u[0], v[1] - u[1]], far = Math.hypot(...along) || 1, m = [(u[0] + v[0]) / 2, (u[1] + v[1]) / 2];
      let out = [-along[1] / far, along[0] / far];
      if (out[0] * (m[0] - middle[0]) + out[1] * (m[1] - middle[1]) < 0) out = [-out[0], -out[1]];
      const anchor = Math.abs(out[0]) < 0.4 ? "middle" : out[0] > 0 ? "start" : "end";
      return [s("line", { x1: u[0], y1: u[1], x2: v[0], y2: v[1], style: "stroke:var(--sst-ink);stroke-width:1.5" }),
        s("text", { x: Math.max(anchor === "end" ? 88 : 0, Math.min(anchor === "start" ? width - 88 : width, m[0] + 9 * out[0])), y: m[1] + 9 * out[1] + 4 + 4 * out[1], "text-anchor": anchor, style: halo }, `${name} ${tidy(length)}`)];
    };
    const sides = [side(a, p, "d(a, p)", ap), side(a, n, "d(a, n)", an), side(p, n, "d(p, n)", pn)];
    const thumb = ([x, y], cell, dx, dy) => {
      if (!url) return null;
      const of = sheet.width / COLUMNS;
      return s("svg", { x: Math.min(Math.max(x + dx - size / 2, 1), width - size - 1), y: Math.min(Math.max(y + dy - size / 2, 1), height - size - 1), width: size, height: size,
        viewBox: `${(cell % COLUMNS) * of} ${Math.floor(cell / COLUMNS) * of} ${of} ${of}` },
        s("image", { href: url, width: sheet.width, height: sheet.height }),
        s("rect", { x: (cell % COLUMNS) * of, y: Math.floor(cell / COLUMNS) * of, width: of, height: of, style: "fill:none;stroke:var(--sst-faint);stroke-width:1px" }));
    };
    const spot = ([x, y], name) => { const g = planeMark(name); g.setAttribute("transform", `translate(${x} ${y}) scale(0.8)`); return g; };
    const node = s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `A triangle to scale: query a, nearest right image p at distance ${tidy(ap)}, nearest wrong image n at ${tidy(an)} from a and ` +
        `${tidy(pn)} from p. n is ${values(ap, an, pn, margin).z > 0 ? "inside" : "outside"} the sphere z = 0.` },
      s("circle", { cx: X(0), cy: Y(0), r: sphere * unit, style: "fill:var(--sst-green);fill-opacity:.08;stroke:var(--sst-green);stroke-width:2", "stroke-dasharray": "7 4" }),
      s("circle", { cx: X(-ap / 2), cy: Y(0), r: hinge * unit, style: "fill:none;stroke:var(--sst-purple);stroke-width:2", "stroke-dasharray": "2 4" }),
      sides.map(([stroke]) => stroke), thumb(a, entry.query, -away, 0), thumb(p, entry.p, away, 0), thumb(n, entry.n, 0, -away),
      sides.map(([, text]) => text), spot(a, "a"), spot(p, "p"), spot(n, "n"));
    plane.replaceChildren(node);
  }

  root.addEventListener("keydown", (event) => {
    const place = Number(event.key) - 1;
    if (event.ctrlKey || event.altKey || event.metaKey || !(place >= 0 && place < cards.length)) return;
    toggle(place);
    event.preventDefault();
  });
  decode(model.get("sprite"), (image) => {
    sheet = image;
    if (image) url = URL.createObjectURL(new Blob([model.get("sprite")], { type: "image/webp" }));
    update();
    if (!image) verdict.textContent = "The pictures of this game cannot be read: make the game again.";
  });
  update();
  let width = 0;
  const resized = new ResizeObserver(() => { if (plane.clientWidth !== width) { width = plane.clientWidth; update(); } });
  resized.observe(plane);
  const end = follow(model, ["round", "guess", "revealed"], update);
  return () => { end(); resized.disconnect(); if (url) URL.revokeObjectURL(url); };
}

export { judged, sentences, threePoints, values };
export default { render };
