"use strict";
// Shows one answer at a time, keeps what is chosen in this browser, and saves it as JSON lines.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const name = `tunegate-labels-${data.key}`;
  const at = (id) => document.getElementById(id);
  const choices = [...document.querySelectorAll("[data-choice]")];
  let labels = {};
  let now = 0;
  let unsaved = false;

  try {
    labels = JSON.parse(localStorage.getItem(name)) || {};
  } catch {
    labels = {}; // a browser may refuse to store anything for a file: then saving is all there is
  }

  function keep() {
    try {
      localStorage.setItem(name, JSON.stringify(labels));
    } catch {
      unsaved = true;
    }
  }

  function draw() {
    const row = data.rows[now];
    for (const part of ["prompt", "context", "completion"]) {
      at(part).textContent = row[part] || (part === "completion" ? "(empty)" : "");
    }
    at("has-context").hidden = !row.context;
    choices.forEach((button, index) => {
      button.setAttribute("aria-pressed", String(labels[now] === index));
    });
    const done = Object.keys(labels).length;
    at("place").textContent = `answer ${now + 1} of ${data.rows.length} · ${done} labelled`;
  }

  function go(step) {
    now = Math.min(data.rows.length - 1, Math.max(0, now + step));
    draw();
  }

  function choose(index) {
    if (index >= choices.length) return;
    labels[now] = index;
    unsaved = true;
    keep();
    go(1);
  }

  function firstOpen() {
    const found = data.rows.findIndex((_, index) => !(index in labels));
    if (found >= 0) now = found;
    draw();
  }

  function save() {
    const lines = data.rows.map((row, index) => {
      const label = index in labels ? data.values[labels[index]] : null;
      return JSON.stringify({ ...row, label });
    });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"]));
    link.download = "labels.jsonl";
    link.click();
    unsaved = false;
  }

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
  addEventListener("beforeunload", (event) => unsaved && event.preventDefault());
  firstOpen();
})();
