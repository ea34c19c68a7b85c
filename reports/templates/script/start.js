// The page without its script is complete but for the list of cases; this sets the rest going.

/** Take folded content out of its template when the fold opens. */
function unfold(event) {
  const inside = event.target.querySelector?.(":scope > template");
  if (!event.target.open || !inside) return;
  inside.replaceWith(inside.content);
  labelCells(event.target);
}

/** On a narrow window only gates and cases are open at first: the rest is a list of headings. */
function foldParts() {
  if (!matchMedia("(max-width: 760px)").matches) return;
  for (const part of document.querySelectorAll("main > section > .part"))
    part.open = ["gates", "regressions"].includes(part.parentElement.id);
}

/** Open the section that the address names. */
function unfoldPart() {
  const part = document.getElementById(location.hash.slice(1))?.querySelector(":scope > .part");
  if (part) part.open = true;
}

function follow() {
  unfoldPart();
  if (!recall()) return;
  drawFilters();
  draw(open || undefined);
  if (!open) document.getElementById("list").scrollIntoView({ block: "start" });
}

function start() {
  document.getElementById("list").hidden = !cases.length;
  labelCells(document);
  foldParts();
  unfoldPart();
  startFilters();
  startDownloads();
  startRuns();
  recall();
  drawFilters();
  drawMarks();
  draw(open || undefined);
  if (!open && location.hash.startsWith("#cases")) document.getElementById("list").scrollIntoView();
  document.addEventListener("keydown", pressed);
  document.addEventListener("toggle", unfold, true);
  addEventListener("hashchange", follow);
  addEventListener("beforeprint", beforePrint);
  addEventListener("afterprint", afterPrint);
  for (const button of document.querySelectorAll("[data-help]")) {
    button.hidden = false;
    button.addEventListener("click", () => help.showModal());
  }
  // The bar repeats the sentence once the heading has left the window.
  new IntersectionObserver(([seen]) => document.body.classList.toggle("past", !seen.isIntersecting))
    .observe(document.querySelector("h1"));
  prepareWords();
}

start();
