"use strict";
// Elements made from data. A text is only ever a text node, so nothing a model wrote is markup.

const SVG = new Set(["svg", "rect", "line", "text", "title", "g"]);

/** Make an element; functions among the attributes listen, false and null leave one out. */
function h(tag, attributes, ...children) {
  const made = SVG.has(tag)
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== false && value !== null && value !== undefined)
      made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(9).filter((child) => child || child === 0));
  return made;
}

/** Return a text in parts: what cannot be seen was written out between two \u0001. */
function shown(text) {
  return text.split("\u0001").map((part, at) => (at % 2 ? h("span", { class: "esc" }, part) : part));
}

/** Return a text without those marks, for searching and for files. */
const bare = (text) => (text.includes("\u0001") ? text.replaceAll("\u0001", "") : text);

function table(caption, heads, rows) {
  const cell = (tag, value, more) =>
    Array.isArray(value) && value.num
      ? h(tag, { ...more, class: value.tone ? `num ${value.tone}` : "num" }, value)
      : h(tag, more, value);
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": bare(caption) },
    h("table", null,
      h("caption", null, caption),
      h("thead", null, h("tr", null, heads.map((head) => cell("th", head, { scope: "col" })))),
      h("tbody", null, rows.map((row) =>
        h("tr", null, row.map((value, at) =>
          at ? cell("td", value) : cell("th", value, { scope: "row" })))))));
}

/** Give each cell its column's title, so that a narrow window can show a row as a list. */
function labelCells(within) {
  for (const made of within.querySelectorAll("table:not(.gates)")) {
    const heads = [...(made.tHead?.rows[0]?.cells || [])].map((head) => head.textContent.trim());
    if (heads.length < 3) continue;
    made.classList.add("stacked");
    for (const body of made.tBodies)
      for (const row of body.rows) {
        // Where a heading spans rows, those after its first one begin with the second column.
        const from = heads.length - [...row.cells].reduce((n, cell) => n + cell.colSpan, 0);
        let column = from;
        for (const cell of row.cells) {
          if (cell.tagName === "TD") cell.dataset.label = heads[column] || "";
          column += cell.colSpan;
        }
      }
  }
}

/** Mark a cell as a number, with the tone of what it says. */
function num(value, tone) {
  return Object.assign([value], { num: true, tone });
}

/** Write a score as harness/contracts/quantity.py and reports/formatting.py do: a rate in per cent. */
function number(value, rate) {
  if (value === null || value === undefined) return "–";
  if (rate) return `${digits(100 * value)} %`;
  const size = Math.abs(value);
  let text;
  if (value === 0 || (size >= 1e-3 && size < 10)) text = value.toFixed(3);
  else if (size >= 10 && size < 1000) text = value.toFixed(1);
  else if (size >= 1000 && size < 1e6) text = Math.round(value).toLocaleString("en");
  else text = value.toPrecision(2);
  return text.replace("-", "−");
}

/** Write a number of per cent with one decimal where it has one; a small one never becomes 0. */
const digits = (value) => String(Number(Math.abs(value) < 0.05 ? value.toPrecision(1) : value.toFixed(1))).replace("-", "−");

/** Write a difference with its sign, one of rates in points. */
function signed(value, rate) {
  if (rate && value !== null) return `${value > 0 ? "+" : ""}${digits(100 * value)} points`;
  const text = number(value);
  return value > 0 && text !== "0.000" ? `+${text}` : text;
}

const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(1)} %`);

function seconds(value) {
  if (value === undefined || value === null) return "–";
  return value < 1 ? `${(1000 * value).toFixed(0)} ms` : `${value.toFixed(2)} s`;
}

const counted = (n, one) => `${n.toLocaleString("en")} ${one}${n === 1 ? "" : "s"}`;
