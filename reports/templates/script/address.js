// What is shown, and its address: "#c-0123456789ab&status=broke&text=refund" reopens this view.

const WORSE = "broke,worse";
const DEFAULTS = { status: WORSE, suite: "", tag: "", metric: "", gate: "", low: "", high: "", doubt: "", trained: "", order: "", text: "" };
const wanted = { ...DEFAULTS };
let open = null; // anchor of the open case
let firstShown = 0; // place in the list of the first row on this page of it

/** Return the places of the cases that the filters let through, in the order of the list. */
function chosen() {
  const search = wanted.text.toLowerCase().split(/\s+/).filter(Boolean);
  const statuses = new Set(wanted.status.split(","));
  const low = wanted.low === "" ? -Infinity : Number(wanted.low);
  const high = wanted.high === "" ? Infinity : Number(wanted.high);
  const ranged = wanted.low !== "" || wanted.high !== "";
  const inRange = (score) => {
    const delta = difference(score) && difference(score) * (metricOf(score).rate ? 100 : 1);
    return delta !== null && delta >= low && delta <= high;
  };
  const found = [];
  for (let at = 0; at < cases.length; at++) {
    const row = cases[at];
    if (!statuses.has("all") && !statuses.has(row.how) && !(row.gap && statuses.has("gap"))) continue;
    if (wanted.suite && row.suite !== wanted.suite) continue;
    if (wanted.tag && !row.tags.includes(wanted.tag)) continue;
    if (wanted.doubt && !row.doubts) continue;
    if (wanted.trained && !row.trained) continue;
    if (wanted.gate && !(row.against || []).includes(Number(wanted.gate))) continue;
    if (wanted.metric || ranged) {
      const scores = wanted.metric
        ? row.scores.filter((score) => metricOf(score).name === wanted.metric && difference(score) !== 0)
        : row.scores.filter((score) => score[0] === row.by);
      if (!scores.length || (ranged && !scores.some(inRange))) continue;
    }
    if (search.length && !search.every((word) => words(at).includes(word))) continue;
    found.push(at);
  }
  if (blind) return found.sort((a, b) => (cases[a].at < cases[b].at ? -1 : 1));
  if (wanted.order === "talk") return byTalk(found);
  return wanted.order ? byScore(found, ORDERS[wanted.order]) : found;
}

/** Return the score that the filters ask about: of their metric, of their gate, or the deciding one. */
function asked(row) {
  const name = wanted.metric || (wanted.gate && run.gates[wanted.gate].metric);
  const ofMetric = name && row.scores.find((score) => metricOf(score).name === name);
  return ofMetric || deciding(row) || row.scores.find((score) => metricOf(score).ranks);
}

/** Name → words, the number to sort by (larger is better), and whether the best comes first. */
const ORDERS = {
  tuned: ["tuned’s score, worst first", (score) => oriented(score, score[2]), false],
  besttuned: ["tuned’s score, best first", (score) => oriented(score, score[2]), true],
  base: ["base’s score, worst first", (score) => oriented(score, score[1]), false],
  loss: ["difference, largest loss first", (score) => score[3], false],
  gain: ["difference, largest gain first", (score) => score[3], true],
};
const oriented = (score, value) => (value === null ? null : metricOf(score).higher ? value : -value);

/** Sort by a number of the score that is asked about; cases without one come last. */
function byScore(found, [, value, best]) {
  const keys = new Map(found.map((at) => {
    const score = asked(cases[at]);
    return [at, score ? (value(score) ?? null) : null];
  }));
  const rank = (at) => (keys.get(at) === null ? Infinity : best ? -keys.get(at) : keys.get(at));
  return found.sort((a, b) => (rank(a) === rank(b) ? a - b : rank(a) - rank(b)));
}

/** Return the name of a case's conversation; its own anchor where it has none. */
const talkOf = (row) => (row.talk === undefined ? row.at : `${row.suite}\n${row.talk}`);

/** Put the cases of a conversation together, in its order; the worst conversation comes first. */
function byTalk(found) {
  const talks = new Map();
  for (const at of found) {
    const name = talkOf(cases[at]);
    if (!talks.has(name)) talks.set(name, []);
    talks.get(name).push(at);
  }
  return [...talks.values()].flatMap((all) => all.sort((a, b) => cases[a].no - cases[b].no));
}

/** Write what is shown into the address, without a step in the browser's history. */
function remember() {
  const parts = new URLSearchParams();
  for (const [name, value] of Object.entries(wanted))
    if (value !== DEFAULTS[name]) parts.set(name, value);
  const rest = parts.toString().replaceAll("%2C", ",");
  const hash = rest ? `#${open || "cases"}&${rest}` : open ? `#${open}` : "";
  if (hash || /^#c(-|ases)/.test(location.hash)) history.replaceState(null, "", hash || " ");
}

/** Take what is shown from the address; return whether it says anything of the list. */
function recall() {
  const [first, ...rest] = location.hash.slice(1).split("&");
  if (first !== "cases" && !placeOf.has(first)) return false;
  Object.assign(wanted, DEFAULTS);
  for (const [name, value] of new URLSearchParams(rest.join("&")))
    if (name in DEFAULTS) wanted[name] = value;
  if (wanted.gate && !run.gates[wanted.gate]) wanted.gate = "";
  if (wanted.order && wanted.order !== "talk" && !ORDERS[wanted.order]) wanted.order = "";
  open = placeOf.has(first) ? first : null;
  firstShown = 0;
  // A link to a case shows it, whatever the list began with.
  if (open && !chosen().includes(placeOf.get(open))) Object.assign(wanted, DEFAULTS, { status: "all" });
  return true;
}
