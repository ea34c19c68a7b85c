// Files made from what the page holds: nothing is fetched.

function save(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  h("a", { href: address, download: `${bare(run.run)}-${name}` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** Write a field so that a spreadsheet neither splits it nor runs it as a formula. */
function field(value) {
  if (typeof value === "number") return String(value);
  const text = bare(value || "");
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function csv() {
  const lines = [["suite", "case", "tags", "outcome", "metric", "base", "tuned", "difference", "better", "in_training_rows"]];
  for (const row of cases)
    for (const score of row.scores) {
      const better = score[3] ? (score[3] > 0 ? "yes" : "no") : "";
      lines.push([row.suite, row.id, row.tags.join(" "), outcome(row), metricOf(score).name,
        score[1] ?? "", score[2] ?? "", difference(score) ?? "", better, row.trained ? "yes" : ""]);
    }
  return lines.map((line) => line.map(field).join(",")).join("\r\n") + "\r\n";
}

function json() {
  const rows = cases.map((row) => ({
    suite: bare(row.suite), case: bare(row.id), tags: row.tags.map(bare), outcome: outcome(row),
    in_training_rows: Boolean(row.trained),
    scores: Object.fromEntries(row.scores.map((score) => [bare(metricOf(score).name), { base: score[1], tuned: score[2] }])),
  }));
  return JSON.stringify({ run_id: bare(run.run), verdict: run.verdict, cases: rows }, null, 1);
}

const ready = (name) => JSON.parse(document.getElementById("files").textContent)[name];

const DOWNLOADS = {
  csv: () => save("scores.csv", "text/csv", csv()),
  json: () => save("scores.json", "application/json", json()),
  junit: () => save("junit.xml", "application/xml", bare(ready("junit"))),
  markdown: async () => {
    const text = bare(ready("markdown"));
    const told = document.getElementById("copied");
    try {
      await navigator.clipboard.writeText(text);
      told.textContent = "Copied.";
    } catch {
      save("comment.md", "text/markdown", text);
      told.textContent = "This browser does not let the page copy: saved as a file instead.";
    }
  },
};

function startDownloads() {
  for (const button of document.querySelectorAll("[data-download]")) {
    button.hidden = false;
    button.addEventListener("click", DOWNLOADS[button.dataset.download]);
  }
}
