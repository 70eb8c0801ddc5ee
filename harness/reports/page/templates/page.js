"use strict";
// All of the page is there without this; it lights up what belongs together, and copies filters.
(() => {
  const named = (id) => document.getElementById(id);
  const panel = named("panel");

  const framesOf = (ranges) => (ranges || "").split(" ").filter(Boolean).flatMap((range) => {
    const [first, last] = range.split("-").map(Number);
    const count = Math.min((last || first) - first + 1, 20000);
    return Array.from({ length: count }, (_, index) => first + index);
  });
  const mark = (frames, kind) => frames.forEach((frame) => {
    const drawn = named(`frame-${frame}`);
    if (drawn) drawn.classList.add(kind);
  });
  const unmark = (...kinds) => kinds.forEach((kind) => {
    document.querySelectorAll(`.segment.${kind}`).forEach((one) => one.classList.remove(kind));
  });

  // -- a segment shows its arithmetic ---------------------------------------------------------------------------------
  const hide = () => {
    unmark("here", "source");
    if (panel) panel.hidden = true;
  };
  const show = (segment) => {
    hide();
    const sum = named(segment.getAttribute("aria-describedby"));
    if (!sum || !panel) return;
    segment.classList.add("here");
    mark(framesOf(sum.dataset.from), "source");
    const copy = sum.cloneNode(true);
    copy.removeAttribute("id");
    panel.replaceChildren(copy);
    panel.hidden = false;
    const at = segment.querySelector(".hit").getBoundingClientRect();
    const room = document.documentElement.clientWidth - panel.offsetWidth - 8;
    const left = Math.max(8, Math.min(at.left + (at.width - panel.offsetWidth) / 2, room));
    panel.style.left = `${left + window.scrollX}px`;
    panel.style.top = `${at.bottom + 6 + window.scrollY}px`;
  };
  document.querySelectorAll("a.segment").forEach((segment) => {
    // The panel says it; a second, slower bubble by the browser would stand in its way.
    const title = segment.querySelector("title");
    segment.setAttribute("aria-label", title.textContent);
    title.remove();
    segment.addEventListener("mouseenter", () => show(segment));
    segment.addEventListener("mouseleave", hide);
    segment.addEventListener("focus", () => show(segment));
    segment.addEventListener("blur", hide);
    segment.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step) return;
      const all = [...document.querySelectorAll("a.segment")];
      const next = all[all.indexOf(segment) + step];
      if (next) {
        event.preventDefault();
        next.focus();
      }
    });
  });

  // -- a check lights up its frames -----------------------------------------------------------------------------------
  document.querySelectorAll("[data-frames]").forEach((check) => {
    const light = () => { unmark("lit"); mark(framesOf(check.dataset.frames), "lit"); };
    check.addEventListener("mouseenter", light);
    check.addEventListener("focusin", light);
    check.addEventListener("mouseleave", () => unmark("lit"));
    check.addEventListener("focusout", () => unmark("lit"));
  });

  // -- filters are copied ---------------------------------------------------------------------------------------------
  document.querySelectorAll("button[data-copied]").forEach((button) => {
    const code = button.parentElement.querySelector("code");
    const word = button.textContent;
    const done = () => {
      button.textContent = button.dataset.copied;
      setTimeout(() => { button.textContent = word; }, 1500);
    };
    const select = () => getSelection().selectAllChildren(code);
    button.hidden = false;
    button.addEventListener("click", () => {
      if (!navigator.clipboard) select();
      else navigator.clipboard.writeText(code.textContent).then(done, select);
    });
  });
})();
