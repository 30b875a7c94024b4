// What all widgets share. This file is put before the file of each widget, so that each is one module.

const SVG = "http://www.w3.org/2000/svg";
const still = matchMedia("(prefers-reduced-motion: reduce)");

/** Make an element, of HTML or (s) of SVG: attributes, then children; functions become event listeners. */
function make(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}
const h = (tag, attributes = {}, ...children) => make(document.createElement(tag), attributes, children);
const s = (tag, attributes = {}, ...children) => make(document.createElementNS(SVG, tag), attributes, children);

/**
 * Prepare the place of a widget: a titled group, and a line that screen readers follow.
 * `say` tells them, politely and not more often than twice a second, what moved; it also keeps the trait `said`.
 * `shown` is false if the line repeats what the widget shows anyway.
 */
function stage(el, model, description = "", shown = true) {
  const live = h("p", { class: `sst-said ${shown ? "" : "sst-hidden"}`, role: "status", "aria-live": "polite" });
  const root = h("div", { class: "sst-widget", role: "group", "aria-label": model.get("title") },
    // the group has this name; in a page's outline the widget is no chapter
    h("h4", { class: "sst-title", role: "presentation" }, model.get("title")),
    description ? h("p", { class: "sst-about" }, description) : null);
  const body = h("div", { class: "sst-body" });
  root.append(body, live);
  // JupyterLab takes arrow keys and letters for itself unless they stay here.
  root.addEventListener("keydown", (event) => event.stopPropagation());
  el.append(root);
  let timer = 0;
  const say = (text) => {
    clearTimeout(timer);
    timer = setTimeout(() => { live.textContent = text; put(model, { said: text }); }, 250);
  };
  return { root, body, say };
}

/** Set traits and send them to the kernel, if there is one; while something is dragged, at most 20 times a second. */
const waiting = new WeakMap();
function put(model, values) {
  for (const [name, value] of Object.entries(values)) model.set(name, value);
  if (!waiting.has(model)) waiting.set(model, setTimeout(() => { waiting.delete(model); model.save_changes(); }, 50));
}

/** Redraw once per frame when one of the traits changes; the function that is returned ends it. */
function follow(model, names, redraw) {
  let frame = 0;
  const later = () => { if (!frame) frame = requestAnimationFrame(() => { frame = 0; redraw(); }); };
  for (const name of names) model.on(`change:${name}`, later);
  return () => { cancelAnimationFrame(frame); for (const name of names) model.off(`change:${name}`, later); };
}

let serial = 0;
const unique = () => `sst-${Date.now().toString(36)}-${serial++}`;

/** A slider with its name and its value; `set` moves it from outside. */
function slider(parent, { label, min, max, step, value, format = String, onInput }) {
  const id = unique();
  const shown = h("output", { for: id, "aria-live": "off" }, format(value)); // the slider says it itself;
  const input = h("input", { type: "range", id, min, max, step, "aria-valuetext": format(value) });
  input.value = value;
  const show = (x) => { shown.textContent = format(x); input.setAttribute("aria-valuetext", format(x)); };
  input.addEventListener("input", () => { show(input.valueAsNumber); onInput(input.valueAsNumber); });
  parent.append(h("div", { class: "sst-control" }, h("label", { for: id }, label), input, shown));
  return { input, set(x) { input.value = x; show(x); } };
}

/** A choice of a few: radio buttons side by side. `options` are [value, text]. */
function choice(parent, { label, options, value, onChange }) {
  const name = unique();
  const inputs = options.map(([key]) => h("input", { type: "radio", name, value: key, change: () => onChange(key) }));
  const set = (key) => inputs.forEach((input) => { input.checked = input.value === String(key); });
  set(value);
  parent.append(h("fieldset", { class: "sst-choice" }, h("legend", {}, label),
    options.map(([, text], i) => h("label", {}, inputs[i], h("span", {}, text)))));
  return { inputs, set };
}

/** A box to tick. */
function checkbox(parent, { label, value, onChange }) {
  const input = h("input", { type: "checkbox", change: () => onChange(input.checked) });
  input.checked = value;
  parent.append(h("label", { class: "sst-control sst-tick" }, input, h("span", {}, label)));
  return { input, set: (on) => { input.checked = on; } };
}

function button(parent, text, onClick, attributes = {}) {
  const node = h("button", { type: "button", class: "sst-button", click: onClick, ...attributes }, text);
  parent.append(node);
  return node;
}

/**
 * Let a handle be dragged (mouse, touch, pen) or moved by the arrow keys (with Shift ten times as far).
 * `svg` tells the coordinate system: `get` and `set` are in the units of its viewBox.
 */
function draggable(handle, svg, { get, set, step = 4, end = () => {} }) {
  const at = (event) => {
    const p = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    return [p.x, p.y];
  };
  let offset = null;
  handle.setAttribute("tabindex", "0");
  handle.style.touchAction = "none";
  // What that does not reach (Chromium ignores it on a <g>) would begin to scroll the page and end the drag.
  handle.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });
  handle.addEventListener("pointerdown", (event) => {
    const [x, y] = at(event), [a, b] = get();
    offset = [a - x, b - y];
    handle.setPointerCapture(event.pointerId);
    handle.focus({ preventScroll: true });
    event.preventDefault();
  });
  handle.addEventListener("pointermove", (event) => {
    if (!offset) return;
    const [x, y] = at(event);
    set([x + offset[0], y + offset[1]]);
  });
  const stop = () => { if (offset) { offset = null; end(); } };
  handle.addEventListener("pointerup", stop);
  handle.addEventListener("pointercancel", stop);
  handle.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way) return;
    const far = step * (event.shiftKey ? 10 : 1), [x, y] = get();
    set([x + way[0] * far, y + way[1] * far]);
    end();
    event.preventDefault();
  });
}

/** The bytes of a trait as a typed array: `numbers(model.get("points"), Int16Array)`. */
function numbers(view, Type) {
  return new Type(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

/** The picture in a trait of bytes, decoded, to `use` it; null if there is none. */
function decode(view, use) {
  if (view?.byteLength) createImageBitmap(new Blob([view], { type: "image/webp" })).then(use, () => use(null));
}

/** A canvas that is sharp on any screen; drawing is in CSS pixels. `resize` gives it another size, if it is one. */
function canvas(parent, width, height, attributes = {}) {
  const node = h("canvas", { role: "img", ...attributes });
  const sheet = { node, pen: node.getContext("2d"), width: 0, height: 0, resize(wide, high) {
    const scale = Math.max(1, Math.min(3, devicePixelRatio * (node.currentCSSZoom ?? 1))); // on a slide all is magnified
    if (sheet.width === wide && sheet.height === high && sheet.scale === scale) return false;
    Object.assign(sheet, { width: wide, height: high, scale });
    Object.assign(node, { width: Math.round(wide * scale), height: Math.round(high * scale) });
    node.style.cssText = `width:${wide}px;max-width:100%`;
    sheet.pen.setTransform(scale, 0, 0, scale, 0, 0);
    return true;
  } };
  sheet.resize(width, height);
  parent.append(node);
  return sheet;
}

/** Colours of the style sheet (--sst-ink ...) as the browser resolves them now, light or dark. */
function colours(root, names) {
  const probe = h("span", { style: "display:none;forced-color-adjust:none" }); // colours are data: high contrast keeps them;
  root.append(probe);
  const found = names.map((name) => {
    probe.style.color = `var(--sst-${name})`;
    return [name, getComputedStyle(probe).color];
  });
  probe.remove();
  return Object.fromEntries(found);
}

/** Call `redraw` when the page turns dark or light, or is printed; the function that is returned ends it. */
function onTheme(redraw) {
  const media = ["(prefers-color-scheme: dark)", "print"].map((query) => matchMedia(query)), watch = new MutationObserver(redraw);
  for (const one of media) one.addEventListener("change", redraw);
  for (const node of [document.documentElement, document.body]) {
    watch.observe(node, { attributes: true, attributeFilter: ["data-theme", "data-jp-theme-light", "class"] });
  }
  return () => { for (const one of media) one.removeEventListener("change", redraw); watch.disconnect(); };
}

/** Random numbers in [0, 1) from a seed: mulberry32. Its twin is `sstutils.widgets.base.random`. */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** A number for the eye: a fixed count of digits, a true minus sign, and never "-0". */
function tidy(x, digits = 2) {
  const text = x.toFixed(digits);
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "\u2212");
}

/** The `d` of an arrow from (x, y) by (dx, dy), in the units of its SVG; the head of a short arrow is smaller. */
function planeArrow(x, y, dx, dy, size = 11) {
  const length = Math.hypot(dx, dy);
  if (!(length > 0.5)) return "";
  const head = Math.min(size, length), ux = dx / length, uy = dy / length, half = 0.42 * head;
  const bx = x + dx - ux * head, by = y + dy - uy * head;
  return `M${x} ${y}L${bx} ${by}M${x + dx} ${y + dy}L${bx - uy * half} ${by + ux * half}L${bx + uy * half} ${by - ux * half}Z`;
}

/** The mark of a point of a triplet, around (0, 0): a circle for a, a square for p, a triangle for n; a disc for others. */
function planeMark(name) {
  const role = { a: "anchor", p: "positive", n: "negative" }[name];
  const look = `fill:var(--sst-${role ?? "ink"});stroke:var(--sst-paper);stroke-width:1.5`;
  const shape = name === "p" ? s("rect", { x: -11, y: -11, width: 22, height: 22, rx: 2, style: look })
    : name === "n" ? s("path", { d: "M0 -15L14.5 11L-14.5 11Z", "stroke-linejoin": "round", style: look })
      : s("circle", { r: role ? 13 : 5, style: look });
  const letter = s("text", role
    ? { y: name === "n" ? 8 : 5, "text-anchor": "middle", style: "font-size:15px;font-weight:600;fill:var(--sst-paper);pointer-events:none" }
    : { x: 10, y: 5, style: "font-size:15px" }, name);
  return s("g", {}, shape, letter);
}

/** Colour and mark of the number-th of many groups. */
const HUES = ["blue", "vermilion", "green", "purple", "orange", "sky", "ink"];
const looks = (number) => [HUES[number % 7], ((number % 7) + Math.floor(number / 7)) % 8]; // 56 differ

/** Add a mark to the path of a pen: circle, square, diamond, triangles, plus, cross, star. */
function mark(pen, kind, x, y, r) {
  const turn = (corners, inner, from) => {
    for (let i = 0; i < corners; i++) {
      const a = from + (2 * Math.PI * i) / corners, far = i % 2 ? r * inner : r * 1.25;
      pen[i ? "lineTo" : "moveTo"](x + far * Math.cos(a), y + far * Math.sin(a));
    }
    pen.closePath();
  };
  if (kind === 0) { pen.moveTo(x + r, y); pen.arc(x, y, r, 0, 2 * Math.PI); }
  else if (kind === 1) pen.rect(x - 0.88 * r, y - 0.88 * r, 1.76 * r, 1.76 * r);
  else if (kind === 2) turn(4, 1.25, 0);
  else if (kind === 3) turn(3, 1.25, -Math.PI / 2);
  else if (kind === 4) turn(3, 1.25, Math.PI / 2);
  else if (kind === 5) turn(8, 0.45, 0);
  else if (kind === 6) turn(8, 0.45, Math.PI / 4);
  else turn(10, 0.5, -Math.PI / 2);
}

/** Draw points on a clear sheet, each class with its look; `only` one stands out, a ring is around the point `ringed`. */
function drawClasses({ pen, width, height }, { labels, classes, X, Y, r, palette, only, ringed }) {
  pen.clearRect(0, 0, width, height);
  classes.forEach((_, number) => {
    const [hue, kind] = looks(number);
    pen.globalAlpha = only < 0 || only === number ? 0.9 : 0.1;
    pen.fillStyle = palette[hue];
    pen.beginPath();
    labels.forEach((label, i) => { if (label === number) mark(pen, kind, X(i), Y(i), r); });
    pen.fill();
  });
  pen.globalAlpha = 1;
  if (ringed < 0) return;
  Object.assign(pen, { strokeStyle: palette.ink, lineWidth: 2 });
  pen.beginPath();
  pen.arc(X(ringed), Y(ringed), r + 4, 0, 2 * Math.PI);
  pen.stroke();
}

/**
 * A legend of classes: a press shows one of them alone, the pointer or the focus only for a while. `only` is that class
 * or -1; `list` takes the names, `paint` draws the marks in the colours of the page.
 */
function classLegend(parent, label, redraw, say) {
  let chosen = -1, lit = -1, signs = [];
  const box = h("div", { class: "sst-legend", role: "group", "aria-label": label });
  const light = (number) => { lit = number; redraw(); };
  parent.append(box);
  const legend = {
    box,
    only: () => (lit >= 0 ? lit : chosen),
    list(classes) {
      signs = classes.map(() => h("canvas", { width: 32, height: 32, "aria-hidden": "true" }));
      box.replaceChildren(...classes.map((name, number) => h("button", { type: "button", class: "sst-button", "aria-pressed": "false",
        pointerenter: () => light(number), pointerleave: () => light(-1), blur: () => light(-1),
        focus: (event) => event.target.matches(":focus-visible") && light(number),
        click() {
          chosen = chosen === number ? -1 : number;
          [...box.children].forEach((node, i) => node.setAttribute("aria-pressed", String(i === chosen)));
          redraw();
          say(chosen < 0 ? "All letters are shown." : `Only ${name} is shown.`);
        } }, signs[number], name)));
    },
    paint(palette) {
      signs.forEach((node, number) => {
        const pen = node.getContext("2d"), [hue, kind] = looks(number);
        pen.clearRect(0, 0, 32, 32);
        pen.fillStyle = palette[hue];
        pen.beginPath();
        mark(pen, kind, 16, 16, 9);
        pen.fill();
      });
    },
  };
  return legend;
}

/** Where the pointer is, in the CSS pixels of a node, also where the page is magnified. */
function pointer(event, node) {
  const box = node.getBoundingClientRect(), unit = node.clientWidth / box.width || 1;
  return [(event.clientX - box.left) * unit, (event.clientY - box.top) * unit];
}

/** The nearest of `count` points, at X(i) and Y(i) on a node, within 14 pixels of the pointer; -1 if there is none. */
function pointed(event, node, count, X, Y) {
  const [x, y] = pointer(event, node);
  let near = -1, best = 14 ** 2;
  for (let i = 0; i < count; i++) {
    const far = (X(i) - x) ** 2 + (Y(i) - y) ** 2;
    if (far < best) { best = far; near = i; }
  }
  return near;
}

/** Fill a tip with a picture from a sheet, if there is one, and a name; put it where there is room next to (x, y). */
function showTip(tip, { sheet, item, side, columns, name, x, y, width, height }) {
  const picture = h("canvas", { width: side, height: side });
  if (sheet) picture.getContext("2d").drawImage(sheet, (item % columns) * side, Math.floor(item / columns) * side, side, side, 0, 0, side, side);
  tip.replaceChildren(...(sheet ? [picture] : []), h("span", {}, name));
  const right = x > width / 2;
  tip.style.left = right ? "" : `${x + 12}px`;
  tip.style.right = right ? `${width - x + 12}px` : "";
  tip.style.top = `${y + (y > height / 2 ? -64 : 12)}px`;
}
