// The list of cases: a page of rows at a time, one of them open, so that the document stays small.

const ROWS = matchMedia("(max-width: 760px)").matches ? 8 : 25;
const box = document.getElementById("cases");
let places = []; // what the filters let through

/** Draw the list again; `focus` is the anchor of the row to go to. */
function draw(focus) {
  places = chosen();
  const target = focus || open;
  const at = target ? places.indexOf(placeOf.get(target)) : -1;
  if (at >= 0) firstShown = at - (at % ROWS);
  if (firstShown >= places.length) firstShown = 0;
  const rows = places.slice(firstShown, firstShown + ROWS);
  box.replaceChildren(...rows.flatMap((place, index) => [talkHead(place, rows[index - 1]), rowOf(place)].filter(Boolean)));
  if (!rows.length) box.append(h("p", { class: "nothing" }, "No case matches these filters."));
  drawPages();
  drawFound();
  remember();
  if (focus) goTo(focus);
}

function rowOf(at) {
  const row = cases[at];
  const made = h("details", { class: `case tone-${blind ? "calm" : HOW[row.how][2]}`, id: row.at, toggle: toggled },
    h("summary", null,
      h("span", { class: "flag" }, mark(row.at), blind ? "" : `${HOW[row.how][0]} ${outcome(row)}`),
      h("span", { class: "who" },
        h("span", { class: "cid" }, shown(row.id)), " ", h("span", { class: "snippet" }, shown(row.start))),
      blind ? null : h("span", { class: "what" }, figures(row))));
  if (row.at === open) {
    made.open = true;
    fill(made, at);
  }
  return made;
}

/** Return the heading of a conversation above the first of its cases on this page of the list. */
function talkHead(at, before) {
  const row = cases[at];
  if (wanted.order !== "talk" || blind || row.talk === undefined) return null;
  if (before !== undefined && talkOf(cases[before]) === talkOf(row)) return null;
  const all = cases.filter((other) => talkOf(other) === talkOf(row));
  const lost = all.filter((other) => other.how === "broke" || other.how === "worse").length;
  return h("p", { class: "talk" }, h("b", null, shown(row.talk)), ` ${counted(all.length, "case")}, ${lost} lower or newly failing`);
}

/** Return the deciding metric's numbers, and what is to be known before they are believed. */
function figures(row) {
  const score = asked(row);
  return [
    row.doubts && h("span", { class: "chip tone-warn", title: bare(row.doubts.join("; ")) }, "judges disagree"),
    row.trained && h("span", { class: "chip tone-warn", title: bare(row.trained) }, "in training rows"),
    row.gap && h("span", { class: "chip tone-warn" }, "unscored"),
    score && h("span", { class: "metric" }, shown(metricOf(score).name)),
    score && h("span", { class: "scores" }, between(score)),
  ];
}

/** Return both arms' scores with the unit once. */
function between(score) {
  const { rate } = metricOf(score);
  const base = number(score[1], rate);
  return `${score[2] === null ? base : base.replace(" %", "")} → ${number(score[2], rate)}`;
}

/** Draw a row's inside when it opens, drop it when it closes; only one row is open. */
function toggled(event) {
  const row = event.target;
  if (row.parentElement !== box) return;
  if (row.open && row.childElementCount === 1) fill(row, placeOf.get(row.id));
  if (row.open && open !== row.id) {
    const before = open && document.getElementById(open);
    open = row.id;
    if (before) before.open = false;
  } else if (!row.open && open === row.id) open = null;
  if (!row.open) row.querySelector(".case-body")?.remove();
  remember();
}

function fill(row, at) {
  row.querySelector(".case-body")?.remove();
  row.append(opened(at));
  labelCells(row);
}

/** Draw the open case again, after a change of how it is looked at. */
function redraw() {
  const row = open && document.getElementById(open);
  if (!row) return;
  const typing = row.contains(document.activeElement) && document.activeElement.matches("textarea, pre");
  fill(row, placeOf.get(open));
  if (!typing && !row.contains(document.activeElement)) goTo(open, false);
}

function goTo(anchor, scroll = true) {
  const row = document.getElementById(anchor);
  if (!row) return;
  row.querySelector("summary").focus({ preventScroll: true });
  if (scroll) row.scrollIntoView({ block: row.open ? "start" : "nearest" });
}

/** Return where in the list the reader is: the row in focus, else the open one. */
function here() {
  const focused = document.activeElement?.closest("#cases > details");
  return places.indexOf(placeOf.get(focused ? focused.id : open));
}

/** Go so many rows on, to another page of the list if need be; `opening` opens the row too. */
function step(by, opening) {
  if (!places.length) return;
  const at = here();
  const next = at < 0 ? (by > 0 ? firstShown : Math.min(firstShown + ROWS, places.length) - 1) : at + by;
  if (next < 0 || next >= places.length) return;
  const anchor = cases[places[next]].at;
  const row = document.getElementById(anchor);
  if (!row) {
    if (opening) open = anchor;
    else open = null;
    draw(anchor);
  } else {
    // Drawn now, not at the browser's toggle event, so that the row's place is final.
    if (opening && !row.open) show(row);
    goTo(anchor);
  }
}

function show(row) {
  const before = open && document.getElementById(open);
  open = row.id;
  if (before && before !== row) {
    before.querySelector(".case-body")?.remove();
    before.open = false;
  }
  fill(row, placeOf.get(row.id));
  row.open = true;
  remember();
}

function drawPages() {
  const last = Math.min(firstShown + ROWS, places.length);
  const go = (to) => () => {
    firstShown = to;
    open = null;
    draw(cases[places[to]].at);
  };
  document.getElementById("pages").replaceChildren(
    ...(places.length <= ROWS ? [] : [
      h("button", { type: "button", disabled: firstShown === 0, click: go(Math.max(0, firstShown - ROWS)) }, "← Back"),
      h("span", { class: "hint" }, `${(firstShown + 1).toLocaleString("en")} to ${last.toLocaleString("en")} of ${places.length.toLocaleString("en")}`),
      h("button", { type: "button", disabled: last === places.length, click: go(firstShown + ROWS) }, "On →"),
    ]));
}
