// An open case: what was asked, what came, how it was scored, and how long it took.

const KINDS = {
  generate: "write", choices: "rate the choices", answer: "rate the expected answer",
  text: "read the prompt", latency: "write, timed",
};

function opened(at) {
  const row = cases[at];
  const text = body(at);
  const link = h("a", { href: `#${row.at}` }, "link to this case");
  const head = h("p", { class: "hint" }, shown(row.suite), row.tags.map((tag) => [" · ", shown(tag)]),
    text && [" · ", h("code", null, shown(text.where))], " · ", link);
  if (!text)
    return h("div", { class: "case-body" }, head, trained(row), lookBar(row),
      h("p", { class: "notice" }, "This page keeps under 25 MB: the texts of this case are in cases.jsonl and cells.jsonl of the run folder."),
      blind ? null : scores(row, {}), notes(row));
  return h("div", { class: "case-body" },
    head,
    trained(row),
    (text.question || []).map(labelled),
    (text.images || []).map(pictured),
    (text.rendered || []).map((item) =>
      h("details", { class: "inner" }, h("summary", null, "Prompt after the chat template"), labelled(item))),
    (text.expected || []).map(labelled),
    text.hidden && h("details", { class: "inner" },
      h("summary", null, `How it is checked: ${text.hidden.map(([label]) => label).join(", ")}`), text.hidden.map(labelled)),
    blind ? null : choices(row, text),
    lookBar(row, text),
    thoughts(text),
    completions(row, text),
    text.note && h("p", { class: "hint" }, text.note),
    text.diff && text.samples && h("p", { class: "hint" },
      `The first of ${text.samples} answers of each arm. Scores count all, and a finding is the first one of any.`),
    furtherArms(text),
    answersOfOthers(row, text),
    preference(row),
    blind ? null : [
      row.doubts && row.doubts.map((doubt) => h("p", { class: "notice" }, "Judges disagree. ", shown(doubt), ".")),
      scores(row, text), judgements(row, text), answers(row, text), trace(text)],
    keeping(row, text), notes(row));
}

/** Return that tuned was trained on the case, which the reader should know before its answers. */
const trained = (row) => row.trained && h("p", { class: "notice" }, h("b", null, "In training rows."), " ", shown(row.trained), ".");

/** Return when each answer was made and the ids of its trace, folded; nothing where none is known. */
function trace(text) {
  const parts = [waterfall(text), traced(text)].filter(Boolean);
  return parts.length ? h("details", { class: "inner" }, h("summary", null, "Trace"), parts) : null;
}

function labelled([label, text, missing]) {
  return h("div", { class: "text" },
    h("p", { class: "label" }, shown(label)),
    h("pre", { tabindex: 0 }, text ? shown(text) : h("i", { class: "esc" }, "(empty)")),
    missing && h("p", { class: "hint" }, `${counted(missing, "more character")} in cases.jsonl.`));
}

/** Return the thumbnail of an image, which opens the whole file, or why there is none. */
const pictured = (image) => h("div", { class: "text" },
  h("p", { class: "label" }, "image"),
  image.src
    ? h("a", { href: image.file }, h("img", { src: image.src, alt: bare(image.name), title: bare(image.name) }))
    : h("p", { class: "hint" }, shown(image.name), ": ", image.why));

/** Return the thoughts before the answers, folded; their labels name the arm. */
const thoughts = (text) => blind ? null : (text.thoughts || []).map((item) =>
  h("details", { class: "inner" }, h("summary", null, "Thoughts of ", shown(item[0])), labelled(item)));

function choices(row, text) {
  if (!text.choices) return null;
  const made = table("Choices: log-likelihood, and probability among the choices",
    ["Choice", num("Base log-prob"), num("Base prob"), num("Tuned log-prob"), num("Tuned prob")],
    text.choices.map((choice) => [
      [shown(choice.text || "(empty)"), choice.right && [" ", h("span", { class: "chip tone-good" }, "✓ right")]],
      ...[0, 1].flatMap((arm) => [num(number(choice.logprobs[arm])),
        num([choice.picked[arm] && h("span", { class: "pick" }, "picked ▸ "), percent(choice.shares[arm])])])]));
  made.classList.add("choices");
  text.choices.forEach((choice, at) => choice.right && made.querySelectorAll("tbody tr")[at].classList.add("right"));
  return made;
}

/** Return the table of scores: goodness in words next to the colour. */
function scores(row, text) {
  const said = (place) => (text.found || []).filter((reason) => reason[0] === place).map(([, arm, reason, unscored]) =>
    h("p", null, armName(arm), unscored ? " unscored: " : " ", shown(reason)));
  return table("Scores", ["Metric", num("Base"), num("Tuned"), num("Difference"), "What the metric found"],
    row.scores.map((score) => {
      const metric = metricOf(score);
      const better = metric.ranks && score[3];
      return [
        [shown(metric.name), metric.gated ? "" : h("span", { class: "hint" }, " not gated")],
        num(number(score[1], metric.rate)), num(number(score[2], metric.rate)),
        num([signed(difference(score), metric.rate), better ? h("span", { class: "hint" }, better > 0 ? " better" : " worse") : ""],
          better ? (better > 0 ? "tone-good" : "tone-bad") : undefined),
        h("div", { class: "reason" }, said(score[0]))];
    }));
}

const armName = (arm) => h("span", { class: `arm arm-${/^(base|tuned)$/.test(arm) ? arm : "other"}` }, shown(arm));

function judgements(row, text) {
  if (!text.judged) return null;
  return table("Replies of the judges", ["Judge", "Metric", "Of", num("Value"), num("Asked"), num("Took"), "Reason"],
    text.judged.map((line) => [shown(line.judge), shown(line.metric), armName(line.arm),
      num(line.status === "ok" ? number(line.value) : line.status.replace("_", " ")), num(String(line.asked || 0)),
      num(seconds(line.took)), h("div", { class: "reason" }, shown(line.reason || ""))]));
}

function answers(row, text) {
  if (!text.cells) return null;
  return table("How it was answered",
    ["Arm", "Asked to", "Finish", num("Tokens in"), num("Tokens out"), num("Latency"), num("Cost"), "Note"],
    text.cells.map((cell) => [
      armName(cell.arm), KINDS[cell.kind], shown(cell.status || cell.finish || "–"), num(cell.read ?? "–"), num(cell.wrote ?? "–"),
      num(seconds(cell.took)), num(cell.cost === undefined ? "unknown" : `$${cell.cost.toFixed(4)}`),
      [cell.error && shown(cell.error), cell.answer !== undefined && `expected answer ${number(cell.answer)} a token `,
        cell.thought && `${cell.thought} tokens of thoughts `, cell.asked > 1 && `asked ${cell.asked} times `, cell.batch > 1 && `in a batch of ${cell.batch} `, cell.stored && "from the store"]]));
}
