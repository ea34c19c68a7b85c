// This run next to others of its suites, read from the pages that the reader chooses.

const others = []; // what the chosen pages hold
const SHOWN_CASES = ROWS;
let ranked = 0; // the metric by which cases are listed

const caseKey = (row) => `${row.suite}\n${row.id}`;
const identity = (one) => JSON.stringify([one.run, one.about]); // folders of CI share one name
const gateKey = (gate) => `${gate.suite}\n${gate.subject}\n${gate.kind}\n${gate.rule}`;
const metricKey = (metric) => `${metric.suite}\n${metric.name}`;

/** Return what a run's page holds; nothing of it is run, for a parsed document has no scripts. */
function readPage(text) {
  const page = new DOMParser().parseFromString(text, "text/html");
  const block = (id) => JSON.parse(page.getElementById(id).textContent);
  const found = block("index");
  const places = new Map(found.cases.map((row, at) => [caseKey(row), at]));
  if (!found.about.gates || !found.about.suites) throw new TypeError("a page of another form");
  return { ...found, places, texts: block("texts") };
}

async function addPages(files) {
  const problems = [];
  for (const file of files) {
    try {
      const other = readPage(await file.text());
      if ([run, ...others].some((one) => identity(one) === identity(other))) problems.push(`${file.name}: run ${bare(other.run)} is here already`);
      else others.push(other);
    } catch {
      problems.push(`${file.name}: not the page of a run; choose a report.html, or make it again with tunegate report RUN`);
    }
  }
  document.getElementById("picked").textContent = problems.join("; ");
  drawRuns();
}

function drawRuns() {
  const all = [run, ...others];
  const names = () => all.map((one, at) => [
    h("b", null, shown(one.about.tuned)), " ",
    h("span", { class: "hint" }, shown(one.run), at ? "" : ", this run")]);
  document.getElementById("next-to").replaceChildren(...(others.length ? [
    ...others.flatMap(differences).map((text) => h("p", { class: "notice" }, text)),
    gatesOf(all, names), casesOf(all, names),
    h("p", null, others.map((one, at) => [h("button", { type: "button", click: () => { others.splice(at, 1); drawRuns(); } }, "Remove ", shown(one.run)), " "]))] : []));
  labelCells(document.getElementById("next-to"));
  document.getElementById("compare-command").textContent =
    `tunegate compare ${bare(run.about.folder)} ${others.map((one) => bare(one.about.folder)).join(" ") || "OTHER_RUN"}`;
  redraw();
}

/** Return why numbers of another run are not those of the same questions. */
function differences(other) {
  const found = [];
  for (const [suite, hash] of Object.entries(run.about.suites)) {
    const there = other.about.suites[suite];
    if (there === undefined) found.push([shown(other.run), " has no suite ", shown(suite), "."]);
    else if (there !== hash) found.push([shown(other.run), " has other cases or another definition of ", shown(suite), ": its numbers answer other questions."]);
  }
  if (other.about.base !== run.about.base) found.push([shown(other.run), " has another base: differences do not start from the same answers."]);
  return found;
}

/** Return the table of verdicts and gates, a column for each run. */
function gatesOf(all, names) {
  const rules = new Map(all.flatMap((one) => one.about.gates.map((gate) => [gateKey(gate), gate])));
  const face = ({ sign, word, tone }) => h("span", { class: `chip tone-${/^\w+$/.test(tone) ? tone : "calm"}` }, h("span", { "aria-hidden": "true" }, shown(sign)), " ", shown(word));
  const cell = (gate) => gate ? [face(gate), h("span", { class: "block" }, h("b", null, shown(gate.levels))),
    h("span", { class: "hint block" }, shown(gate.found))] : "–";
  return table("Gates of these runs: base → tuned, and the interval that each gate tests",
    ["Gate", ...names()],
    [["Verdict", ...all.map((one) => face(one.about.face))],
      ...[...rules].map(([key, gate]) => [
        [h("span", { class: "metric" }, shown(gate.subject)), h("span", { class: "hint block" }, shown(`${gate.suite} · ${gate.kind}: ${gate.rule}`))],
        ...all.map((one) => cell(one.about.gates.find((found) => gateKey(found) === key)))])]);
}

/** Return tuned's score of a case in one of the runs; null where it has none. */
function scoreIn(one, key, metric) {
  const places = one === run ? ownPlaces : one.places;
  const row = one.cases[places.get(key)];
  const name = metricKey(metric);
  const score = row?.scores.find((found) => metricKey(one.metrics[found[0]] || {}) === name);
  return score ? score[2] : null;
}

const ownPlaces = new Map(cases.map((row, at) => [caseKey(row), at]));

/** Return the cases that the fine-tunes answer most differently, by one metric. */
function casesOf(all, names) {
  const metric = run.metrics[ranked];
  if (!metric) return null;
  const rows = cases.filter((row) => row.suite === metric.suite).map((row) => ({ row, values: all.map((one) => scoreIn(one, caseKey(row), metric)) }));
  const shared = rows.filter(({ values }) => values.every((value) => value !== null));
  const spread = ({ values }) => Math.max(...values) - Math.min(...values);
  const apart = shared.filter((one) => spread(one) > 0).sort((a, b) => spread(b) - spread(a));
  const choose = h("select", { input: (event) => { ranked = Number(event.target.value); drawRuns(); } },
    run.metrics.map((one, at) => h("option", { value: at, selected: at === ranked }, bare(`${one.suite}: ${one.name}`))));
  return h("div", null,
    h("p", { class: "downloads" }, h("label", null, "Cases by ", choose),
      h("span", { class: "hint" }, `${apart.length.toLocaleString("en")} of ${counted(shared.length, "shared case")} with another score of tuned${apart.length > SHOWN_CASES ? `; the ${SHOWN_CASES} that differ most` : ""}`)),
    apart.length ? table("Tuned’s score of a case in each run; opened, a case shows their answers", ["Case", ...names()],
      apart.slice(0, SHOWN_CASES).map(({ row, values }) => [
        [h("a", { href: `#${row.at}` }, shown(row.id)), " ", h("span", { class: "hint" }, shown(row.start))],
        ...values.map((value) => num(number(value, metric.rate)))])) : null);
}

/** Return what the fine-tunes of the other runs answered to a case. */
function answersOfOthers(row, text) {
  const there = others.map((one) => [one, one.places.get(caseKey(row))]).filter(([, at]) => at !== undefined);
  if (blind || !there.length) return null;
  return h("div", { class: "sides" }, there.map(([one, at]) => {
    const found = one.texts[at];
    const said = found?.diff?.map((part) => (typeof part === "string" ? part : part[1])).join("");
    const asked = found && text && JSON.stringify(found.question) !== JSON.stringify(text.question);
    return h("figure", { class: "side" },
      h("figcaption", null, "tuned of ", shown(one.about.tuned), " ", h("span", { class: "hint" }, shown(one.run))),
      h("pre", { tabindex: 0 }, said ? shown(said) : h("i", { class: "esc" }, found ? "(empty)" : "(its page has no room for this text)")),
      asked && h("p", { class: "hint" }, "It was asked another prompt."));
  }));
}

function startRuns() {
  const pick = document.getElementById("pick");
  pick.hidden = false;
  pick.querySelector("input").addEventListener("change", (event) => addPages([...event.target.files]));
}
