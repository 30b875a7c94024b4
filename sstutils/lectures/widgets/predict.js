// A question; the reader commits to an option or to an arrow, then sees the truth.

/** The angle between two vectors in degrees, from 0 to 180. Its twin is `sstutils.widgets.predict.angle`. */
export const angle = ([a, b], [c, d]) => Math.abs(Math.atan2(a * d - b * c, a * c + b * d) * 180 / Math.PI);

/** The point at which an arrow from `at` is aimed, or from which it leads away, in words; "" if there is none. */
export function aim(points, at, way) {
  for (const [name, point] of Object.entries(points)) {
    if (name === at) continue;
    const off = angle(way, [point[0] - points[at][0], point[1] - points[at][1]]);
    if (off < 10) return ` It points at ${name}.`;
    if (off > 170) return ` It points straight away from ${name}.`;
  }
  return "";
}

/** What is said after the commitment: [right?, sentence]. */
export function verdict({ options, answer, feedback, points, at, truth, tolerance, chosen }) {
  if (options.length) {
    const right = chosen === answer, told = feedback[chosen] ? `${feedback[chosen]} ` : "";
    const answered = options[answer].replace(/[.!?]$/, "");
    return [right, right ? `Yes: ${answered}. ${told}`.trim() : `Not quite. ${told}The answer is: ${answered}.`];
  }
  const off = angle(chosen, truth), right = off <= tolerance, told = `your arrow (dashed) is ${off.toFixed(0)}° off`;
  return [right, right ? `Yes: ${told}.` : `Not quite: ${told}.${aim(points, at, chosen)}`];
}

function optionsForm(body, model, pick) {
  const texts = model.get("options");
  const { inputs, set } = choice(body, { label: "Your answer", options: texts.map((text, i) => [i, text]),
    value: model.get("chosen"), onChange: (i) => pick(i, texts[i]) });
  const field = inputs[0].closest("fieldset");
  field.style.cssText = "flex-direction:column;align-items:flex-start;width:100%";
  field.querySelector("legend").className = "sst-hidden";
  const marks = inputs.map((input) => {
    const mark = h("strong", {});
    input.parentElement.append(mark);
    return mark;
  });
  return function redraw(chosen, committed) {
    set(chosen);
    inputs.forEach((input, i) => {
      const right = i === model.get("answer"), shown = committed && (right || i === chosen);
      input.disabled = committed;
      marks[i].textContent = !shown ? "" : right ? "✓ right" : "✗ your answer";
      const colour = shown ? `var(--sst-${right ? "blue" : "vermilion"})` : "";
      marks[i].style.color = input.parentElement.style.color = colour;
    });
  };
}

function arrowForm(body, model, pick) {
  const points = model.get("points"), at = model.get("at"), truth = model.get("truth");
  // The window is chosen without regard to where the truth points: see `window` in predict.py.
  const xs = Object.values(points).map((p) => p[0]), ys = Object.values(points).map((p) => p[1]);
  const middle = [xs, ys].map((x) => (Math.min(...x) + Math.max(...x)) / 2), start = points[at];
  const reach = Math.max(Math.max(...xs) - middle[0], Math.max(...ys) - middle[1]);
  const half = 1.15 * Math.max(reach, Math.hypot(start[0] - middle[0], start[1] - middle[1]) + Math.hypot(...truth)) + 0.1;
  const side = 360, unit = side / (2 * half);
  const place = ([x, y]) => [side / 2 + unit * (x - middle[0]), side / 2 - unit * (y - middle[1])];
  const [x0, y0] = place(start);
  const line = (name, dash) => s("g", { "stroke-width": 3, "stroke-linejoin": "round", "pointer-events": "none", "data-arrow": name },
    s("path", { "stroke-dasharray": dash }), s("path"));
  const draw = (node, [dx, dy], colour) => { // shaft and head apart: only the shaft is dashed
    const [, shaft = "", head = ""] = planeArrow(x0, y0, unit * dx, -unit * dy, 14).split("M");
    [shaft, head].forEach((d, i) => node.children[i].setAttribute("d", d && `M${d}`));
    node.setAttribute("style", `stroke:${colour};fill:${colour}`);
  };
  const mine = line("mine", "7 4"), real = line("truth", null);
  const mark = s("text", { "text-anchor": "middle", style: "font-size:20px;font-weight:700" });
  const name = s("text", { "text-anchor": "middle", style: "font-size:14px;fill:var(--sst-blue)" });
  // A ring with a tip to each side: it says "drag me" and favours no direction.
  const tips = [[1, 0], [0, 1], [-1, 0], [0, -1]].map(([x, y]) => planeArrow(18 * x, 18 * y, 13 * x, 13 * y, 8)).join("");
  const ring = s("g", { style: "fill:var(--sst-focus);stroke:var(--sst-focus)" }, s("circle", { r: 19, fill: "none", "stroke-width": 2, "stroke-dasharray": "4 3" }),
    s("path", { d: tips, "stroke-width": 2, "stroke-linejoin": "round" }));
  const grip = s("g", { role: "slider", "aria-label": `head of the arrow from ${at}`, "aria-roledescription": "movable point", "aria-valuemin": -180,
    "aria-valuemax": 180, "aria-valuenow": 0, style: "cursor:move" }, s("circle", { r: 30, fill: "transparent" }), ring);
  const svg = s("svg", { viewBox: `0 0 ${side} ${side}`, role: "group", "aria-label": `Points ${Object.keys(points).join(", ")}; the arrow begins at ${at}`,
    style: `flex:0 1 380px;background:var(--sst-panel);border-radius:6px` },
  real, mine, Object.entries(points).map(([key, point]) => {
    const node = planeMark(key), [x, y] = place(point);
    node.setAttribute("transform", `translate(${x} ${y})`);
    return node;
  }), grip, mark, name);
  const inside = (x) => Math.max(6, Math.min(side - 6, x));
  draggable(grip, svg, {
    get: () => { const [dx, dy] = model.get("chosen") ?? [0, 0]; return [x0 + unit * dx, y0 - unit * dy]; },
    set: ([x, y]) => {
      if (model.get("committed")) return;
      const way = [(inside(x) - x0) / unit, (y0 - inside(y)) / unit].map((value) => Math.round(1000 * value) / 1000 + 0);
      // Back on its point the arrow is none.
      pick(Math.hypot(...way) * unit < 4 ? null : way, direction(way));
    },
    step: 6,
  });
  body.append(svg);
  const direction = (way) => `arrow ${tidy(Math.atan2(way[1], way[0]) * 180 / Math.PI, 0)}° from the x-axis`;
  return function redraw(chosen, committed) {
    const way = chosen ?? [0, 0], right = committed && verdict(read(model))[0];
    const colour = `var(--sst-${!committed ? "ink" : right ? "blue" : "vermilion"})`;
    const tip = [x0 + unit * way[0], y0 - unit * way[1]];
    draw(mine, way, colour);
    grip.setAttribute("transform", `translate(${tip})`);
    grip.setAttribute("aria-valuenow", Math.round(Math.atan2(way[1], way[0]) * 180 / Math.PI));
    grip.setAttribute("aria-valuetext", chosen ? direction(way) : "no arrow yet");
    grip.setAttribute("aria-disabled", committed);
    ring.style.display = committed ? "none" : "";
    draw(real, committed ? truth : [0, 0], "var(--sst-blue)");
    const beyond = (node, [dx, dy], far) => {
      const length = Math.hypot(dx, dy) || 1;
      node.setAttribute("x", x0 + unit * dx + far * dx / length);
      node.setAttribute("y", y0 - unit * dy - far * dy / length + 6);
    };
    mark.textContent = committed ? (right ? "✓" : "✗") : "";
    mark.style.fill = colour;
    beyond(mark, way, 14);
    // Where the two ends meet, one label would cover the other.
    name.textContent = committed && Math.hypot(way[0] - truth[0], way[1] - truth[1]) * unit > 40 ? "true" : "";
    beyond(name, truth, 18);
  };
}

const read = (model) => Object.fromEntries(["options", "answer", "feedback", "points", "at", "truth", "tolerance", "chosen"].map((key) => [key, model.get(key)]));

function render({ model, el }) {
  const { root, body, say } = stage(el, model, "", false);
  const pick = (chosen, text) => { put(model, { chosen }); say(chosen === null ? "No arrow." : `Chosen: ${text}.`); };
  const plane = !model.get("options").length, redraw = (plane ? arrowForm : optionsForm)(body, model, pick);
  root.style.maxWidth = "720px";
  const result = h("div", { style: `flex:1 1 ${plane ? "240px" : "100%"};min-width:0` });
  const hint = h("p", { class: "sst-about", "data-note": "hint" });
  const sentence = h("p", { style: "margin:0;font-weight:600", "data-part": "verdict" });
  const why = h("p", { style: "margin:4px 0 0", "data-part": "because" });
  result.append(hint);
  const press = button(result, "Commit", () => {
    if (model.get("committed")) {
      put(model, { committed: false, chosen: null });
      say("The answer is hidden again.");
    } else {
      put(model, { committed: true });
      say(`${verdict(read(model))[1]} ${model.get("because")}`);
    }
  });
  press.style.marginBottom = "8px";
  result.append(sentence, why);
  body.append(result);

  function update() {
    const chosen = model.get("chosen"), none = chosen === null || chosen === undefined;
    const committed = model.get("committed") && !none;
    redraw(none ? null : chosen, committed);
    press.disabled = none;
    hint.hidden = committed || !plane;
    hint.textContent = !none ? "Only its direction counts. Move its head until you are sure, then commit."
      : `Drag the ring at ${model.get("at")}, or press an arrow key on it: an arrow grows from there. Only its direction counts.`;
    press.textContent = committed ? "Try again" : "Commit";
    const [right, text] = committed ? verdict(read(model)) : [false, ""];
    sentence.textContent = committed ? `${right ? "✓" : "✗"} ${text}` : "";
    sentence.style.color = `var(--sst-${right ? "blue" : "vermilion"})`;
    why.textContent = committed ? model.get("because") : "";
  }
  update();
  return follow(model, ["chosen", "committed"], update);
}

export default { render };
