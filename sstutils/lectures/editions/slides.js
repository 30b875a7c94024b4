// Starts the deck, and makes each slide fit the screen: smaller letters first, as small as can still be read from the
// last row; what is still too long scrolls by the wheel, a finger or the up and down keys, and says so.
(() => {
  const SMALLEST = 0.7, SCROLLS = 0.85;
  const slides = [...document.querySelectorAll(".slides > section")];
  document.querySelectorAll(".sst-place").forEach((place) => place.setAttribute("data-prevent-swipe", ""));

  // Widgets are laid out in pixels: they grow with the letters of the slide.
  const magnify = () => document.documentElement.style.setProperty("--zoom", parseFloat(getComputedStyle(document.documentElement).fontSize) / 18);

  function fit(slide) {
    if (!slide || !slide.clientHeight) return;
    magnify();
    const page = slide.querySelector(".page"), room = () => slide.clientHeight;
    // fragments that are still hidden take their room, so that nothing jumps
    let size = 1;
    slide.style.setProperty("--fit", size);
    while (page.scrollHeight > room() && size > SMALLEST) {
      size = Math.max(SMALLEST, size - 0.06);
      slide.style.setProperty("--fit", size);
    }
    const long = page.scrollHeight > room() + 1;
    if (long) slide.style.setProperty("--fit", SCROLLS);
    slide.classList.toggle("long", long);
    if (long) {
      slide.tabIndex = 0;
      slide.setAttribute("aria-label", "A long slide: scroll it with the up and down arrow keys");
    } else {
      slide.removeAttribute("tabindex");
      slide.removeAttribute("aria-label");
    }
    atEnd(slide);
  }
  const atEnd = (slide) => {
    slide.classList.toggle("at-end", slide.scrollTop + slide.clientHeight >= slide.scrollHeight - 4);
  };

  const scroll = (way) => () => {
    const slide = Reveal.getCurrentSlide();
    slide.scrollBy({ top: way * slide.clientHeight * 0.6 });
  };
  Reveal.initialize({
    plugins: [RevealNotes],
    disableLayout: true, // the type is in units of the screen, so nothing is scaled and widgets keep their pointers
    display: "flex",
    hash: true,
    slideNumber: "c/t",
    transition: "none",
    controlsTutorial: false,
    keyboard: { 38: scroll(-1), 40: scroll(1) },
    keyboardCondition: (event) => !event.target?.closest?.("input, select, textarea, [contenteditable]"),
  }).then(() => {
    const now = () => fit(Reveal.getCurrentSlide());
    now();
    Reveal.on("slidechanged", now);
    addEventListener("resize", now);
    document.fonts.ready.then(now);
    const watch = new ResizeObserver(now); // a widget that drew itself, code that was opened
    slides.forEach((slide) => {
      watch.observe(slide.querySelector(".page"));
      slide.addEventListener("scroll", () => atEnd(slide), { passive: true });
    });
    document.documentElement.dataset.ready = "";
  });
  window.sstFit = fit;
})();
