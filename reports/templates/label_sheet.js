"use strict";
// Shows one row at a time: an answer to label, or two to choose from. Keeps what is chosen in this
// browser and saves it to a file, or sends each choice to the local server that serves the page.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const parts = [...document.querySelectorAll("[data-part]")];
  const choices = [...document.querySelectorAll("[data-choice]")];
  const pairs = "run_id" in data;
  const total = data.rows.length;
  let by = "";
  let chosen = {}; // row → place of the choice
  let now = 0;
  let unsaved = 0;
  let sending = Promise.resolve();

  // A browser may refuse to store anything for a file: then saving is all there is.
  const stored = (name) => {
    try {
      return JSON.parse(localStorage.getItem(name));
    } catch {
      return null;
    }
  };
  const store = (name, value) => {
    try {
      localStorage.setItem(name, JSON.stringify(value));
    } catch {} // eslint-disable-line no-empty
  };
  const place = () => (pairs ? `tunegate-votes-${data.key}-${by}` : `tunegate-labels-${data.key}`);

  /** Show a text; space that is easily missed is marked: runs, ends of lines, tabs. */
  function show(element, text) {
    const marks = { " ": "·", "\t": "→\t", "\n": "↵\n" };
    const pieces = text.split(/( {2,}|\t+|[ \t]+(?=\n)|\s+$)/);
    element.replaceChildren(...pieces.map((piece, index) => {
      if (index % 2 === 0) return piece;
      const space = document.createElement("span");
      space.className = "space";
      space.textContent = piece.replace(/[ \t\n]/g, (c) => marks[c]);
      return space;
    }));
    element.scrollTop = 0;
  }

  function draw() {
    const row = data.rows[now];
    for (const part of parts) {
      const text = row[part.dataset.part] || "";
      const empty = !text && part.classList.contains("answer");
      part.classList.toggle("empty", empty);
      show(part, empty ? "(empty)" : text);
    }
    at("has-context").hidden = !row.context;
    tally();
  }

  function tally() {
    choices.forEach((button, index) => {
      button.setAttribute("aria-pressed", String(chosen[now] === index));
    });
    const count = Object.keys(chosen).length;
    at("place").textContent = pairs
      ? `pair ${now + 1} · ${count} of ${total} voted`
      : `answer ${now + 1} of ${total} · ${count} labelled`;
    at("progress").value = count / total;
    at("done").hidden = count < total || (data.served && unsaved > 0);
  }

  function go(step) {
    now = Math.min(total - 1, Math.max(0, now + step));
    draw();
  }

  function complain(problem) {
    at("problem").textContent = problem;
    at("problem").hidden = !problem;
  }

  /** Ask the server; return what it answers, or throw its one line. */
  async function ask(path, body) {
    const sent = body && { method: "POST", headers: { "Content-Type": "application/json" }, keepalive: true };
    let reply;
    try {
      reply = await fetch(path, sent && { ...sent, body: JSON.stringify(body) });
    } catch {
      throw new Error("the program that serves this page has ended; start it again");
    }
    const answer = await reply.json();
    if (!reply.ok) throw new Error(answer.error);
    return answer;
  }

  async function send(row, choice) {
    try {
      await ask("choice", { by, row, choice: data.values[choice] });
      complain("");
    } catch (error) {
      delete chosen[row];
      complain(`${pairs ? "Pair" : "Answer"} ${row + 1} is not saved: ${error.message}`);
    }
    unsaved -= 1;
    tally();
  }

  function choose(index) {
    if (index >= choices.length) return;
    const row = now;
    chosen[row] = index;
    unsaved += 1;
    if (data.served) sending = sending.then(() => send(row, index)); // in the order of the keys
    else store(place(), chosen);
    go(1);
  }

  function firstOpen() {
    const open = data.rows.findIndex((_, index) => !(index in chosen));
    if (open >= 0) now = open;
    draw();
  }

  function savedText() {
    const rows = data.rows.map((row, index) => [row, index in chosen ? data.values[chosen[index]] : null]);
    if (!pairs) return rows.map(([row, label]) => JSON.stringify({ ...row, label }) + "\n").join("");
    const votes = rows.filter(([, choice]) => choice).map(([row, choice]) => ({ suite: row.suite, case: row.id, choice }));
    return JSON.stringify({ schema_version: 1, run_id: data.run_id, sheet: data.key, by, votes }, null, 1) + "\n";
  }

  function save() {
    if (data.served) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([savedText()]));
    link.download = pairs ? `votes-${by.replace(/[^\p{L}\p{N}]+/gu, "-")}.json` : "labels.jsonl";
    link.click();
    unsaved = 0;
  }

  /** Go on with what this reviewer has chosen before. */
  async function start(name) {
    by = name;
    if (by) store("tunegate-name", by);
    try {
      const before = data.served ? await ask(`choices?by=${encodeURIComponent(by)}`) : stored(place());
      chosen = Object.fromEntries(Object.entries(before || {}).map(
        ([row, choice]) => [row, data.served ? data.values.indexOf(choice) : choice]));
    } catch (error) {
      return complain(error.message);
    }
    complain("");
    at("sheet").hidden = false;
    at("save").hidden = data.served;
    if (at("who")) at("who").hidden = true;
    listen();
    firstOpen();
  }

  function listen() {
    const keys = { j: () => go(1), k: () => go(-1), o: firstOpen, s: save };
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const act = /^[1-9]$/.test(event.key) ? () => choose(Number(event.key) - 1) : keys[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });
    choices.forEach((button, index) => button.addEventListener("click", () => choose(index)));
    at("next").addEventListener("click", () => go(1));
    at("back").addEventListener("click", () => go(-1));
    at("open").addEventListener("click", firstOpen);
    at("save").addEventListener("click", save);
    addEventListener("beforeunload", (event) => unsaved > 0 && event.preventDefault());
  }

  if (data.by || !at("who")) {
    start(data.by);
    return;
  }
  at("name").value = stored("tunegate-name") || "";
  at("name").focus();
  at("who").addEventListener("submit", (event) => {
    event.preventDefault();
    start(at("name").value.trim());
  });
})();
