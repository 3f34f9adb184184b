// Scenes: points and strokes that turn under the pointer or the arrow keys, and a slider over frames.
// While a scene plays, what moves goes in straight lines from one frame to the next. It draws what
// ncbook/figures/scene.py draws as a still, from the same numbers. It needs no other script, and runs in
// a page as well as in a notebook's output.
(() => {
  "use strict";

  const SIZE = 400;
  const HALF = 180;
  const NS = "http://www.w3.org/2000/svg";

  // Where places are on the panel, and how near to the eye.
  function project(places, view, dimensions) {
    if (dimensions === 2) return places.map(([x, y]) => [SIZE / 2 + HALF * x, SIZE / 2 - HALF * y, 0]);
    const [a, e] = view.map((degrees) => (degrees * Math.PI) / 180);
    const [ca, sa, ce, se] = [Math.cos(a), Math.sin(a), Math.cos(e), Math.sin(e)];
    return places.map(([x, y, z]) => {
      const flat = ca * x + sa * y;
      return [SIZE / 2 + HALF * (ca * y - sa * x), SIZE / 2 - HALF * (ce * z - se * flat), ce * flat + se * z];
    });
  }

  const element = (name, attributes) => {
    const made = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };

  // The places of a layer at a frame, or between two.
  function placesAt(places, frame, dimensions) {
    const last = places.length - 1;
    const from = places[Math.min(Math.floor(frame), last)];
    const to = places[Math.min(Math.ceil(frame), last)];
    const share = frame % 1;
    return from.map((place, i) => {
      if (place[0] === null || to[i]?.[0] == null) return new Array(dimensions).fill(NaN);
      return share ? place.map((x, j) => x + share * (to[i][j] - x)) : place;
    });
  }

  // The elements of one panel, those far from the eye first.
  function shapes(panel, view, frame, dimensions) {
    const drawn = [];
    for (const layer of panel.layers) {
      const at = project(placesAt(layer.places, frame, dimensions), view, dimensions);
      const opacity = layer.faint ? 0.35 : 0.9;
      if (layer.kind === "points") {
        for (const [x, y, z] of at) {
          if (Number.isNaN(x)) continue;
          drawn.push([z, element("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r: layer.size, fill: layer.colour, opacity })]);
        }
      } else if (layer.kind === "words") {
        at.forEach(([x, y], i) => {
          if (Number.isNaN(x)) return;
          const text = element("text", { x: x.toFixed(1), y: y.toFixed(1), "font-size": layer.size, "text-anchor": "middle", fill: layer.colour });
          text.textContent = layer.words[i];
          drawn.push([2, text]);
        });
      } else {
        let part = [];
        const end = () => {
          if (part.length > 1) {
            const d = "M" + part.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L");
            const depth = part.reduce((sum, [, , z]) => sum + z, 0) / part.length;
            drawn.push([depth, element("path", { d, fill: "none", stroke: layer.colour, "stroke-width": layer.size, opacity })]);
          }
          part = [];
        };
        for (const place of at) {
          if (Number.isNaN(place[0])) end();
          else part.push(place);
        }
        end();
      }
    }
    return drawn.sort((one, other) => one[0] - other[0]).map(([, shape]) => shape);
  }

  function mount(box) {
    const data = JSON.parse(box.querySelector("script[type='application/json']").textContent);
    const still = box.querySelector("svg, img");
    const label = box.dataset.label || still.getAttribute("aria-label") || still.getAttribute("alt") || "";
    const stage = document.createElement("div");
    stage.className = "ncb-stage";
    stage.style.cssText = "display:flex;flex-wrap:wrap;justify-content:center;gap:4px";
    let view = [...data.view];
    let frame = data.begin;
    const panels = data.panels.map((panel, i) => {
      const svg = element("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, role: "img", "aria-label": i ? panel.title || `panel ${i + 1}` : label });
      svg.style.cssText = "flex:1 1 300px;max-width:640px;min-width:0;height:auto;touch-action:pan-y;fill:currentColor;font-family:sans-serif";
      svg.dataset.scene = "";
      stage.append(svg);
      return { panel, svg };
    });
    const names = new Map();
    for (const { panel } of panels) for (const layer of panel.layers) if (layer.name && !names.has(layer.name)) names.set(layer.name, layer.colour);
    const legend = document.createElement("p");
    legend.className = "ncb-scene-legend";
    legend.style.cssText = "display:flex;flex-wrap:wrap;gap:0 1rem;justify-content:center;margin:0;font-size:.85rem";
    for (const [name, colour] of names) {
      const entry = document.createElement("span");
      entry.innerHTML = '<span aria-hidden="true">●</span> ';
      entry.firstChild.style.color = colour;
      entry.append(name);
      legend.append(entry);
    }

    function draw() {
      for (const { panel, svg } of panels) {
        svg.replaceChildren(...shapes(panel, view, frame, data.dimensions));
        if (panel.title) {
          const title = element("text", { x: SIZE / 2, y: 14, "text-anchor": "middle", "font-size": 14 });
          title.textContent = panel.title;
          svg.append(title);
        }
      }
    }
    let asked = 0;
    const redraw = () => {
      if (asked) return;
      asked = requestAnimationFrame(() => {
        asked = 0;
        draw();
      });
    };

    const controls = document.createElement("div");
    controls.className = "ncb-scene-controls";
    controls.style.cssText = "display:flex;flex-wrap:wrap;gap:.2rem .8rem;align-items:center;justify-content:center;font-size:.9rem";
    if (data.dimensions === 3) {
      for (const { svg } of panels) {
        svg.tabIndex = 0;
        svg.style.cursor = "grab";
        svg.addEventListener("pointerdown", (down) => {
          svg.setPointerCapture(down.pointerId);
          let [x, y] = [down.clientX, down.clientY];
          const move = (event) => {
            turn((x - event.clientX) / 2, (event.clientY - y) / 2);
            [x, y] = [event.clientX, event.clientY];
          };
          const up = () => {
            svg.removeEventListener("pointermove", move);
            svg.removeEventListener("pointerup", up);
            svg.removeEventListener("pointercancel", up);
          };
          svg.addEventListener("pointermove", move);
          svg.addEventListener("pointerup", up);
          svg.addEventListener("pointercancel", up);
        });
        svg.addEventListener("keydown", (event) => {
          const by = { ArrowLeft: [5, 0], ArrowRight: [-5, 0], ArrowUp: [0, 5], ArrowDown: [0, -5] }[event.key];
          if (!by) return;
          event.preventDefault();
          turn(...by);
        });
      }
      const reset = document.createElement("button");
      reset.type = "button";
      reset.textContent = "Reset the view";
      reset.addEventListener("click", () => {
        view = [...data.view];
        redraw();
      });
      const hint = document.createElement("span");
      hint.textContent = "Drag to turn, or use the arrow keys.";
      controls.append(hint, reset);
    }
    function turn(azimuth, elevation) {
      view = [view[0] + azimuth, Math.max(-90, Math.min(90, view[1] + elevation))];
      redraw();
    }

    if (data.frames.length > 1) {
      const play = document.createElement("button");
      const range = document.createElement("input");
      const said = document.createElement("output");
      play.type = "button";
      Object.assign(range, { type: "range", min: 0, max: data.frames.length - 1, step: 1, value: frame });
      range.style.cssText = "flex:1 1 12rem;max-width:24rem;color:inherit";
      range.setAttribute("aria-label", data.frame_name || "frame");
      said.setAttribute("aria-live", "off"); // the slider itself is spoken
      const to = (next) => {
        frame = next;
        const near = Math.round(next);
        range.value = near;
        const words = `${data.frame_name} ${data.frames[near]}`.trim();
        if (said.textContent !== words) said.textContent = words;
        range.setAttribute("aria-valuetext", words);
        redraw();
      };
      let [playing, last] = [0, 0];
      const stop = () => {
        cancelAnimationFrame(playing);
        playing = 0;
        play.textContent = "Play";
      };
      const pace = Math.max(1000 / 60, Math.min(500, 8000 / (data.frames.length - 1))); // ms a frame
      const go = () => {
        if (playing) return;
        play.textContent = "Pause";
        if (frame >= data.frames.length - 1) to(0);
        last = 0;
        const step = (now) => {
          const passed = last ? Math.min(now - last, 100) : 0;
          last = now;
          to(Math.min(frame + passed / pace, data.frames.length - 1));
          if (frame < data.frames.length - 1) playing = requestAnimationFrame(step);
          else stop();
        };
        playing = requestAnimationFrame(step);
      };
      play.addEventListener("click", () => (playing ? stop() : go()));
      range.addEventListener("input", () => {
        stop();
        to(Number(range.value));
      });
      // Once by itself, where that is asked for, when it is seen, and for readers who want motion.
      if ("play" in box.dataset && matchMedia("(prefers-reduced-motion: no-preference)").matches) {
        new IntersectionObserver((entries, watching) => {
          if (!entries.some((entry) => entry.isIntersecting)) return;
          watching.disconnect();
          go();
        }).observe(stage);
      }
      stop();
      to(frame);
      controls.prepend(play, range, said);
    }
    still.classList.add("ncb-on-paper");
    still.style.display = "none";
    still.before(stage, legend, controls);
    draw();
    box.ncbScene = { data, project, get view() { return view; }, get frame() { return frame; } };
  }

  function start() {
    for (const box of document.querySelectorAll(".ncb-scene:not([data-mounted])")) {
      box.dataset.mounted = "";
      mount(box);
    }
  }

  // Where the page is still being read, the data of a scene come in a script that runs after this one.
  if (document.readyState === "complete") start();
  else for (const [on, then] of [[document, "DOMContentLoaded"], [window, "load"]]) on.addEventListener(then, start);
})();
