// The run as the page holds it: a row for every case at once, the texts when somebody wants them.

const run = JSON.parse(document.getElementById("index").textContent);
const cases = run.cases;
const placeOf = new Map(cases.map((row, at) => [row.at, at]));

const HOW = {
  broke: ["✕", "newly failing", "bad"],
  worse: ["↓", "lower", "warn"],
  fixed: ["✓", "newly passing", "good"],
  better: ["↑", "higher", "good"],
  changed: ["≈", "changed", "calm"],
  equal: ["=", "equal", "calm"],
};

let texts = null; // read on the first use, after the page has been painted

/** Return what an opened row shows; nothing for a case whose texts the page has no room for. */
function body(at) {
  texts ??= JSON.parse(document.getElementById("texts").textContent);
  return texts[at];
}

const metricOf = (score) => run.metrics[score[0]];
const difference = (score) =>
  score[1] === null || score[2] === null ? null : score[2] - score[1];

/** Return the score that put a case on its list. */
function deciding(row) {
  return row.scores.find((score) => score[0] === row.by);
}

/** Return the word for how a case changed; a lower loss is no "lower" case but a better one. */
function outcome(row) {
  const score = deciding(row);
  const graded = row.how === "worse" || row.how === "better";
  return graded && score && !metricOf(score).higher ? row.how : HOW[row.how][1];
}

/** Return everything one can search a case by, in lower case. */
function words(at) {
  const row = cases[at];
  if (row.words) return row.words;
  let text = `${row.id}\n${row.suite}\n${row.tags.join("\n")}\n${outcome(row)}\n`;
  for (const score of row.scores) text += `${metricOf(score).name}\n`;
  for (const doubt of row.doubts || []) text += `${doubt}\n`;
  if (row.trained) text += `in training rows: ${row.trained}\n`;
  const own = body(at);
  text += own ? allTexts(own) : row.start;
  row.words = bare(text).toLowerCase();
  return row.words;
}

/** Return all texts of an opened row: base's completion whole, of tuned's what differs. */
function allTexts(own) {
  let text = "";
  let tuned = "\n";
  for (const part of own.diff || []) {
    text += typeof part === "string" ? part : part[0];
    if (typeof part !== "string" && part.length === 2) tuned += `${part[1]}\n`;
  }
  text += tuned;
  for (const name of ["question", "expected", "hidden", "others"])
    for (const item of own[name] || []) text += `${item[1]}\n`;
  for (const reason of own.found || []) text += `${reason[2]}\n`;
  for (const line of own.judged || []) text += `${line.reason || ""}\n`;
  for (const choice of own.choices || []) text += `${choice.text}\n`;
  return text;
}

/** Prepare the search a little at a time while nothing else happens. */
function prepareWords(from = 0) {
  const idle = window.requestIdleCallback || ((work) => setTimeout(work, 50));
  idle(() => {
    if (from === 0) drawHeld();
    const until = performance.now() + 8;
    let at = from;
    while (at < cases.length && performance.now() < until) words(at++);
    if (at < cases.length) prepareWords(at);
  });
}
