// The page without its script is complete but for the list of cases; this sets the rest going.

/** Take what stands folded away out of its template when the fold opens. */
function unfold(event) {
  const inside = event.target.querySelector?.(":scope > template");
  if (event.target.open && inside) inside.replaceWith(inside.content);
}

function follow() {
  if (!recall()) return;
  drawFilters();
  draw(open || undefined);
  if (!open) document.getElementById("list").scrollIntoView({ block: "start" });
}

function start() {
  document.getElementById("list").hidden = !cases.length;
  startFilters();
  startDownloads();
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
