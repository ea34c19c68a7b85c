// When each answer of a case was made, from the times that were stored with it.

const WIDE = 600;
const LINE = 24;
const NAMES = 148;

/** Draw a bar for every timed answer and judgement; long pauses between them are cut short. */
function waterfall(text) {
  const bars = bricks(text);
  if (!bars.length) return null;
  const total = bars.reduce((end, bar) => Math.max(end, bar.from + bar.took), 0) || 1;
  const x = (value) => NAMES + (value / total) * (WIDE - NAMES - 70);
  const height = bars.length * LINE + 4;
  const label = bars.map((bar) => `${bar.name}: ${seconds(bar.took)}`).join(", ");
  return h("figure", { class: "trace" },
    h("figcaption", null, "Trace"),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Trace" },
      h("svg", { viewBox: `0 0 ${WIDE} ${height}`, width: WIDE, height, role: "img", "aria-label": bare(label) },
        bars.map((bar, at) => [
          bar.pause && h("line", { class: "pause", x1: x(bar.from), x2: x(bar.from), y1: at * LINE, y2: at * LINE + LINE }),
          h("text", { x: 0, y: at * LINE + 17 }, bare(bar.name)),
          h("rect", { class: `brick ${bar.tone}`, x: x(bar.from), y: at * LINE + 6, width: Math.max(2, x(bar.from + bar.took) - x(bar.from)), height: 14, rx: 2 }),
          h("text", { class: "took", x: x(bar.from + bar.took) + 6, y: at * LINE + 17 }, seconds(bar.took)),
        ]))),
    h("p", { class: "hint" }, caveats(text, bars)));
}

/** Return the bars with their places: as they were, with every pause no longer than the work. */
function bricks(text) {
  const timed = (text.cells || []).filter((cell) => cell.took !== undefined && cell.began !== undefined)
    .map((cell) => ({ name: `${KINDS[cell.kind]} · ${cell.arm}`, tone: toneOf(cell.arm), began: cell.began, took: cell.took }))
    .sort((a, b) => a.began - b.began);
  let end = 0;
  let ended = null;
  const work = timed.reduce((sum, bar) => sum + bar.took, 0);
  for (const bar of timed) {
    const gap = ended === null ? 0 : bar.began - ended;
    bar.pause = gap > work;
    bar.from = Math.max(0, end + (bar.pause ? 0.1 * work : gap));
    end = Math.max(end, bar.from + bar.took);
    ended = Math.max(ended ?? 0, bar.began + bar.took);
  }
  for (const line of text.judged || []) {
    if (!line.took) continue;
    timed.push({ name: `judge · ${line.metric} · ${line.arm}`, tone: "judge", from: end, took: line.took });
    end += line.took;
  }
  return timed;
}

const toneOf = (arm) => (arm === "base" || arm === "tuned" ? arm : "other");

function caveats(text, bars) {
  const cells = text.cells || [];
  return [
    cells.some((cell) => cell.batch > 1) && "A time is that of the whole batch. ",
    cells.some((cell) => cell.stored) && "Answers from the store show when they were first made. ",
    bars.some((bar) => bar.pause) && "A dotted line stands for a pause that is not drawn to scale. ",
    bars.some((bar) => bar.tone === "judge") && "Judgements are drawn after the answers, one after the other: only how long they took is stored. ",
    "Metrics that are rules take no time worth a bar.",
  ];
}
