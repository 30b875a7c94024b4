// Widgets without a kernel: a model for each saved state, with the part of anywidget's `model` that scripts use.
// The page holds the states in <script type="application/json" id="sst-widgets"> and a <div data-widget="ID"> for each view.
(() => {
  const saved = JSON.parse(document.getElementById("sst-widgets").textContent);
  const models = new Map(), modules = new Map();

  function bytes(base64) {
    const text = atob(base64), view = new DataView(new ArrayBuffer(text.length));
    for (let i = 0; i < text.length; i++) view.setUint8(i, text.charCodeAt(i));
    return view;
  }

  function model(id) {
    if (models.has(id)) return models.get(id);
    const { state, buffers = [] } = saved.models[id], values = { ...state }, listeners = new Map();
    for (const { path, data } of buffers) values[path[0]] = bytes(data);
    const made = {
      get: (name) => values[name],
      set(name, value) {
        if (values[name] === value) return;
        values[name] = value;
        for (const f of [...(listeners.get(`change:${name}`) ?? []), ...(listeners.get("change") ?? [])]) f();
      },
      save_changes() {},
      send() {},
      on(event, f) { listeners.set(event, [...(listeners.get(event) ?? []), f]); },
      off(event, f) { listeners.set(event, f ? (listeners.get(event) ?? []).filter((g) => g !== f) : []); },
    };
    models.set(id, made);
    return made;
  }

  function module(key) {
    if (!modules.has(key)) {
      modules.set(key, import(URL.createObjectURL(new Blob([saved.scripts[key]], { type: "text/javascript" }))));
    }
    return modules.get(key);
  }

  async function show(place) {
    const id = place.dataset.widget;
    try {
      const { default: widget } = await module(saved.models[id].script);
      await widget.render({ model: model(id), el: place });
      place.dataset.ready = "";
    } catch (error) {
      place.textContent = "This figure could not start in your browser: " + error.message;
      console.error(error);
    }
  }

  window.sst = { model, module, ids: Object.keys(saved.models) };
  document.querySelectorAll("[data-widget]").forEach(show);
})();
