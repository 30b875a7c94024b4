// Behaviour of a page: the theme, the contents next to a wide page, boxes that scroll by the keyboard.
(() => {
  const root = document.documentElement, system = matchMedia("(prefers-color-scheme: dark)");
  const button = document.querySelector(".theme");
  const dark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const name = () => {
    button.textContent = dark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${dark() ? "light" : "dark"} mode`);
  };
  if (button) {
    button.hidden = false;
    name();
    system.addEventListener("change", name);
    button.addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      try { localStorage.setItem("sst-theme", root.dataset.theme); } catch { /* not kept, then */ }
      name();
    });
  }

  const contents = document.querySelector(".contents details"), wide = matchMedia("(min-width: 88rem)");
  if (contents) {
    const fit = () => { contents.open = wide.matches; };
    fit();
    wide.addEventListener("change", fit);
    const links = [...contents.querySelectorAll("a")];
    const headings = links.map((link) => document.getElementById(link.hash.slice(1)));
    const mark = () => {
      const seen = headings.filter((heading) => heading.getBoundingClientRect().top < innerHeight / 3).length;
      links.forEach((link, i) => {
        if (i === seen - 1) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      });
    };
    addEventListener("scroll", () => requestAnimationFrame(mark), { passive: true });
    mark();
  }

  // A box that scrolls must be reachable by the keyboard.
  const watch = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.scrollWidth > target.clientWidth + 1) {
        target.tabIndex = 0;
        if (!target.hasAttribute("role")) target.setAttribute("role", "group");
        target.setAttribute("aria-label", target.matches("pre") ? "code or text, scrolls horizontally" : "scrolls horizontally");
      } else target.removeAttribute("tabindex");
    }
  });
  document.querySelectorAll("pre, .scroll, .display").forEach((box) => watch.observe(box));
  // on paper nothing can be opened
  addEventListener("beforeprint", () => document.querySelectorAll("details.folded").forEach((box) => { box.open = true; }));
})();
