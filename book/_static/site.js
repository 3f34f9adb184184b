// Small things that style sheets cannot do: boxes that scroll sideways can be reached by keyboard, and
// the theme's buttons have names that fit what they show.
(() => {
  "use strict";

  const WIDE = "pre, div.math, mjx-container, .cell_output .output, .ncb-scroll, .pst-scrollable-table-container, dl.py > dt";

  function reachable() {
    for (const formula of document.querySelectorAll('mjx-container:not([display="true"])')) {
      formula.classList.remove("ncb-wide-formula");
      const line = formula.closest("p, li, dd, dt, td, th, h1, h2, h3, h4");
      if (line && !line.closest("td, th") && formula.offsetWidth > line.clientWidth) {
        formula.classList.add("ncb-wide-formula");
      }
    }
    for (const box of document.querySelectorAll(WIDE)) {
      const scrolls = box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).overflowX !== "visible";
      // The theme, too, minds some of them, a while after the page's size has changed.
      if (scrolls && box.tabIndex < 0) {
        box.tabIndex = 0;
        box.dataset.ncbReachable = "";
      } else if (!scrolls && "ncbReachable" in box.dataset) {
        box.removeAttribute("tabindex");
        delete box.dataset.ncbReachable;
      }
    }
  }

  function nameButtons() {
    // The name is then what the button shows: "Search Ctrl + K".
    for (const button of document.querySelectorAll(".search-button-field")) button.removeAttribute("aria-label");
    for (const icon of document.querySelectorAll("i[class*='fa-'], span[class*='fa-']")) icon.setAttribute("aria-hidden", "true");
    for (const toggle of document.querySelectorAll(".bd-sidebar-primary summary")) {
      const page = toggle.closest("li").querySelector("a");
      toggle.setAttribute("aria-label", `Pages of ${page ? page.textContent.trim() : "this part"}`);
    }
  }

  // Paper is white, whatever the screen is.
  function printLight() {
    const page = document.documentElement.dataset;
    const paper = window.matchMedia("print");
    let before;
    paper.addEventListener("change", () => {
      if (paper.matches) [before, page.theme] = [page.theme, "light"];
      else page.theme = before;
    });
  }

  function start() {
    nameButtons();
    printLight();
    reachable();
    window.addEventListener("resize", reachable);
    document.addEventListener("toggle", reachable, true);
    // MathJax sets the formulas after the page has loaded; their widths are known only then.
    const typeset = window.MathJax && window.MathJax.startup && window.MathJax.startup.promise;
    if (typeset) typeset.then(reachable);
  }

  if (document.readyState === "complete") start();
  else window.addEventListener("load", start);
})();
