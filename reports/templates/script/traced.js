// Where the case is in the traces of the run, and the way there.

/** Return the ids of the case's span, to be copied, and a link where a viewer is known. */
function traced(text) {
  if (!run.trace || !text.span) return null;
  return h("p", { class: "hint traced" },
    "Trace ", copied(run.trace.id), " · span ", copied(text.span), viewed(text.span));
}

/** Return an id with a button that copies it, or selects it where the browser lets no page copy. */
function copied(id) {
  const shownId = h("code", null, id);
  const press = async (event) => {
    const button = event.currentTarget;
    try {
      await navigator.clipboard.writeText(id);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(shownId);
      button.textContent = "Selected";
    }
  };
  return [shownId, " ", h("button", { type: "button", class: "copy", "aria-label": `Copy ${id}`, click: press }, "Copy")];
}

/** Return a link to the span in the viewer; only to a web page, whatever the run says. */
function viewed(span) {
  const address = (run.trace.link || "").replaceAll("{trace_id}", run.trace.id).replaceAll("{span_id}", span);
  if (!/^https?:\/\//.test(address)) return null;
  return [" · ", h("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, "open in the viewer")];
}
