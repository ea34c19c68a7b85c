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

/** Return everything one can search a case by. */
function words(at) {
  const row = cases[at];
  if (row.words) return row.words;
  const found = [row.id, row.suite, ...row.tags, outcome(row), row.start, ...(row.doubts || [])];
  found.push(...row.scores.map((score) => metricOf(score).name));
  const text = body(at);
  if (text) {
    for (const name of ["question", "expected", "others"])
      for (const item of text[name] || []) found.push(item[1]);
    for (const part of text.diff || []) found.push(...(Array.isArray(part) ? part.slice(0, 2) : [part]));
    for (const reason of text.found || []) found.push(reason[2]);
    for (const line of text.judged || []) found.push(line.reason || "");
    for (const choice of text.choices || []) found.push(choice.text);
  }
  row.words = bare(found.join("\n")).toLowerCase();
  return row.words;
}

/** Prepare the search a little at a time while nothing else happens. */
function prepareWords(from = 0) {
  const idle = window.requestIdleCallback || ((work) => setTimeout(work, 50));
  idle(() => {
    const until = performance.now() + 8;
    let at = from;
    while (at < cases.length && performance.now() < until) words(at++);
    if (at < cases.length) prepareWords(at);
  });
}
