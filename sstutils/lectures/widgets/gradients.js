// Three points in the plane, the forces of two losses on them, and the triangles of figure 2.

// ---- the numbers: twins of sstutils.geometry ----
const d2 = (x, y) => x.reduce((sum, value, i) => sum + (value - y[i]) ** 2, 0);
const mix = (f, ...points) => points[0].map((_, i) => f(...points.map((point) => point[i])));
// Neither overflows, whatever the size of z.
export const softplus = (z) => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)));
export const sigmoid = (z) => { const e = Math.exp(-Math.abs(z)); return (z < 0 ? e : 1) / (1 + e); };
export const sstLogit = (a, p, n) => d2(a, p) - (d2(a, n) + d2(p, n)) / 2;

export function sstLoss(a, p, n) {
  const z = sstLogit(a, p, n), w = sigmoid(z);
  return { value: softplus(z), z, weight: w, gradients: [
    mix((x, y, t) => w * (x - 2 * y + t), a, p, n),
    mix((x, y, t) => w * (y - 2 * x + t), a, p, n),
    mix((x, y, t) => w * (x + y - 2 * t), a, p, n)] };
}

export function tripletLoss(a, p, n, margin = 1) {
  const z = d2(a, p) + margin - d2(a, n), w = z > 0 ? 2 : 0;
  return { value: Math.max(z, 0), z, weight: w / 2, gradients: [
    mix((y, t) => w * (t - y), p, n), mix((x, y) => w * (y - x), a, p), mix((x, t) => w * (x - t), a, n)] };
}

/** The points on their way: `steps` steps of gradient descent, the start first. Its twin is `GradientExplorer.descend`. */
export function descend(loss, points, margin, steps) {
  const way = [points];
  for (let i = 0; i < steps; i++) {
    const { gradients } = loss === "sst" ? sstLoss(...way[i]) : tripletLoss(...way[i], margin);
    way.push(way[i].map((point, k) => mix((x, slope) => x - RATE * slope, point, gradients[k])));
  }
  return way;
}

export const sphere = (a, p) => ({ centre: mix((x, y) => (x + y) / 2, a, p), radius: Math.sqrt(0.75 * d2(a, p)) });
export const hinge = (a, p, margin) => ({ centre: a, radius: Math.sqrt(d2(a, p) + margin) });

/** Negative gradients for embeddings that are numbers, with a - p = u and p - n = v; into `out`, to save memory. */
export function scalarField(loss, u, v, margin = 1, out = [0, 0, 0]) {
  const w = -u - v;
  if (loss === "sst") {
    const weight = sigmoid(u * u - (v * v + w * w) / 2);
    out[0] = weight * (v - u); out[1] = weight * (u - w); out[2] = weight * (w - v);
  } else {
    const weight = u * u + margin - w * w > 0 ? 2 : 0;
    out[0] = weight * v; out[1] = weight * u; out[2] = weight * w;
  }
  return out;
}

/** The point of the triangle (each at least -2, sum 0) that is nearest to (u, v, w). */
export function toTriangle(uvw) {
  if (uvw.every((x) => x >= -2 - 1e-9)) return uvw;
  const share = uvw.map((x) => x + 2).sort((x, y) => y - x);
  let sum = 0, lower = 0;
  share.forEach((x, i) => { sum += x; if (x > (sum - 6) / (i + 1)) lower = (sum - 6) / (i + 1); });
  return uvw.map((x) => Math.max(x + 2 - lower, 0) - 2);
}

export function ternaryPoint(a, p, n) {
  const uvw = [a[0] - p[0], p[0] - n[0], n[0] - a[0]], inside = toTriangle(uvw) === uvw;
  return { uvw: toTriangle(uvw), inside, level: a[1] === p[1] && p[1] === n[1] };
}

// RdBu of ColorBrewer 2.0 (C. Brewer and others, 2013), turned round: blue for -4, red for 4.
const RDBU = [[5, 48, 97], [33, 102, 172], [67, 147, 195], [146, 197, 222], [209, 229, 240], [247, 247, 247],
  [253, 219, 199], [244, 165, 130], [214, 96, 77], [178, 24, 43], [103, 0, 31]];
const SHADES = Array.from({ length: 256 }, (_, k) => {
  const x = k / 25.5, i = Math.min(9, Math.floor(x));
  return RDBU[i].map((from, channel) => Math.round(from + (x - i) * (RDBU[i + 1][channel] - from)));
});
export const shade = (value) => SHADES[Math.min(255, Math.floor(Math.max(0, Math.min(1, (value + 4) / 8)) * 256))];

// ---- the drawing ----
const REACH = [4, 3], UNIT = 55, SCALE = 1 / 4, LONGEST = 2, RATE = 0.02, STEPS = 300; // as in gradients.py
const WIDTH = 2 * REACH[0] * UNIT, HEIGHT = 2 * REACH[1] * UNIT;
const toX = (x) => WIDTH / 2 + UNIT * x, toY = (y) => HEIGHT / 2 - UNIT * y;
const ROLES = ["anchor", "positive", "negative"], LETTERS = ["a", "p", "n"];
const TRIANGLE = { width: 146, height: 134, side: 122, x: 12, y: 114 }; // (x, y): its left corner
const TALL = TRIANGLE.side * Math.sqrt(3) / 2;
const neat = (x, reach) => Math.max(-reach, Math.min(reach, Math.round(100 * x) / 100)) + 0; // + 0: no negative zero
const within = ([x, y]) => [neat(x, REACH[0]), neat(y, REACH[1])];

/** 1 for points on a line, down to 0 for a clear triangle: arrows on a line are drawn beside each other. */
function flatness(a, p, n) {
  const most = Math.max(d2(a, p), d2(a, n), d2(p, n));
  const twice = Math.abs((p[0] - a[0]) * (n[1] - a[1]) - (p[1] - a[1]) * (n[0] - a[0]));
  return most ? Math.max(0, 1 - twice / (0.15 * most)) : 1;
}

/** From a place in the picture of a triangle to (u, v), and back. */
const toUV = (x, y) => {
  const r = (TRIANGLE.y - y) / TALL;
  return [-2 + 6 * ((x - TRIANGLE.x) / TRIANGLE.side - r / 2), -2 + 6 * r];
};
const fromUV = (u, v) => {
  const b = (u + 2) / 6, r = (v + 2) / 6;
  return [TRIANGLE.x + TRIANGLE.side * (b + r / 2), TRIANGLE.y - TALL * r];
};
const OUTLINE = [fromUV(-2, -2), fromUV(4, -2), fromUV(-2, 4)];

function handle(label, ...children) {
  return s("g", { role: "slider", "aria-label": label, "aria-roledescription": "movable point", "aria-valuemin": -4,
    "aria-valuemax": 4, "aria-valuenow": 0, style: "cursor:move" }, children);
}
function tell(node, value, text) {
  node.setAttribute("aria-valuenow", value);
  node.setAttribute("aria-valuetext", text);
}

/** One plane: `update` draws the points, the forces and the region of a loss. */
function plane(parent, loss, move) {
  const id = unique(), name = loss === "sst" ? "SST loss" : "triplet loss";
  const grid = [];
  for (let k = -3; k <= 3; k++) grid.push(`M${toX(k)} 0V${HEIGHT}`, `M0 ${toY(k)}H${WIDTH}`);
  const stops = Array.from({ length: 14 }, () => s("stop", { style: "stop-color:var(--sst-negative)" }));
  const fade = s("radialGradient", { id, gradientUnits: "userSpaceOnUse" }, stops);
  const region = loss === "sst"
    ? s("rect", { width: WIDTH, height: HEIGHT, fill: `url(#${id})` })
    : s("circle", { style: "fill:var(--sst-negative);fill-opacity:0.16" });
  const edge = s("circle", { fill: "none", "stroke-width": 2, "stroke-dasharray": loss === "sst" ? "6 5" : null,
    style: `stroke:var(--sst-${loss === "sst" ? "ink" : "negative"})` });
  const middle = s("g", {}, s("path", { d: "M-6 0H6M0 -6V6", "stroke-width": 2, style: "stroke:var(--sst-ink)" }),
    s("text", { x: 7, y: -6, style: "font-size:15px" }, "c"));
  const arrows = ROLES.map((role) => {
    const look = (width, colour) => s("path", { "stroke-width": width, "stroke-linejoin": "round", "stroke-linecap": "round",
      style: `fill:var(--sst-${colour});stroke:var(--sst-${colour})` });
    const halo = look(6, "paper"), line = look(2.6, role);
    const cut = s("path", { "stroke-width": 2.6, style: `stroke:var(--sst-${role})` });
    return { node: s("g", { class: "sst-force", "data-of": role, "pointer-events": "none" }, halo, line, cut), halo, line, cut };
  });
  const bar = s("g", { "pointer-events": "none" },
    s("path", { d: planeArrow(12, HEIGHT - 12, 4 * SCALE * UNIT, 0), "stroke-width": 2,
      style: "stroke:var(--sst-faint);fill:var(--sst-faint)" }),
    s("text", { x: 12 + 4 * SCALE * UNIT + 8, y: HEIGHT - 7, class: "sst-faint", style: "font-size:14px" }, "gradient of length 4"));
  const svg = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": `${name}: points in the plane`,
    style: "width:100%;background:var(--sst-panel);border-radius:6px" },
  s("defs", {}, fade), region,
  s("path", { d: grid.join(""), style: "stroke:var(--sst-line);stroke-width:0.6" }),
  s("path", { d: `M0 ${toY(0)}H${WIDTH}`, style: "stroke:var(--sst-faint);stroke-width:1.2" }),
  edge, loss === "sst" ? middle : null, bar);
  const current = [];
  const handles = ROLES.map((role, i) => {
    // 28: at least 44 pixels to touch on a phone, where the picture is smaller
    const node = handle(`${role} ${LETTERS[i]}, in the panel of the ${name}`, s("circle", { r: 28, fill: "transparent" }), planeMark(LETTERS[i]));
    draggable(node, svg, {
      get: () => [toX(current[i][0]), toY(current[i][1])],
      set: ([x, y]) => move(i, loss, within([(x - WIDTH / 2) / UNIT, (HEIGHT / 2 - y) / UNIT])),
      step: 0.05 * UNIT,
    });
    svg.append(node);
    return node;
  });
  const trails = ROLES.map((role) => s("path", { class: "sst-trail", fill: "none", "stroke-width": 2.5, "stroke-dasharray": "1 4", "stroke-linecap": "round",
    "pointer-events": "none", style: `stroke:var(--sst-${role})` }));
  handles[0].before(...trails);
  svg.append(...arrows.map((arrow) => arrow.node));
  parent.append(svg);

  return function update(points, result, circle, way) {
    trails.forEach((trail, i) => {
      trail.setAttribute("d", way.length > 1 ? way.map((at, k) => `${k ? "L" : "M"}${toX(at[i][0])} ${toY(at[i][1])}`).join("") : "");
    });
    const [x, y] = [toX(circle.centre[0]), toY(circle.centre[1])];
    for (const node of loss === "sst" ? [edge] : [edge, region]) {
      node.setAttribute("cx", x); node.setAttribute("cy", y); node.setAttribute("r", circle.radius * UNIT);
    }
    if (loss === "sst") {
      middle.setAttribute("transform", `translate(${x} ${y})`);
      // The weight is sigmoid(radius^2 - distance^2): stops at even steps of z, nearest first.
      const inner = circle.radius ** 2, outer = Math.sqrt(inner + 6);
      fade.setAttribute("cx", x); fade.setAttribute("cy", y); fade.setAttribute("r", outer * UNIT);
      stops.forEach((stop, k) => {
        const z = k ? Math.min(inner, 7 - k) : inner;
        stop.setAttribute("offset", k ? Math.sqrt(Math.max(0, inner - z)) / outer : 0);
        stop.setAttribute("stop-opacity", 0.3 * sigmoid(z));
      });
    }
    const flat = flatness(...points);
    points.forEach((point, i) => {
      current[i] = point;
      handles[i].setAttribute("transform", `translate(${toX(point[0])} ${toY(point[1])})`);
      tell(handles[i], point[0], `x ${tidy(point[0])}, y ${tidy(point[1])}`);
      const force = result.gradients[i].map((value) => -value), length = Math.hypot(...force);
      const shown = Math.min(SCALE * length, LONGEST) * UNIT, ux = force[0] / (length || 1), uy = -force[1] / (length || 1);
      // It begins at the edge of the mark, so that even a short one is seen.
      const aside = i < 2 ? 13 * flat : 0, fx = toX(point[0]) + 15 * ux + aside * uy, fy = toY(point[1]) + 15 * uy - aside * ux;
      const d = planeArrow(fx, fy, shown * ux, shown * uy);
      arrows[i].halo.setAttribute("d", d);
      arrows[i].line.setAttribute("d", d);
      const bars = [0.4, 0.48].map((t) => [fx + t * shown * ux, fy + t * shown * uy]);
      arrows[i].cut.setAttribute("d", SCALE * length > LONGEST
        ? bars.map(([bx, by]) => `M${bx - 7 * uy} ${by + 7 * ux}L${bx + 7 * uy} ${by - 7 * ux}`).join("") : "");
    });
  };
}

/** Three triangles of a loss: `paint` colours them for a margin, `update` moves the marker. */
function triangles(parent, loss, move) {
  const name = loss === "sst" ? "SST loss" : "triplet loss", current = [0, 0];
  const row = h("div", { class: "sst-triangles", style: "display:flex;gap:4px;margin-top:8px" });
  parent.append(row);
  const corners = OUTLINE.map((point) => point.join(" ")).join("L");
  const dots = [0, 2].flatMap((t) => [[[t, -2], [t, 2 - t]], [[-2, t], [2 - t, t]], [[-2, 2 - t], [2 - t, -2]]])
    .map(([from, to]) => `M${fromUV(...from)}L${fromUV(...to)}`).join("");
  const all = ROLES.map((role, i) => {
    const value = h("span", {}), layers = h("div", { class: "sst-layers" });
    row.append(h("div", { style: "flex:1 1 0;min-width:0;text-align:center" },
      h("div", { style: "font-variant-numeric:tabular-nums" }, `on ${LETTERS[i]}: `, value), layers));
    const { node: picture, pen } = canvas(layers, TRIANGLE.width, TRIANGLE.height);
    const mark = s("circle", { r: 6.5, "stroke-width": 2.5 });
    const halo = s("circle", { r: 8.5, fill: "none", "stroke-width": 1.5, style: "stroke:#fff" });
    const at = s("g", {}, mark, halo);
    const node = handle(`marker in the triangle of the ${name}, ${role}`, s("path", { d: `M${corners}Z`, fill: "transparent" }), at);
    const text = (x, y, anchor, word) => s("text", { x, y, "text-anchor": anchor, style: "font-size:13px" }, word);
    const svg = s("svg", { viewBox: `0 0 ${TRIANGLE.width} ${TRIANGLE.height}` },
      s("path", { d: dots, "stroke-dasharray": "1.5 3", style: "stroke:#404040;stroke-width:1" }),
      s("path", { d: `M${corners}Z`, fill: "none", style: "stroke:var(--sst-faint)" }),
      text(1, 130, "start", "w=4"), text(TRIANGLE.width - 1, 130, "end", "u=4"), text(OUTLINE[2][0] + 9, 15, "start", "v=4"), node);
    // A press anywhere in the triangle brings the marker there; the drag that follows starts from that place.
    node.addEventListener("pointerdown", (event) => {
      const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      move(toUV(place.x, place.y));
    }, { capture: true });
    draggable(node, svg, { get: () => fromUV(...current), set: ([x, y]) => move(toUV(x, y)), step: TRIANGLE.side / 120 });
    if (i) node.setAttribute("tabindex", "-1"); // one stop of the Tab key is enough: the three markers are one
    layers.append(svg);
    return { picture, pen, node, at, mark, value, role };
  });

  let painted = null;
  function paint(margin) {
    const key = loss === "sst" ? "always" : margin;
    if (painted === key) return;
    painted = key;
    const { width, height } = all[0].picture, ratio = width / TRIANGLE.width, force = [0, 0, 0];
    const images = all.map(() => new ImageData(width, height));
    for (let j = 0, k = 0; j < height; j++) {
      for (let i = 0; i < width; i++, k += 4) {
        const [u, v] = toUV((i + 0.5) / ratio, (j + 0.5) / ratio);
        scalarField(loss, u, v, margin, force);
        for (let panel = 0; panel < 3; panel++) {
          const [red, green, blue] = shade(force[panel]), { data } = images[panel];
          data[k] = red; data[k + 1] = green; data[k + 2] = blue; data[k + 3] = 255;
        }
      }
    }
    all.forEach(({ pen }, panel) => {
      pen.putImageData(images[panel], 0, 0);
      pen.globalCompositeOperation = "destination-in";
      pen.beginPath();
      OUTLINE.forEach(([x, y]) => pen.lineTo(x, y));
      pen.fill();
      pen.globalCompositeOperation = "source-over";
    });
  }

  function update(uvw, exact, margin) {
    current[0] = uvw[0]; current[1] = uvw[1];
    const [x, y] = fromUV(...current), force = scalarField(loss, ...current, margin);
    all.forEach(({ picture, node, at, mark, value, role }, i) => {
      at.setAttribute("transform", `translate(${x} ${y})`);
      mark.setAttribute("style", `stroke:#1b1d21;fill:${exact ? "#1b1d21" : "none"}`);
      value.textContent = tidy(force[i]);
      picture.setAttribute("aria-label", `Triangle: negative gradient of the ${name} with respect to the ${role}, from minus 4 (blue) `
        + `to 4 (red); ${tidy(force[i])} at the marker`);
      tell(node, Math.round(100 * uvw[0]) / 100, `u ${tidy(uvw[0])}, v ${tidy(uvw[1])}, w ${tidy(uvw[2])}`);
    });
  }
  return { row, paint, update };
}

function render({ model, el }) {
  const { body, say } = stage(el, model, "Drag a, p and n in either panel, or move them with the arrow keys (hold Shift for larger steps). "
    + "Each arrow is a quarter of the negative gradient: the direction in which gradient descent moves the point.");
  const points = () => ROLES.map((role) => model.get(role));

  /** Move to new points and tell everyone what the losses make of them. */
  function change(next, margin, what) {
    stop();
    const sst = sstLoss(...next), triplet = tripletLoss(...next, margin);
    const values = { steps: 0, margin, triplet_loss: triplet.value, sst_loss: sst.value, z: sst.z };
    ROLES.forEach((role, i) => { values[role] = next[i]; });
    put(model, values);
    say(`${what}: triplet loss ${tidy(triplet.value)}, SST loss ${tidy(sst.value)}, z ${tidy(sst.z)}.`);
  }
  const move = (i, loss, point) => { // points that were let go are caught where they are
    const next = model.get("steps") ? ways()[loss].at(-1).map(within) : points();
    next[i] = point;
    change(next, model.get("margin"), `${ROLES[i]} at ${tidy(point[0])}, ${tidy(point[1])}`);
  };
  // -- letting go --
  let kept = null, frame = 0;
  /** The way of the points under each loss, as far as they have gone. */
  function ways() {
    const margin = model.get("margin"), key = JSON.stringify([points(), margin]);
    if (kept?.key !== key) kept = { key, sst: descend("sst", points(), margin, STEPS), triplet: descend("triplet", points(), margin, STEPS) };
    const count = Math.max(0, Math.min(STEPS, model.get("steps"))) + 1;
    return { sst: kept.sst.slice(0, count), triplet: kept.triplet.slice(0, count) };
  }
  const lossOf = (loss, at) => (loss === "sst" ? sstLoss(...at) : tripletLoss(...at, model.get("margin"))).value;
  function told() {
    const { sst, triplet } = ways(), steps = model.get("steps");
    const way = (name, loss, path) => `${name} ${tidy(lossOf(loss, path[0]))} \u2192 ${tidy(lossOf(loss, path.at(-1)))}`;
    return `After ${steps} step${steps === 1 ? "" : "s"} of descent from one start: ${way("triplet loss", "triplet", triplet)}, ${way("SST loss", "sst", sst)}.`;
  }
  function go(steps) {
    put(model, { steps });
    redraw();
  }
  function stop() {
    cancelAnimationFrame(frame);
    frame = 0;
    free.textContent = "Let go";
  }
  function release() {
    if (frame) { stop(); return say(told()); }
    if (still.matches) { go(STEPS); return say(told()); } // no motion: the end at once, and the slider for what lies between
    const first = model.get("steps") >= STEPS ? 0 : model.get("steps"), began = performance.now();
    const run = (now) => {
      go(Math.min(STEPS, first + Math.floor(Math.max(0, now - began) * 0.06)));
      if (model.get("steps") < STEPS) frame = requestAnimationFrame(run);
      else { stop(); say(told()); }
    };
    free.textContent = "Stop";
    frame = requestAnimationFrame(run);
    say("The points follow their forces.");
  }

  /** The marker of the triangles moves a and n along the horizontal line through 0; p makes room if it must. */
  const moveMarker = ([u, v]) => {
    let [du, dv] = toTriangle([u, v, -u - v]).map((x) => Math.round(100 * x) / 100);
    if (du + dv > 2) dv = 2 - du; // rounding must not lead out, past w = -2
    const from = model.get("positive")[0], low = Math.min(0, du, -dv), high = Math.max(0, du, -dv);
    const p = Math.max(-REACH[0] - low, Math.min(REACH[0] - high, from));
    change([[p + du, 0], [p, 0], [p - dv, 0]].map(within), model.get("margin"), `u ${tidy(du)}, v ${tidy(dv)}, w ${tidy(-du - dv)}`);
  };

  const controls = h("div", { class: "sst-controls" });
  body.append(controls);
  const buttons = h("div", { class: "sst-control", role: "group", "aria-label": "Start from", style: "flex-wrap:wrap" }, h("span", {}, "Start from"));
  controls.append(buttons);
  for (const [name, start] of Object.entries(model.get("starts"))) {
    button(buttons, name, () => change(start.map((x) => [...x]), model.get("margin"), name));
  }
  button(buttons, "Reset", () => {
    const home = model.get("home");
    change(ROLES.map((role) => [...home[role]]), home.margin, "reset");
  });
  const margin = slider(controls, { label: "margin m (triplet)", min: 0, max: 4, step: 0.05, value: model.get("margin"), format: (x) => tidy(x),
    onInput: (x) => change(points(), x, `margin ${tidy(x)}`) });
  const check = checkbox(controls, { label: "show the triangles of figure 2", value: model.get("panels"), onChange: (panels) => put(model, { panels }) });

  const free = button(controls, "Let go", release);
  const stepsOf = slider(controls, { label: "steps", min: 0, max: STEPS, step: 1, value: model.get("steps"),
    onInput: (steps) => { stop(); go(steps); say(told()); } });
  const letGo = h("p", { class: "sst-about", style: "margin:0;width:100%", "data-note": "let-go" });
  controls.append(letGo);

  const wrong = h("p", { role: "alert", style: "margin:0;width:100%", hidden: true });
  body.append(wrong);
  const sides = ["triplet", "sst"].map((loss) => {
    const line = () => h("div", { style: "font-variant-numeric:tabular-nums" });
    const lines = [line(), line(), line()], side = h("div", { style: "flex:1 1 300px;min-width:0", "data-loss": loss },
      h("div", { style: "font-weight:600;margin-bottom:4px" }, loss === "sst" ? "SST loss" : "Triplet loss"));
    body.append(side);
    const update = plane(side, loss, move);
    side.append(h("p", { class: "sst-about", style: "margin:4px 0" }, loss === "sst"
      ? "Dashed: z = 0, a circle around the midpoint c. Shading: sigmoid(z), the weight of a negative at that place."
      : "Inside the disc around a, a negative is pushed away, with the same weight everywhere; outside, the loss is 0."), ...lines);
    return { loss, lines, update, triangles: triangles(side, loss, moveMarker) };
  });
  const below = h("div", { class: "sst-below", style: "width:100%" });
  const shadow = h("p", { style: "margin:0", "data-note": "shadow" });
  below.append(
    h("div", { style: "display:flex;gap:8px;align-items:center;flex-wrap:wrap" }, h("span", {}, "negative gradient: −4"),
      h("span", { style: `width:140px;height:12px;background:linear-gradient(to right,${RDBU.map((rgb) => `rgb(${rgb})`)})` }), h("span", {}, "4")),
    h("p", { class: "sst-about", style: "margin:4px 0" }, "Figure 2 of the paper: the force on each point when embeddings are single numbers. "
      + "u\u00a0=\u00a0a\u00a0−\u00a0p, v\u00a0=\u00a0p\u00a0−\u00a0n, w\u00a0=\u00a0n\u00a0−\u00a0a; dotted lines every 2 units, from −2 to 4. Drag the marker to move a and n along a line."), shadow);
  body.append(below);

  function redraw() {
    const [a, p, n] = points(), m = model.get("margin");
    const odd = ![a, p, n].every((x) => Array.isArray(x) && x.length === 2 && x.every(Number.isFinite)) || !(m >= 0);
    wrong.textContent = odd ? "A point is not two finite numbers, or the margin is negative: choose a start above." : "";
    wrong.hidden = !odd;
    if (odd) return;
    const steps = model.get("steps"), gone = steps ? ways() : { sst: [[a, p, n]], triplet: [[a, p, n]] };
    letGo.textContent = steps ? told() : "Let go, and the three points follow their forces in both panels. Catch one to carry on from there.";
    stepsOf.set(steps);
    margin.set(m);
    check.set(model.get("panels"));
    for (const { loss, lines, update, triangles: panels } of sides) {
      const [a, p, n] = gone[loss].at(-1), sst = sstLoss(a, p, n), triplet = tripletLoss(a, p, n, m);
      const result = loss === "sst" ? sst : triplet;
      update([a, p, n], result, loss === "sst" ? sphere(a, p) : hinge(a, p, m), gone[loss]);
      if (loss === "sst") {
        lines[0].textContent = `z = d²(a,p) − ½(d²(a,n) + d²(p,n)) = ${tidy(d2(a, p))} − ${tidy((d2(a, n) + d2(p, n)) / 2)} = ${tidy(sst.z)}`;
        lines[1].textContent = `loss = log(1 + exp z) = ${tidy(sst.value)}; sigmoid(z) = ${tidy(sst.weight)}`;
      } else {
        lines[0].textContent = `d²(a,p) + m − d²(a,n) = ${tidy(d2(a, p))} + ${tidy(m)} − ${tidy(d2(a, n))} = ${tidy(triplet.z)}`;
        lines[1].textContent = `loss = max(0, that) = ${tidy(triplet.value)}; ${triplet.weight ? "active" : "not active: no force"}`;
      }
      lines[2].textContent = `length of the gradient: ${result.gradients.map((g, i) => `${LETTERS[i]} ${tidy(Math.hypot(...g))}`).join(", ")}`
        + (result.gradients.some((g) => SCALE * Math.hypot(...g) > LONGEST) ? " (‖ marks an arrow that is cut short)" : "");
      panels.row.style.display = model.get("panels") ? "flex" : "none";
      if (model.get("panels")) {
        const { uvw, inside, level } = ternaryPoint(a, p, n);
        panels.paint(m);
        panels.update(uvw, inside && level, m);
        shadow.textContent = !level ? "Hollow marker: the points are not on one horizontal line; the triangles show their projection onto the horizontal axis."
          : !inside ? "Hollow marker: the triplet lies outside the triangles; this is the nearest point inside." : "";
      }
    }
    below.style.display = model.get("panels") ? "" : "none";
  }
  redraw();
  const end = follow(model, [...ROLES, "margin", "panels", "steps"], redraw);
  return () => { end(); stop(); };
}

export default { render };
