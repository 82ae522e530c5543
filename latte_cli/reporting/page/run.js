"use strict";
// The page about runs: puts charts and previews together, and filters its tables.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { runs } = data, by = id => document.getElementById(id);

  if (runs.some(run => run.previews.length)) {
    by("previews").hidden = false;
    Previews.start(runs, by("step"), by("step-shown"), by("walk"), by("stages"));
  } else by("nav-previews").hidden = true;

  if (data.charts.length) by("curves").hidden = false; else by("nav-curves").hidden = true;
  for (const chart of data.charts) Charts.add(chart, by("charts"), runs);
  for (const chart of data.evaluations) Charts.add({ ...chart, points: true }, by("evaluations"), runs);

  const toggles = by("run-toggles");
  toggles.hidden = runs.length < 2;
  if (runs.length > 1) runs.forEach((run, number) => {
    const label = document.createElement("label"), box = document.createElement("input");
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.setProperty("--swatch", `var(--c${number % 8})`);
    box.type = "checkbox";
    box.checked = true;
    box.addEventListener("change", () => {
      if (box.checked) Charts.state.hidden.delete(number); else Charts.state.hidden.add(number);
      Charts.redraw(runs);
    });
    label.append(box, swatch, run.name);
    toggles.append(label);
  });

  by("axis").addEventListener("change", event => {
    Charts.state.axis = event.target.value;
    Charts.state.zoom = null;
    Charts.redraw(runs);
  });
  by("smoothing").addEventListener("input", event => {
    Charts.state.smoothing = +event.target.value;
    Charts.redraw(runs);
  });
  by("marks").addEventListener("change", event => {
    Charts.state.marks = event.target.checked;
    Charts.redraw(runs);
  });
  by("reset").addEventListener("click", () => Charts.zoomTo(null));

  let width = innerWidth, timer = 0;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(timer);
    timer = setTimeout(() => Charts.redraw(runs), 150);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => Charts.redraw(runs));
  matchMedia("print").addEventListener("change", () => Charts.redraw(runs));
  addEventListener("beforeprint", () => {
    for (const each of document.querySelectorAll("details")) each.open = true;
  });
  requestAnimationFrame(() => Charts.redraw(runs));

  const changed = by("only-changed"), find = by("find-setting");
  const filter = () => {
    for (const row of document.querySelectorAll("table.settings tbody tr")) {
      const found = row.textContent.toLowerCase().includes(find.value.trim().toLowerCase());
      row.hidden = !found || (changed.checked && !find.value && "same" in row.dataset);
    }
  };
  changed.addEventListener("change", filter);
  find.addEventListener("input", filter);
  filter();
})();
