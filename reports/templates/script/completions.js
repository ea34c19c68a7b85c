// Base's and tuned's completion: side by side, in one text, or one in the other's place.

const look = { diff: "words", layout: "sides", flipped: false };
let blind = false;

/** Return the names under which an arm appears: in blind mode a coin of the case decides. */
function sidesOf(row) {
  if (!blind) return [["base", "base"], ["tuned", "tuned"]];
  const swap = parseInt(row.at.at(-1), 16) % 2;
  return swap ? [["tuned", "A"], ["base", "B"]] : [["base", "A"], ["tuned", "B"]];
}

/** Yield one side's text as [text, changed]; in a line diff a line counts whole. */
function stretches(diff, side) {
  const parts = diff.map((part) =>
    typeof part === "string" ? [part, false] : [part[side], part.length === 2]);
  if (look.diff !== "lines") return parts;
  const lines = [["", false]];
  for (const [text, changed] of parts)
    text.split("\n").forEach((piece, at) => {
      if (at) {
        lines.at(-1)[0] += "\n";
        lines.push(["", false]);
      }
      lines.at(-1)[0] += piece;
      lines.at(-1)[1] ||= changed && piece !== "";
    });
  return lines;
}

const TAGS = ["del", "ins"];

/** Return the element with one side's text. */
function written(diff, side, code) {
  const tag = look.diff !== "off" && TAGS[side];
  if (code)
    return marked(code, diff.map((part) =>
      typeof part === "string" ? [part] : [part[side], part.length === 2 && tag, part[1 - side]]));
  return marked(code, stretches(diff, side).map(([text, changed]) => [text, changed && tag]));
}

/** Return the element with both texts as one: what only base has, then what only tuned has. */
function inline(diff, first, code) {
  return marked(code, diff.flatMap((part) =>
    typeof part === "string" ? [[part]]
      : part.length === 3 ? [[part[1] || part[0]]]
      : [first, 1 - first].map((side) => [part[side], TAGS[side]])));
}

/** Return an element with texts, each in its tag. */
function marked(code, parts) {
  if (code) return h("div", { class: "code", tabindex: 0 }, codeLines(parts));
  return h("pre", { tabindex: 0 }, parts.map(([text, tag]) =>
    text && (tag ? h(tag, null, shown(text)) : shown(text))));
}

function completions(row, text) {
  if (!text.diff && (text.lacks || []).length === 2) return null;
  const diff = text.diff || [];
  const sides = sidesOf(row);
  const lacking = new Set(text.lacks || []);
  const pane = ([arm, name]) => {
    const side = arm === "base" ? 0 : 1;
    const empty = lacking.has(arm) ? "(no completion)" : "(empty)";
    const some = diff.some((part) => (typeof part === "string" ? part : part[side]));
    return h("figure", { class: `side side-${blind ? "blind" : arm}` },
      h("figcaption", null, name),
      some ? written(diff, side, text.code) : h("pre", { tabindex: 0 }, h("i", { class: "esc" }, empty)),
      ran(row, text, arm));
  };
  if (look.flipped !== false) return h("div", { class: "sides one" }, pane(sides[look.flipped]));
  if (look.layout === "inline" && !lacking.size)
    return h("figure", { class: "side" },
      h("figcaption", null, h("del", null, sides[0][1]), " ", h("ins", null, sides[1][1])),
      inline(diff, sides[0][0] === "base" ? 0 : 1, text.code),
      sides.map(([arm, name]) => ran(row, text, arm, name)));
  return h("div", { class: "sides" }, sides.map(pane));
}

/** Return the completions of further arms, each under its name. */
function furtherArms(text) {
  if (blind || !text.others) return null;
  return h("div", { class: "sides" }, text.others.map(([arm, said, missing]) =>
    h("figure", { class: "side" },
      h("figcaption", null, shown(arm)),
      h("pre", { tabindex: 0 }, said ? shown(said) : h("i", { class: "esc" }, "(empty)")),
      missing && h("p", { class: "hint" }, `${counted(missing, "more character")} in cells.jsonl.`))));
}

const LOOKS = {
  d: ["Diff", (code) => (code && look.diff === "words" ? "lines" : look.diff), (code) => {
    look.diff = { words: code ? "off" : "lines", lines: "off", off: "words" }[look.diff];
  }],
  s: ["Layout", () => (look.layout === "sides" ? "side by side" : "one text"), () => {
    look.layout = look.layout === "sides" ? "inline" : "sides";
    look.flipped = false;
  }],
  t: ["Flip", () => (look.flipped === false ? "both" : blind ? "AB"[look.flipped] : ["base", "tuned"][look.flipped]), () => {
    look.flipped = look.flipped === 0 ? 1 : 0;
  }],
  b: ["Blind", () => (blind ? "on" : "off"), () => {
    blind = !blind;
    document.body.classList.toggle("blind", blind);
  }],
};

/** Change how completions are looked at; going blind draws the list in another order. */
function change(key) {
  LOOKS[key][2](open && body(placeOf.get(open))?.code);
  if (key === "b") draw(open || undefined);
  else redraw();
}

function lookBar(row, text) {
  return h("div", { class: "looks", role: "toolbar", "aria-label": "How the completions are shown" },
    Object.entries(LOOKS).map(([key, [name, state]]) =>
      h("button", { type: "button", click: () => change(key) }, h("kbd", null, key), ` ${name}: `, h("b", null, state(text?.code)))),
    h("button", { type: "button", class: "reviewed", "aria-pressed": String(Boolean(marks[row.at]?.reviewed)), click: () => review(row.at) },
      h("kbd", null, "m"), marks[row.at]?.reviewed ? " ✓ Reviewed" : " Mark reviewed"));
}
