// The ledger's filter and its two views: chapters that fold, and one table that can be sorted.
// Without it the chapters open one by one.
"use strict";

{
  const form = document.getElementById("ledger-filter");
  const count = document.getElementById("ledger-count");
  const chapters = [...document.querySelectorAll(".ledger-chapter")];
  // The sections of the papers: those with claims, less the one around them and this form.
  const papers = [...document.querySelectorAll("section:has(.ledger-chapter)")].filter(
    (section) => !section.contains(form),
  );
  const choices = ["text", "place", "verdict", "kind", "origin"];
  const fields = [...choices, "view"];

  const titleOf = (chapter) => {
    const line = chapter.querySelector("summary p").cloneNode(true);
    line.querySelector(".tally")?.remove();
    return line.textContent.trim();
  };

  // A line that opens a chapter is no link too: the link goes to the head of what it opens.
  for (const chapter of chapters) {
    const link = chapter.querySelector("summary a");
    if (!link) continue;
    const line = document.createElement("p");
    link.replaceWith(link.textContent);
    line.append("Read the chapter: ", link);
    chapter.querySelector("summary").after(line);
  }

  // The claims in the book's order, and where each belongs.
  const claims = chapters.flatMap((chapter) => {
    const title = titleOf(chapter);
    // A chapter is offered by its title.
    for (const option of form.elements.place.options) {
      if (title && option.value === chapter.dataset.chapter) option.textContent = title;
    }
    return [...chapter.querySelectorAll("tbody tr")].map((row) => ({ row, chapter, title }));
  });
  claims.forEach((claim, place) => {
    const { row } = claim;
    const numbers = row.dataset.sort.split(",").map((one) => (one === "None" ? NaN : Number(one)));
    claim.id = row.querySelector("dt + dd").textContent;
    claim.home = row.parentElement;
    // What the filter looks into: not the control, nor the name before a reason.
    const said = [...row.querySelectorAll(".sentence, details > .about, details > .reason")].map((one) => {
      const copy = one.cloneNode(true);
      for (const less of copy.querySelectorAll(".control, strong")) less.remove();
      return copy.textContent;
    });
    claim.text = [claim.id, ...said, row.dataset.verdict].join(" ").toLowerCase();
    claim.used = numbers[2];
    claim.keys = {
      place,
      verdict: row.dataset.verdict,
      id: claim.id,
      claim: row.querySelector(".sentence").textContent.trim(),
      measured: numbers[0],
      expected: numbers[1],
      used: numbers[2],
      chapter: claim.title,
    };
  });

  // ---- the filter

  const matches = ({ row, chapter, text }, wanted) =>
    wanted.text.every((word) => text.includes(word)) &&
    (!wanted.place || [chapter.dataset.part, chapter.dataset.chapter].includes(wanted.place)) &&
    (!wanted.verdict || row.dataset.verdict === wanted.verdict) &&
    (!wanted.kind || row.dataset.kind === wanted.kind) &&
    (!wanted.origin || row.dataset.origin === wanted.origin);

  let folded = null; // the chapters that were closed before a choice opened them

  const filter = () => {
    const wanted = Object.fromEntries(choices.map((name) => [name, form.elements[name].value]));
    const chosen = choices.some((name) => wanted[name].trim());
    wanted.text = wanted.text.toLowerCase().split(/\s+/).filter(Boolean);
    const left = new Set();
    let shown = 0;
    for (const claim of claims) {
      claim.row.hidden = !matches(claim, wanted);
      if (!claim.row.hidden) left.add(claim.chapter);
      shown += !claim.row.hidden;
    }
    if (chosen) folded ??= chapters.filter((chapter) => !chapter.open);
    for (const chapter of chapters) {
      chapter.hidden = !left.has(chapter);
      if (chosen && left.has(chapter)) chapter.open = true;
    }
    if (!chosen && folded) {
      for (const chapter of folded) chapter.open = false;
      folded = null;
    }
    const flat = form.elements.view.value === "table";
    // A paper of which nothing is left goes with its heading, and all do beside the table.
    for (const paper of papers) {
      paper.hidden = flat || !chapters.some((one) => left.has(one) && paper.contains(one));
    }
    if (!shown) count.textContent = `None of the ${claims.length} claims matches`;
    else if (chosen) count.textContent = `${shown} of ${claims.length} claims match`;
    else count.textContent = `${claims.length} claims`;
  };

  // ---- one table of all claims: their rows move there and back

  const COLUMNS = {
    verdict: "Verdict",
    id: "Id",
    claim: "Claim",
    measured: "Measured",
    expected: "Expected",
    used: "Tolerance used",
    chapter: "Chapter",
  };
  // A column, with a minus before it from the greatest down; nothing for the book's order.
  let sort = "";
  let table = null;

  const cell = (name, content) => {
    const made = document.createElement("td");
    made.setAttribute("role", "cell");
    made.className = name;
    made.append(content);
    return made;
  };

  const build = () => {
    table = document.createElement("div");
    table.className = "ncbook-claims ledger-table";
    table.tabIndex = 0;
    table.setAttribute("role", "region");
    table.setAttribute("aria-label", "All claims, a table that scrolls");
    table.innerHTML =
      '<table role="table" aria-label="All claims"><thead role="rowgroup"><tr role="row"></tr>' +
      '</thead><tbody role="rowgroup"></tbody></table>';
    for (const [name, title] of Object.entries(COLUMNS)) {
      const head = document.createElement("th");
      head.setAttribute("role", "columnheader");
      head.scope = "col";
      head.dataset.column = name;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = title;
      button.addEventListener("click", () => {
        // Up, down, and back to the book's order.
        sort = sort === name ? `-${name}` : sort === `-${name}` ? "" : name;
        arrange();
        remember();
      });
      head.append(button);
      table.querySelector("thead tr").append(head);
    }
    form.after(table);
    for (const claim of claims) {
      const share = (100 * claim.used).toPrecision(3).replace("e+", "e");
      const used = Number.isFinite(claim.used) ? `${share} %` : "";
      const link = claim.row.querySelector('details a[aria-label^="In its chapter"]');
      let chapter = claim.title;
      if (link) {
        chapter = document.createElement("a");
        chapter.href = link.href;
        chapter.textContent = claim.title;
      }
      claim.cells = {
        id: cell("id", claim.id),
        end: [cell("used", used), cell("chapter", chapter)],
      };
    }
  };

  const compare = (one, other) => {
    const [a, b] = [one, other].map((claim) => claim.keys[sort.replace("-", "")]);
    // What has no number stands last either way.
    if (typeof a === "number" && isNaN(a) !== isNaN(b)) return isNaN(a) - isNaN(b);
    const order = typeof a === "number" ? a - b || 0 : a.localeCompare(b);
    return (sort.startsWith("-") ? -order : order) || one.keys.place - other.keys.place;
  };

  const arrange = () => {
    const sorted = sort ? [...claims].sort(compare) : claims;
    table.querySelector("tbody").append(...sorted.map((claim) => claim.row));
    for (const head of table.querySelectorAll("th[data-column]")) {
      const way = { [head.dataset.column]: "ascending", [`-${head.dataset.column}`]: "descending" };
      head.setAttribute("aria-sort", way[sort] ?? "none");
    }
  };

  const look = () => {
    const flat = form.elements.view.value === "table";
    if (flat === Boolean(table && !table.hidden)) return;
    if (flat) {
      if (!table) build();
      for (const { row, cells } of claims) {
        row.querySelector(".verdict").after(cells.id);
        row.append(...cells.end);
      }
      arrange();
    } else {
      for (const { row, home, cells } of claims) {
        for (const one of [cells.id, ...cells.end]) one.remove();
        home.append(row);
      }
    }
    table.hidden = !flat;
  };

  // ---- the address keeps the choice, so that what is seen can be linked to

  const remember = () => {
    const address = new URL(location.href);
    address.search = "";
    for (const name of fields) {
      if (form.elements[name].value) address.searchParams.set(name, form.elements[name].value);
    }
    if (sort && form.elements.view.value) address.searchParams.set("sort", sort);
    try {
      history.replaceState(null, "", address);
    } catch {
      // A browser may refuse this for a page that is read from a file.
    }
  };

  const recall = () => {
    for (const [name, value] of new URL(location.href).searchParams) {
      if (fields.includes(name)) form.elements[name].value = value;
      if (name === "sort" && value.replace(/^-/, "") in COLUMNS) sort = value;
    }
  };

  // A link to a claim shows it, whatever was chosen or folded.
  const reveal = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    const claim = target && claims.find(({ row }) => row.contains(target));
    if (!claim) return;
    if (claim.row.hidden) {
      for (const name of choices) form.elements[name].value = "";
      filter();
    }
    claim.chapter.open = true;
    claim.row.querySelector("details").open = true;
    target.scrollIntoView();
  };

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    look();
    filter();
    remember();
  });
  form.addEventListener("reset", () => {
    const view = form.elements.view.value;
    // The fields are empty only after this event.
    setTimeout(() => {
      form.elements.view.value = view;
      filter();
      remember();
    });
  });
  addEventListener("hashchange", reveal);

  recall();
  form.hidden = false;
  look();
  filter();
  reveal();
}
