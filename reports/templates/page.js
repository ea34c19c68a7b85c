"use strict";
// Draws nothing: the page is complete without it. Adds the keyboard and the filter.
(() => {
  const list = document.getElementById("regression-list");
  const rows = list ? [...list.children] : [];
  const help = document.getElementById("help");
  const helpButton = document.querySelector("[data-help]");
  const filter = document.getElementById("filter");
  const found = document.getElementById("found");
  let opened = null; // the row that n or p opened, closed again when they move on

  const seen = () => rows.filter((row) => !row.hidden);

  function show(row) {
    if (opened && opened !== row) opened.open = false;
    opened = row;
    row.open = true;
    row.querySelector("summary").focus({ preventScroll: true });
    row.scrollIntoView({ block: "start" });
  }

  function current(shown) {
    const focused = document.activeElement && document.activeElement.closest("details.case");
    const at = shown.indexOf(focused);
    return at >= 0 ? at : shown.indexOf(opened);
  }

  function move(step) {
    const shown = seen();
    if (!shown.length) return;
    const at = current(shown);
    const next = at < 0 ? (step > 0 ? 0 : shown.length - 1) : at + step;
    if (next >= 0 && next < shown.length) show(shown[next]);
  }

  function apply() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      row.words ??= row.textContent.toLowerCase();
      row.hidden = !words.every((word) => row.words.includes(word));
    }
    found.textContent = words.length ? `${seen().length} of ${rows.length}` : "";
  }

  function open(hash) {
    const row = hash.startsWith("#c-") && document.getElementById(hash.slice(1));
    if (!row) return;
    for (let at = row; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    row.scrollIntoView({ block: "start" });
  }

  const keys = {
    n: () => move(1),
    p: () => move(-1),
    "/": () => filter && filter.focus(),
    "?": () => help.showModal(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if (event.target === filter) {
      if (event.key === "Escape") {
        filter.value = "";
        apply();
        filter.blur();
      }
      return;
    }
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  if (filter) {
    filter.closest("p").hidden = false;
    filter.addEventListener("input", apply);
  }
  helpButton.hidden = false;
  helpButton.addEventListener("click", () => help.showModal());
  addEventListener("hashchange", () => open(location.hash));
  open(location.hash);
})();
