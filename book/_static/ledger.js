// Filters the claims of the ledger. Without it the page shows them all.
"use strict";

{
  const form = document.getElementById("ledger-filter");
  const count = document.getElementById("ledger-count");
  const rows = [...document.querySelectorAll(".ledger-chapter tbody tr")];
  const chapters = [...document.querySelectorAll(".ledger-chapter")];
  // The sections of the papers: those with claims, less the one around them and this form.
  const papers = [...document.querySelectorAll("section:has(.ledger-chapter)")].filter(
    (section) => !section.contains(form),
  );
  const fields = ["text", "place", "verdict", "kind", "origin"];

  // A chapter is offered by its title, which stands above its claims.
  for (const chapter of chapters) {
    const title = chapter.querySelector("p")?.textContent.trim();
    for (const option of form.elements.place.options) {
      if (title && option.value === chapter.dataset.chapter) option.textContent = title;
    }
  }

  const matches = (row, wanted) =>
    wanted.text.every((word) => row.dataset.text.includes(word)) &&
    (!wanted.place || [row.dataset.part, row.dataset.chapter].includes(wanted.place)) &&
    (!wanted.verdict || row.dataset.verdict === wanted.verdict) &&
    (!wanted.kind || row.dataset.kind === wanted.kind) &&
    (!wanted.origin || row.dataset.origin === wanted.origin);

  const filter = () => {
    const wanted = Object.fromEntries(fields.map((name) => [name, form.elements[name].value]));
    wanted.text = wanted.text.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !matches(row, wanted);
      shown += !row.hidden;
    }
    for (const chapter of chapters) {
      chapter.hidden = !chapter.querySelector("tbody tr:not([hidden])");
    }
    // A paper of which nothing is left goes with its heading.
    for (const paper of papers) {
      paper.hidden = !paper.querySelector(".ledger-chapter:not([hidden])");
    }
    count.textContent = shown
      ? `${shown} of ${rows.length} claims shown`
      : `None of the ${rows.length} claims matches`;
  };

  // The address keeps the choice, so that a filtered ledger can be linked to.
  const remember = () => {
    const address = new URL(location.href);
    address.search = "";
    for (const name of fields) {
      if (form.elements[name].value) address.searchParams.set(name, form.elements[name].value);
    }
    try {
      history.replaceState(null, "", address);
    } catch {
      // A browser may refuse this for a page that is read from a file.
    }
  };

  const recall = () => {
    for (const [name, value] of new URL(location.href).searchParams) {
      if (fields.includes(name)) form.elements[name].value = value;
    }
  };

  // A link to a claim shows it, whatever was chosen.
  const reveal = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target?.hidden) {
      form.reset();
      filter();
      target.scrollIntoView();
    }
  };

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    filter();
    remember();
  });
  form.addEventListener("reset", () => {
    // The fields are empty only after this event.
    setTimeout(() => {
      filter();
      remember();
    });
  });
  addEventListener("hashchange", reveal);

  recall();
  form.hidden = false;
  filter();
  reveal();
}
