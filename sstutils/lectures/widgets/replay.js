// Training replay. `between` has its twin in replay.py (`positions`), `sentence` in the tests.

/** The value at a frame of values over frames (each a list of numbers); halves lie on a straight line, ends are held. */
function between(frames, frame, out = []) {
  const at = Math.min(Math.max(frame, 0), frames.length - 1), low = Math.floor(at);
  const a = frames[low], b = frames[Math.min(low + 1, frames.length - 1)], t = at - low;
  for (let i = 0; i < a.length; i++) out[i] = a[i] + (b[i] - a[i]) * t;
  return out;
}

/** The words for a run at a frame: values as measured at the last whole frame. */
function sentence(run, frame) {
  const i = Math.min(Math.floor(Math.max(frame, 0) + 1e-6), run.epoch.length - 1), loss = run.loss[i];
  return `Epoch ${run.epoch[i].toFixed(1)}: Recall@1 ${run.recall[i].toFixed(2)}, ` +
    `${loss === null ? "not trained yet" : `loss ${loss.toFixed(3)}`}, spread ${run.spread[i].toFixed(2)}, ` +
    `${(100 * run.shown[i]).toFixed(0)} % of the variance in view`;
}

const RATIO = 0.82; // of a map's height and its width
const RATE = 4; // frames a second at speed 1
const SIDE = 32, COLUMNS = 16; // of the sheet of pictures

/** A small chart of curves with a cursor, redrawn by `draw` for each width; `cursor` only moves the marks. */
function curves(parent, label, onPick) {
  const node = s("svg", { role: "img", "aria-label": label, style: "touch-action:pan-y;cursor:col-resize" });
  parent.append(node);
  let place = null, dots = [], line = null;
  const pick = (event) => {
    if (!place || (event.type === "pointermove" && !event.buttons)) return;
    const box = node.getBoundingClientRect();
    onPick((((event.clientX - box.left) / box.width) * place.width - place.left) / place.wide * place.most);
  };
  node.addEventListener("pointerdown", pick);
  node.addEventListener("pointermove", pick);
  return {
    node,
    draw({ width, height, title, series, most, top, ticks }) {
      const left = 34, right = 10, up = 22, wide = width - left - right, high = height - up - 20;
      const x = (value) => left + (value / most) * wide, y = (value) => up + high * (1 - value / top);
      place = { x, y, left, wide, most, width };
      node.setAttribute("viewBox", `0 0 ${width} ${height}`);
      node.setAttribute("width", width);
      node.setAttribute("height", height);
      const parts = [s("text", { x: 0, y: 13 }, title)];
      for (const value of ticks) {
        parts.push(s("line", { x1: left, x2: width - right, y1: y(value), y2: y(value), stroke: "var(--sst-line)" }),
          s("text", { x: left - 5, y: y(value) + 4, "text-anchor": "end", class: "sst-faint" }, String(value)));
      }
      for (const value of [0, most / 2, most]) {
        parts.push(s("text", { x: x(value), y: height - 4, "text-anchor": value === most ? "end" : "middle", class: "sst-faint" },
          value === most && wide > 100 ? `epoch ${value}` : String(Math.round(value * 10) / 10)));
      }
      line = s("line", { y1: up, y2: up + high, stroke: "var(--sst-faint)", "stroke-width": 1 });
      parts.push(line);
      dots = [];
      for (const { epochs, values, hue, dash, local } of series) {
        if (local > 0) parts.push(s("line", { x1: x(local), x2: x(local), y1: up, y2: up + high,
          stroke: "var(--sst-faint)", "stroke-dasharray": "2 3" }));
        const d = values.map((value, i) => value === null ? "" : `${x(epochs[i]).toFixed(1)},${y(value).toFixed(1)}`);
        parts.push(s("polyline", { points: d.filter(Boolean).join(" "), fill: "none", stroke: `var(--sst-${hue})`,
          "stroke-width": 2, "stroke-dasharray": dash ? "6 4" : null }));
        dots.push(s("circle", { r: 4.5, fill: `var(--sst-${hue})`, stroke: "var(--sst-paper)", "stroke-width": 1.5 }));
      }
      node.replaceChildren(...parts, ...dots);
    },
    cursor(points) { // of each series [epoch, value]
      if (!place || points.length !== dots.length) return;
      const end = Math.max(...points.map(([epoch]) => epoch));
      line.setAttribute("x1", place.x(end));
      line.setAttribute("x2", place.x(end));
      points.forEach(([epoch, value], i) => {
        dots[i].setAttribute("visibility", value === null ? "hidden" : "visible");
        dots[i].setAttribute("cx", place.x(epoch));
        dots[i].setAttribute("cy", place.y(value ?? 0));
      });
    },
  };
}

/** The place of an epoch, as a frame, in a run. */
function frameAt(run, epoch) {
  let best = 0;
  run.epoch.forEach((value, i) => { if (Math.abs(value - epoch) < Math.abs(run.epoch[best] - epoch)) best = i; });
  return best;
}

function render({ model, el }) {
  const { root, body, say } = stage(el, model,
    "Letters that the network is never trained on, in the plane in which their embedding varies most. Every frame is " +
    "rotated to match the one before and scaled to one size; “spread” says how far apart the embeddings really are, and “true scale” shows it.");
  const empty = h("p", { class: "sst-about" });
  const main = h("div", { class: "sst-replay" });
  body.append(empty, main);

  // -- state
  let all = [], runs = [], last = 0, reach = 1, widest = 1, labels = [], classes = [], hovered = -1, sheet = null;
  let position = model.get("frame"), sent = position, moving = 0, before = 0, spoken = -1, palette = {}, sheetOf = null, named = null;

  // -- controls
  const controls = h("div", { class: "sst-controls" });
  main.append(controls);
  const play = button(controls, "Play", () => toggle(), { class: "sst-button sst-play" });
  button(controls, "Restart", () => go(0));
  const back = button(controls, "◂ Back", () => go(Math.ceil(position - 1e-6) - 1));
  const forth = button(controls, "Step ▸", () => go(Math.floor(position + 1e-6) + 1));
  const speed = choice(controls, { label: "Speed", value: model.get("speed"),
    options: [[0.5, "½×"], [1, "1×"], [2, "2×"], [4, "4×"]], onChange: (x) => put(model, { speed: x }) });
  const scaled = checkbox(controls, { label: "True scale", value: model.get("true_scale"), onChange: (on) => {
    put(model, { true_scale: on });
    say(on ? `${width()}.` : "Every frame is scaled to one size.");
  } });
  const scrub = slider(main, { label: "Epoch", min: 0, max: 1, step: 1, value: 0,
    format: (i) => (runs.length ? longest().epoch[Math.min(i, last)].toFixed(1) : ""), onInput: (i) => go(i) });
  scrub.input.parentNode.classList.add("sst-wide");
  const calm = h("p", { class: "sst-about" },
    "Your system asks for less motion: step with Back and Step, or move the slider.");
  const unit = h("p", { class: "sst-about" });
  main.append(calm, unit);

  // -- two panels, and what both share
  const pair = h("div", { class: "sst-pair" });
  main.append(pair);
  const panels = [0, 1].map((side) => {
    const id = unique();
    const pick = h("select", { id, change: () => choose(side, pick.value) });
    const plane = h("div", { class: "sst-plane" }), paper = canvas(plane, 160, 147, { tabindex: "-1" }), { node } = paper;
    const tip = h("div", { class: "sst-tip", hidden: true });
    plane.append(tip);
    const text = h("p", { class: "sst-values" }), facts = h("div", {}, text);
    const box = h("div", { class: "sst-panel" },
      h("div", { class: "sst-control" }, h("label", { for: id, class: "sst-hidden" }, side ? "Right run" : "Left run"), pick),
      plane, facts);
    pair.append(box);
    const panel = { side, box, pick, paper, node, tip, text, facts, at: [], run: null };
    panel.loss = curves(facts, "Loss", (epoch) => panel.run && go(frameAt(panel.run, epoch)));
    node.addEventListener("pointermove", (event) => point(panel, event));
    node.addEventListener("pointerdown", (event) => point(panel, event));
    node.addEventListener("pointerleave", () => hover(-1));
    return panel;
  });
  const recall = curves(main, "Recall@1", (epoch) => runs.length && go(frameAt(longest(), epoch)));
  const key = h("p", { class: "sst-key" });
  const note = h("p", { class: "sst-about" });
  const under = h("div", { class: "sst-under" }, recall.node, key, note);
  main.append(h("p", { class: "sst-values" }, "Letters (click one to see it alone):"));
  const legend = classLegend(main, "Letters: show one", () => show(), say);

  // -- data
  const longest = () => runs.reduce((a, b) => (b.epoch.length > a.epoch.length ? b : a));

  function load() {
    const curvesNow = model.get("curves") ?? [], view = model.get("points");
    labels = model.get("labels") ?? [];
    classes = model.get("classes") ?? [];
    // While a network trains, who looks at the newest frame sees the next one too; who looks back is left in peace.
    const newest = all.length ? position >= last - 1e-6 && model.get("live") : model.get("live");
    const step = labels.length * 2;
    const count = curvesNow.reduce((sum, run) => sum + run.epoch.length, 0);
    const fits = view && step && count && view.byteLength === 2 * step * count;
    empty.hidden = Boolean(fits);
    main.hidden = !fits;
    if (!fits) {
      all = runs = [];
      empty.textContent = count || view?.byteLength ? "The frames of this replay do not fit together: record them again."
        : "No frames yet. They appear here as a network trains, or when a recording is opened.";
      return;
    }
    const points = numbers(view, Int16Array), scale = model.get("scale");
    let from = 0;
    reach = Math.max(points.map(Math.abs).sort()[Math.floor(0.997 * points.length)] * scale * 1.08, 1e-9); // the rest: at the edge
    all = curvesNow.map((run) => {
      const frames = run.epoch.map((_, i) => points.subarray((from + i) * step, (from + i + 1) * step));
      from += run.epoch.length;
      return { ...run, frames, scale };
    });
    select(newest);
    const bytes = model.get("sprite");
    if (bytes?.byteLength && bytes !== sheetOf) {
      sheetOf = bytes;
      decode(bytes, (image) => { sheet = image; });
    }
    if (named !== classes.join("\n")) legend.list(classes);
    named = classes.join("\n");
    layout();
  }

  /** Take the runs that are to be shown, and go on to the newest frame if asked to. */
  function select(newest = false) {
    const wanted = model.get("runs") ?? [];
    runs = wanted.map((name) => all.find((run) => run.name === name)).filter(Boolean).slice(0, 2);
    if (!runs.length) runs = all.slice(0, 2);
    last = longest().epoch.length - 1;
    if (newest && !model.get("playing")) { position = last; sent = last; put(model, { frame: last }); }
    position = Math.min(position, last);
    scrub.input.max = last;
    panels.forEach((panel, side) => {
      panel.run = runs[side] ?? null;
      const names = [...all.map((run) => [run.name, run.name]), ...(side ? [["", "(one run only)"]] : [])];
      panel.pick.replaceChildren(...names.map(([value, text]) => h("option", { value }, text)));
      panel.pick.value = panel.run?.name ?? "";
      panel.pick.parentNode.hidden = all.length < 2;
    });
    // One run alone has its map on the left and all else, on one axis of epochs, on the right.
    const one = runs.length < 2, [first, second] = panels;
    pair.classList.toggle("sst-one", one);
    if (one) first.facts.append(under);
    else pair.after(under);
    (one ? first.box : second.box).prepend(second.pick.parentNode);
    first.box.prepend(first.pick.parentNode);
    second.box.hidden = one;
  }

  function choose(side, name) {
    const names = [runs[0].name, runs[1]?.name];
    names[side] = name || undefined;
    put(model, { runs: names.filter(Boolean) });
    select();
    layout();
    say(`${side ? "Right" : "Left"}: ${name || "no run"}.`);
  }

  /** Fit everything to the width there is, and draw it. */
  function layout() {
    if (!runs.length) return;
    palette = colours(root, HUES);
    const most = Math.max(...runs.map((run) => run.epochs));
    for (const panel of panels) {
      if (!panel.run) continue;
      const width = Math.floor(panel.node.parentNode.clientWidth) || 160, run = panel.run;
      panel.paper.resize(width, Math.round(width * RATIO));
      const top = nice(Math.max(...run.loss.filter((x) => x !== null), 1e-9));
      panel.loss.draw({ width: Math.floor(panel.facts.clientWidth) || 160, height: 104, title: "loss", most, top, ticks: [0, top],
        series: [{ epochs: run.epoch, values: run.loss, hue: panel.side ? "vermilion" : "blue", dash: panel.side, local: run.local }] });
    }
    recall.draw({ width: Math.floor(under.clientWidth) || 320, height: 150, title: "Recall@1 among these images", most, top: 1,
      ticks: [0, 0.5, 1], series: runs.map((run, i) => ({ epochs: run.epoch, values: run.recall,
        hue: i ? "vermilion" : "blue", dash: i, local: run.local })) });
    key.replaceChildren(...runs.map((run, i) => h("span", {},
      s("svg", { width: 30, height: 10, "aria-hidden": "true" }, s("line", { x1: 0, x2: 30, y1: 5, y2: 5, "stroke-width": 2,
        stroke: `var(--sst-${i ? "vermilion" : "blue"})`, "stroke-dasharray": i ? "6 4" : null })), run.name)));
    const begins = [...new Set(runs.map((run) => run.local).filter((x) => x > 0))];
    widest = Math.max(1e-12, ...runs.flatMap((run) => run.epoch.map((_, i) => extent(run, i))));
    note.textContent = (begins.length ? `Dotted line: local batches begin at epoch ${begins.join(", ")}; before that they are class-balanced. ` : "") +
      "Each loss has its own axis: different losses, or losses on batches chosen differently, cannot be compared. Recall@1 can.";
    legend.paint(palette);
    spoken = -1;
    show();
  }

  /** Draw the present frame; what costs more than pixels only when a whole frame is reached. */
  function show() {
    if (!runs.length) return;
    const frame = still.matches ? Math.round(position) : position, whole = Math.floor(frame + 1e-6);
    scaled.set(model.get("true_scale"));
    unit.textContent = `${width()}.`;
    unit.hidden = !model.get("true_scale");
    for (const panel of panels) if (panel.run) scatter(panel, frame);
    const points = runs.map((run) => ["epoch", "recall", "loss"].map((name) => value(run[name], frame)));
    recall.cursor(points.map(([epoch, hits]) => [epoch, hits]));
    points.forEach(([epoch, , loss], i) => panels[i].loss.cursor([[epoch, loss]]));
    if (whole === spoken) return;
    spoken = whole;
    scrub.set(whole);
    runs.forEach((run, i) => {
      panels[i].text.textContent = sentence(run, whole);
      panels[i].node.setAttribute("aria-label", `${run.name}: ${labels.length} images of ${classes.length} letters. ${sentence(run, whole)}.`);
    });
    back.disabled = whole <= 0 && frame <= 0;
    forth.disabled = whole >= last;
  }

  function value(values, frame) {
    const i = Math.min(Math.floor(frame), values.length - 1), next = values[Math.min(i + 1, values.length - 1)];
    return values[i] === null || next === null ? values[i] ?? (frame > i ? next : null)
      : values[i] + (next - values[i]) * Math.min(1, Math.max(0, frame - i));
  }

  /** How far the points of a frame reach in its plane: the spread that is in view. */
  const extent = (run, frame) => (value(run.spread, frame) ?? 0) * Math.sqrt(value(run.shown, frame) ?? 0);
  const width = () => `True scale: in all frames the window is ${tidy((2 * reach * widest) / RATIO, 1)} units wide`;

  function scatter(panel, frame) {
    const { paper, run, at } = panel, { width, height } = paper;
    between(run.frames, frame, at);
    const size = model.get("true_scale") ? extent(run, frame) / widest : 1;
    const zoom = (Math.min(width, height) / 2 / reach) * run.scale * size, r = Math.max(2.2, Math.min(4.4, width / 95));
    for (let i = 0; i < at.length; i += 2) {
      at[i] = Math.min(Math.max(width / 2 + zoom * at[i], r), width - r);
      at[i + 1] = Math.min(Math.max(height / 2 - zoom * at[i + 1], r), height - r);
    }
    drawClasses(paper, { labels, classes, X: (i) => at[2 * i], Y: (i) => at[2 * i + 1], r, palette, only: legend.only(), ringed: hovered });
  }

  // -- which letter
  function point(panel, event) {
    hover(pointed(event, panel.node, labels.length, (i) => panel.at[2 * i], (i) => panel.at[2 * i + 1]));
  }
  function hover(image) {
    if (image === hovered) return;
    hovered = image;
    show();
    for (const panel of panels) {
      panel.tip.hidden = image < 0 || !panel.run;
      if (panel.tip.hidden) continue;
      const [x, y] = panel.at.slice(2 * image, 2 * image + 2);
      showTip(panel.tip, { sheet, item: image, side: SIDE, columns: COLUMNS, name: classes[labels[image]],
        x, y, width: panel.paper.width, height: panel.paper.height });
    }
  }

  // -- time
  function go(frame) {
    if (!runs.length) return;
    position = Math.min(Math.max(frame, 0), last);
    sent = position;
    put(model, { frame: position });
    show();
    if (!moving) say(told());
  }
  function told() {
    const i = (run) => Math.min(Math.floor(position + 1e-6), run.epoch.length - 1);
    return `Epoch ${longest().epoch[i(longest())].toFixed(1)}. ` +
      `Recall@1: ${runs.map((run) => `${run.name} ${run.recall[i(run)].toFixed(2)}`).join("; ")}.`;
  }
  function toggle(on = !model.get("playing")) {
    if (still.matches || !runs.length) on = false;
    if (on && position >= last - 1e-6) position = 0;
    put(model, { playing: on });
    move();
    if (on) say("Playing.");
    else go(position);
  }
  function move() {
    const on = Boolean(model.get("playing")) && !still.matches && runs.length > 0;
    play.textContent = on ? "Pause" : "Play";
    play.disabled = still.matches;
    calm.hidden = !still.matches;
    if (on && !moving) { before = performance.now(); moving = requestAnimationFrame(tick); }
    if (!on) { cancelAnimationFrame(moving); moving = 0; }
  }
  function tick(now) {
    const passed = Math.min(100, Math.max(0, now - before)) / 1000;
    before = now;
    position = Math.min(last, position + passed * RATE * (Number(model.get("speed")) || 1));
    const whole = Math.floor(position + 1e-6);
    if (whole !== sent) { sent = whole; put(model, { frame: whole }); }
    show();
    if (hovered >= 0) hover(-1);
    if (position < last) moving = requestAnimationFrame(tick);
    else { moving = 0; toggle(false); }
  }
  function outside() {
    const frame = Number(model.get("frame")) || 0;
    if (frame !== sent) { position = Math.min(Math.max(frame, 0), last); sent = frame; show(); }
    speed.set(model.get("speed"));
    move();
  }

  root.addEventListener("keydown", (event) => {
    const native = event.target.matches("select, input[type=radio]");
    if (event.key === " " && !native && !event.target.matches("button")) toggle();
    else if (native || event.target.matches("input")) return;
    else if (event.key === "ArrowLeft" || event.key === "ArrowDown") back.click();
    else if (event.key === "ArrowRight" || event.key === "ArrowUp") forth.click();
    else if (event.key === "Home") go(0);
    else if (event.key === "End") go(last);
    else return;
    event.preventDefault();
  });

  load();
  outside();
  const resized = new ResizeObserver(() => { if (runs.length && Math.floor(panels[0].node.parentNode.clientWidth) !== panels[0].paper.width) layout(); });
  resized.observe(main);
  const calmer = () => { move(); show(); };
  still.addEventListener("change", calmer);
  const ends = [follow(model, ["curves", "points", "labels", "classes", "sprite"], load),
    follow(model, ["runs"], () => { if (all.length) { select(); layout(); } }),
    follow(model, ["frame", "playing", "speed"], outside), follow(model, ["true_scale"], show), onTheme(layout)];
  return () => {
    cancelAnimationFrame(moving);
    resized.disconnect();
    still.removeEventListener("change", calmer);
    ends.forEach((end) => end());
  };
}

/** The next of 1, 2, 5, 10, ... times a power of ten that is not below a value. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return Number(([1, 2, 5, 10].find((x) => x * power >= value * 0.999) * power).toPrecision(3));
}

export { between, sentence };
export default { render };
