// How a chapter is read: code folded until it is wanted, figures enlarged, previews of what a link
// leads to, and everything open on paper. Without this script the folds open one by one.
(() => {
  "use strict";

  const CODE = "details.hide";
  const KEY = "ncb-code";
  const remembered = () => {
    try {
      return localStorage.getItem(KEY) === "open";
    } catch {
      return false;
    }
  };
  const remember = (open) => {
    try {
      localStorage.setItem(KEY, open ? "open" : "folded");
    } catch {
      // a private window
    }
  };

  // A hash such as #50% names no place.
  const name = (hash) => {
    try {
      return decodeURIComponent(hash.slice(1));
    } catch {
      return "";
    }
  };

  // ---- one switch for all code, in all tabs
  function switchCode() {
    const folds = [...document.querySelectorAll(CODE)];
    const title = document.querySelector(".bd-article h1");
    if (!folds.length || !title) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "ncb-all-code";
    let all = false;
    const apply = (open) => {
      for (const fold of folds) fold.open = open;
      button.textContent = open ? "Fold the code" : "Show all code";
      all = open;
    };
    button.addEventListener("click", () => {
      remember(!all);
      apply(!all);
    });
    (document.querySelector(".ncb-facts") || title).insertAdjacentElement(
      document.querySelector(".ncb-facts") ? "beforeend" : "afterend",
      button,
    );
    apply(remembered());
    window.addEventListener("storage", (event) => {
      if (event.key === KEY) apply(remembered());
    });
  }

  // ---- the code of a figure stands in the fold before the mark that its cell left
  function openCode() {
    document.addEventListener("click", (event) => {
      const link = event.target.closest("a.ncb-to-code");
      const mark = link && document.querySelector(link.hash);
      const fold = mark && mark.closest(".cell")?.querySelector(CODE);
      if (!fold) return;
      event.preventDefault();
      fold.open = true;
      fold.querySelector("summary").focus({ preventScroll: true });
      fold.scrollIntoView({ block: "start" });
    });
  }

  // ---- a figure as large as the window
  function enlarge() {
    document.addEventListener("click", (event) => {
      const link = event.target.closest("a.ncb-enlarge");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      const figure = link.closest("figure");
      const scene = figure.querySelector(".ncb-scene");
      const drawing = scene || [...figure.querySelectorAll(".ncb-figure > svg")].find((svg) => svg.getClientRects().length);
      if (!drawing || !window.HTMLDialogElement) return;
      event.preventDefault();
      const dialog = document.createElement("dialog");
      dialog.className = "ncb-large";
      const close = document.createElement("button");
      close.type = "button";
      close.textContent = "Close";
      close.addEventListener("click", () => dialog.close());
      // What turns goes into the dialog itself, and back to its place in the end.
      const place = document.createComment("");
      if (scene) scene.replaceWith(place);
      const large = scene || drawing.cloneNode(true);
      if (!scene) large.style.maxWidth = "none";
      dialog.setAttribute("aria-label", figure.querySelector("figcaption .caption-number")?.textContent || "Figure");
      dialog.append(close, large);
      dialog.addEventListener("close", () => {
        if (scene) place.replaceWith(scene);
        dialog.remove();
      });
      dialog.addEventListener("click", (inside) => {
        if (inside.target === dialog) dialog.close();
      });
      document.body.append(dialog);
      dialog.showModal();
    });
  }

  // ---- previews of statements, equations, terms, sources and figures' captions
  const shown = { link: null, tip: null, timer: 0 };
  const pages = (window.ncbPreviews = window.ncbPreviews || {});
  const loading = new Map();

  function pageOf(link) {
    const root = document.documentElement.dataset.content_root || "./";
    const base = new URL(root, location.href);
    const target = new URL(link.href);
    target.hash = "";
    if (!target.href.startsWith(base.href)) return null;
    return { base, name: target.href.slice(base.href.length).replace(/\.html.*$/, "") };
  }

  function load(page) {
    if (pages[page.name]) return Promise.resolve();
    if (!loading.has(page.name)) {
      loading.set(
        page.name,
        new Promise((done) => {
          const script = document.createElement("script");
          script.src = new URL(`_static/previews/${page.name}.js`, page.base).href;
          script.onload = script.onerror = done;
          document.head.append(script);
        }),
      );
    }
    return loading.get(page.name);
  }

  function hide() {
    clearTimeout(shown.timer);
    shown.tip?.remove();
    shown.link?.removeAttribute("aria-describedby");
    shown.link = shown.tip = null;
  }

  async function show(link) {
    const page = pageOf(link);
    const id = name(link.hash);
    if (!page || !id) return;
    await load(page);
    const text = pages[page.name]?.[id];
    if (!text || shown.link !== link) return;
    const tip = document.createElement("div");
    tip.className = "ncb-tip";
    tip.id = "ncb-tip";
    tip.setAttribute("role", "tooltip");
    tip.innerHTML = text;
    tip.addEventListener("mouseleave", hide);
    document.body.append(tip);
    shown.tip = tip;
    link.setAttribute("aria-describedby", tip.id);
    place(link, tip);
    if (window.MathJax?.typesetPromise) {
      await window.MathJax.typesetPromise([tip]);
      if (shown.tip === tip) place(link, tip);
    }
  }

  function place(link, tip) {
    const at = link.getClientRects()[0];
    if (!at) return;
    const above = at.top > tip.offsetHeight + 16 || at.top > innerHeight - at.bottom;
    const left = Math.min(Math.max(8, at.left), innerWidth - tip.offsetWidth - 8);
    tip.style.left = `${Math.max(8, left) + scrollX}px`;
    tip.style.top = `${(above ? at.top - tip.offsetHeight - 6 : at.bottom + 6) + scrollY}px`;
  }

  function previews() {
    const wanted = (target) => {
      const link = target instanceof Element && target.closest(".bd-article a[href*='#']");
      return link && !link.matches(".headerlink, .ncb-to-code, .ncb-name") ? link : null;
    };
    const begin = (link, wait) => {
      if (link === shown.link) return;
      hide();
      shown.link = link;
      shown.timer = setTimeout(() => show(link), wait);
    };
    document.addEventListener("mouseover", (event) => {
      const link = wanted(event.target);
      if (link) begin(link, 250);
    });
    document.addEventListener("mouseout", (event) => {
      const to = event.relatedTarget;
      if (shown.link && !(to instanceof Element && (shown.link.contains(to) || shown.tip?.contains(to)))) hide();
    });
    document.addEventListener("focusin", (event) => {
      const link = wanted(event.target);
      if (link && link.matches(":focus-visible")) begin(link, 0);
    });
    document.addEventListener("focusout", hide);
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") hide();
    });
  }

  // ---- a link to what is folded opens it, and a link to a claim the claim
  function openTarget() {
    const open = () => {
      const target = document.getElementById(name(location.hash));
      if (!target) return;
      const own = target.matches('tr[id^="claim-"]') ? target.querySelector("details") : null;
      for (let one = own || target; one; one = one.parentElement) {
        if (one.matches("details")) one.open = true;
      }
      target.scrollIntoView();
    };
    window.addEventListener("hashchange", open);
    open();
  }

  // ---- paper: everything open
  function paper() {
    let closed = [];
    window.addEventListener("beforeprint", () => {
      closed = [...document.querySelectorAll(".bd-article details:not([open])")];
      for (const one of closed) one.open = true;
    });
    window.addEventListener("afterprint", () => {
      for (const one of closed) one.open = false;
      closed = [];
    });
  }

  function start() {
    switchCode();
    openCode();
    enlarge();
    previews();
    openTarget();
    paper();
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
