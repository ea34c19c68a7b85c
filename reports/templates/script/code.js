// Answers that are programs or queries: whole lines, and beneath them what running them found.

const AROUND = 3; // lines that stay around a change
const FOLDED = 5; // lines that are worth a fold

const linesOf = (text) => text.match(/[^\n]*\n|[^\n]+/g) || [];

/** Return code from [text, tag, other side's text] line by line: a long stretch without a tag is
 * folded, and a shorter one with a tag filled up, so that what follows stands next to its like. */
function codeLines(parts) {
  const marks = parts.some(([, tag]) => tag);
  return parts.map(([text, tag, other], at) => {
    const lines = linesOf(text).map((line) => h(tag || "span", { class: "line" }, shown(line)));
    if (tag)
      for (let more = linesOf(other || "").length - lines.length; more > 0; more -= 1)
        lines.push(h("span", { class: "line filler" }));
    const from = at ? AROUND : 0;
    const until = lines.length - (at < parts.length - 1 ? AROUND : 0);
    if (tag || !marks || until - from < FOLDED) return lines;
    return [lines.slice(0, from),
      h("details", null, h("summary", null, `${until - from} equal lines`), lines.slice(from, until)),
      lines.slice(until)];
  });
}

/** Return the scores of one arm's code on metrics that say why, each with its reason. */
function ran(row, text, arm, name) {
  if (blind || !text.code) return null;
  const reasons = text.found || [];
  return row.scores.filter((score) => reasons.some((reason) => reason[0] === score[0])).map((score) => {
    const metric = metricOf(score);
    const reason = reasons.find(([place, of]) => place === score[0] && of === arm);
    return h("div", { class: "ran" },
      h("p", null, name && [armName(arm), " "], h("span", { class: "metric" }, shown(metric.name)), " ",
        reason?.[3] ? "unscored" : h("b", null, number(score[arm === "base" ? 1 : 2], metric.rate))),
      reason && h("pre", { tabindex: 0 }, shown(reason[2])));
  });
}
