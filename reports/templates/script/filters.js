// The filters above the list.

const form = document.getElementById("filters");
const STATUSES = [
  ...Object.entries(HOW).map(([key, [sign, word]]) => [key, `${sign} ${word}`, (row) => row.how === key]),
  ["gap", "! unscored", (row) => row.gap],
  ["all", "all", () => true],
];

function drawFilters() {
  for (const name of ["suite", "tag", "metric", "gate", "low", "high", "order", "text"]) form.elements[name].value = wanted[name];
  for (const name of ["doubt", "trained"]) form.elements[name].checked = Boolean(wanted[name]);
  const on = new Set(wanted.status.split(","));
  for (const button of document.getElementById("statuses").children)
    button.setAttribute("aria-pressed", on.has(button.dataset.status));
}

function drawFound() {
  const changed = Object.keys(DEFAULTS).some((name) => wanted[name] !== DEFAULTS[name]);
  document.getElementById("found").textContent = `${places.length.toLocaleString("en")} of ${counted(cases.length, "case")}`;
  document.getElementById("clear").hidden = !changed;
}

/** Say how many cases have their texts on this page, if not all of them do. */
function drawHeld() {
  if (!cases.length || body(cases.length - 1)) return;
  const told = document.getElementById("held");
  told.textContent = `This page keeps under 25 MB: it has all scores, and the texts of the first ${texts.length.toLocaleString("en")} of ${counted(cases.length, "case")} in the order of the list, those that broke before all others. The rest stand in cases.jsonl and cells.jsonl of the run folder, and the search does not read them.`;
  told.hidden = false;
}

function set(changes) {
  Object.assign(wanted, changes);
  open = null;
  firstShown = 0;
  drawFilters();
  draw();
}

/** Add or take away one status; none chosen is all. */
function choose(status) {
  const on = new Set(wanted.status.split(",").filter((key) => key !== "all"));
  if (status === "all") on.clear();
  else if (!on.delete(status)) on.add(status);
  set({ status: [...on].join(",") || "all" });
}

function startFilters() {
  const names = (all) => [...new Set(all)];
  const fills = {
    suite: names(cases.map((row) => row.suite)),
    tag: names(cases.flatMap((row) => row.tags)).sort(),
    metric: names(run.metrics.map((metric) => metric.name)),
  };
  for (const [name, values] of Object.entries(fills)) {
    const select = form.elements[name];
    select.append(h("option", { value: "" }, "all"), ...values.map((value) => h("option", { value }, bare(value))));
    select.closest("label").hidden = values.length < 2;
  }
  const against = run.gates.map((gate, at) => [String(at), gate]).filter(([at]) => cases.some((row) => (row.against || []).includes(Number(at))));
  form.elements.gate.append(h("option", { value: "" }, "any"), ...against.map(([at, gate]) => h("option", { value: at }, bare(`${gate.name}: ${gate.words}`))));
  form.elements.gate.closest("label").hidden = !against.length;
  const orders = Object.entries(ORDERS).map(([value, [words]]) => h("option", { value }, words));
  form.elements.order.append(h("option", { value: "" }, "what broke first"), ...orders);
  if (cases.some((row) => row.talk !== undefined)) form.elements.order.append(h("option", { value: "talk" }, "by conversation"));
  form.elements.doubt.closest("label").hidden = !cases.some((row) => row.doubts);
  form.elements.trained.closest("label").hidden = !cases.some((row) => row.trained);
  const counts = STATUSES.map(([key, word, test]) => [key, word, cases.filter(test).length]);
  document.getElementById("statuses").append(...counts.filter(([, , n]) => n).map(([key, word, n]) =>
    h("button", { type: "button", "data-status": key, click: () => choose(key) }, word, " ", h("b", null, n.toLocaleString("en")))));
  form.addEventListener("input", (event) => {
    const field = event.target;
    const changes = { [field.name]: field.type === "checkbox" ? (field.checked ? "1" : "") : field.value };
    // A case below a floor may be as bad with base: all of them are listed.
    if (field.name === "gate" && field.value) changes.status = "all";
    set(changes);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("clear").addEventListener("click", () => set({ ...DEFAULTS }));
}
