// The keyboard: one letter an act, none while somebody types.

const help = document.getElementById("help");
const search = form.elements.text;

const KEYS = {
  n: () => step(1, true),
  p: () => step(-1, true),
  j: () => step(1, false),
  k: () => step(-1, false),
  t: () => change("t"),
  d: () => change("d"),
  s: () => change("s"),
  b: () => change("b"),
  m: () => open && review(open),
  "/": () => search.focus(),
  "?": () => help.showModal(),
  Escape: close,
};

/** Close the open case; with none open, clear the filters. */
function close() {
  const row = open && document.getElementById(open);
  if (!row) return set({ ...DEFAULTS });
  row.open = false;
  row.querySelector("summary").focus();
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  if (event.target.matches("input:not([type=checkbox]), select, textarea")) {
    if (event.key !== "Escape") return;
    if (event.target === search && search.value) set({ text: "" });
    event.target.blur();
    return;
  }
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}
