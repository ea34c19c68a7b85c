// What the reviewer did: cases seen, notes, and in blind mode which completion is better.
// It stays in this browser until it is saved as a file.

const KEY = `tunegate:${run.run}`;
const marks = storedMarks();

function storedMarks() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) || {};
  } catch {
    return {}; // no storage here, or not ours: marks last as long as the page is open
  }
}

function keep(anchor, changes) {
  const now = { ...marks[anchor], ...changes };
  for (const [name, value] of Object.entries(now)) if (!value) delete now[name];
  if (Object.keys(now).length) marks[anchor] = now;
  else delete marks[anchor];
  try {
    localStorage.setItem(KEY, JSON.stringify(marks));
  } catch {
    // see above
  }
  drawMarks();
}

function review(anchor) {
  keep(anchor, { reviewed: marks[anchor]?.reviewed ? "" : new Date().toISOString() });
  const flag = document.querySelector(`#${anchor} .flag`);
  flag?.querySelector(".seen")?.remove();
  if (marks[anchor]?.reviewed) flag?.prepend(mark(anchor));
  redraw();
}

const mark = (anchor) => marks[anchor]?.reviewed && h("span", { class: "seen", title: "reviewed" }, "● ");

function notes(row) {
  return h("label", { class: "note" }, h("span", { class: "label" }, "Note"),
    h("textarea", { rows: 2, placeholder: "What a colleague should know of this case",
      input: (event) => keep(row.at, { note: event.target.value }) }, marks[row.at]?.note || ""));
}

/** Let the reader collect cases, to be saved as lines of a suite's cases.jsonl. */
function keeping(row, text) {
  if (!text.line)
    return h("p", { class: "hint" }, "Too long to be saved from here: cases.jsonl of the run folder has the case.");
  const on = Boolean(marks[row.at]?.line);
  return h("p", null, h("button", { type: "button", class: "keep", "aria-pressed": String(on),
    click: () => { keep(row.at, { line: on ? "" : bare(text.line) }); redraw(); } }, "Keep as a case of a suite"));
}

function saveCases() {
  save("cases.jsonl", "application/jsonl", cases.map((row) => marks[row.at]?.line).filter(Boolean).map((line) => `${line}\n`).join(""));
}

/** In blind mode, ask which completion is better; the arm behind the letter is what is kept. */
function preference(row) {
  if (!blind) return null;
  const [[first], [second]] = sidesOf(row);
  const asked = [["A is better", first], ["No difference", "tie"], ["B is better", second]];
  return h("div", { class: "prefer", role: "group", "aria-label": "Which completion is better" },
    asked.map(([words, arm]) =>
      h("button", { type: "button", "aria-pressed": String(marks[row.at]?.better === arm),
        click: () => { keep(row.at, { better: arm }); redraw(); } }, words)));
}

function drawMarks() {
  const all = Object.entries(marks).filter(([anchor]) => placeOf.has(anchor));
  const seen = all.filter(([, own]) => own.reviewed).length;
  const better = (arm) => all.filter(([, own]) => own.better === arm).length;
  const kept = all.filter(([, own]) => own.line).length;
  const judged = all.filter(([, own]) => own.better).length;
  document.getElementById("marks").replaceChildren(...[
    h("span", { class: "hint" }, seen ? `${seen.toLocaleString("en")} reviewed` : "nothing reviewed yet",
      judged && !blind ? ` · judged blind: tuned better ${better("tuned")}, base better ${better("base")}, no difference ${better("tie")}` : ""),
    all.length && h("button", { type: "button", id: "save-review", click: saveReview }, "Save review"),
    kept && h("button", { type: "button", id: "save-cases", click: saveCases }, `Save ${counted(kept, "case")} as cases.jsonl`),
  ].filter(Boolean));
}

function saveReview() {
  const rows = cases.filter((row) => marks[row.at]).map((row) =>
    ({ suite: bare(row.suite), case: bare(row.id), ...marks[row.at], line: undefined }));
  save("review.json", "application/json", JSON.stringify({ schema_version: 1, run_id: bare(run.run), verdict: run.verdict, cases: rows }, null, 2));
}
