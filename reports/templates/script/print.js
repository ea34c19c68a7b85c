// On paper nothing opens: what is folded away opens before the page is printed, and closes after it.
// Of the list of cases there is on paper what there is on the screen, its open case included.

let unfolded = [];

function beforePrint() {
  // What comes out of a template may have folds of its own.
  for (let found = folds(); found.length; found = folds()) {
    for (const fold of found) {
      fold.open = true;
      fold.querySelector(":scope > template")?.replaceWith(fold.querySelector(":scope > template").content);
    }
    unfolded.push(...found);
  }
}

function afterPrint() {
  for (const fold of unfolded) fold.open = false;
  unfolded = [];
}

const folds = () => [...document.querySelectorAll("details:not(.case, [open])")];
