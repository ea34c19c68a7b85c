// What is shown, and its address: "#c-0123456789ab&status=broke&text=refund" reopens this view.

const WORSE = "broke,worse";
const DEFAULTS = { status: WORSE, suite: "", tag: "", metric: "", low: "", high: "", doubt: "", trained: "", order: "", text: "" };
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
  return wanted.order === "talk" ? byTalk(found) : found;
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
  open = placeOf.has(first) ? first : null;
  firstShown = 0;
  // A link to a case shows it, whatever the list began with.
  if (open && !chosen().includes(placeOf.get(open))) Object.assign(wanted, DEFAULTS, { status: "all" });
  return true;
}
