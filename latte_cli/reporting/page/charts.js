"use strict";
// Curves: one uPlot chart for each group of metrics, all zoomed together.
const Charts = (() => {
  const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const state = { axis: "step", smoothing: 0.6, marks: true, hidden: new Set(), zoom: null };
  const charts = [];
  const dashes = [[], [8, 4], [2, 3], [10, 3, 2, 3]];

  function compact(value) {
    if (value == null) return "";
    const size = Math.abs(value);
    if (size >= 1e9) return +(value / 1e9).toPrecision(4) + "G";
    if (size >= 1e6) return +(value / 1e6).toPrecision(4) + "M";
    if (size >= 1e4) return +(value / 1e3).toPrecision(4) + "k";
    if (size !== 0 && size < 1e-3) return (+value.toPrecision(3)).toExponential();
    return String(+value.toPrecision(5));
  }

  // Hours of training at a step, between the two that are known around it.
  function hoursAt(hours, step) {
    const { x, y } = hours;
    if (step <= x[0]) return y[0] * step / x[0];
    if (step >= x[x.length - 1]) return y[y.length - 1];
    let low = 0, high = x.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (x[middle] <= step) low = middle; else high = middle;
    }
    return y[low] + (y[high] - y[low]) * (step - x[low]) / (x[high] - x[low]);
  }

  function position(run, step) {
    if (state.axis === "clips") return run.batch ? step * run.batch : null;
    if (state.axis === "hours") return run.hours ? hoursAt(run.hours, step) : null;
    return step;
  }

  // A running mean that is not biased towards its first value.
  function smooth(values, weight) {
    if (!weight) return values;
    let sum = 0, total = 0;
    return values.map(value => {
      sum = weight * sum + (1 - weight) * value;
      total = weight * total + (1 - weight);
      return sum / total;
    });
  }

  const axisNames = { step: "training step", clips: "clips seen", hours: "hours of training" };

  // The lines of a chart: of each run that is shown, and each key that it has.
  function linesOf(chart, runs) {
    const lines = [];
    runs.forEach((run, number) => {
      if (state.hidden.has(number)) return;
      if (chart.points) {
        chart.lines.filter(line => line.run === number).forEach((line, index) => {
          lines.push({
            run, name: `${run.name}, ${line.protocol}`, color: style(`--c${number % 8}`),
            dash: dashes[index % 4], x: line.points.map(p => p[0]), y: line.points.map(p => p[1]),
            low: line.points.map(p => p[2]), high: line.points.map(p => p[3]), points: true,
          });
        });
        return;
      }
      Object.entries(chart.lines).forEach(([key, name], index) => {
        const curve = run.curves[key];
        if (!curve) return;
        const many = Object.keys(chart.lines).length > 1;
        const byKey = runs.length === 1 && many;
        lines.push({
          run, name: runs.length === 1 ? name : many ? `${run.name}, ${name}` : run.name,
          color: style(`--c${(byKey ? index : number) % 8}`), dash: byKey ? [] : dashes[index % 4],
          x: curve.x, y: curve.y, lo: curve.lo, hi: curve.hi,
        });
      });
    });
    return lines;
  }

  // Few points are shown as they are: a running mean would only lag behind them.
  const isSmoothed = line => !line.points && line.y.length >= 30;

  function tablesOf(lines, log) {
    const usable = value => (value == null || (log && value <= 0) ? null : value);
    return lines.map(line => {
      const x = line.x.map(step => position(line.run, step));
      if (x.includes(null)) return null;
      const mean = isSmoothed(line) ? smooth(line.y, state.smoothing) : line.y;
      const low = line.lo || line.y, high = line.hi || line.y;
      return [x, ...[mean, low, high].map(values => values.map(usable))];
    });
  }

  function drawMarks(u, chart, lines) {
    const { ctx } = u, ratio = devicePixelRatio || 1, { left, top, width, height } = u.bbox;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, width, height);
    ctx.clip();
    ctx.lineWidth = ratio;
    ctx.textAlign = "left";
    ctx.textBaseline = "bottom";
    ctx.font = `${11 * ratio}px system-ui, sans-serif`;
    for (const mark of chart.marks || []) {
      const y = u.valToPos(mark.value, "y", true);
      ctx.setLineDash([5 * ratio, 4 * ratio]);
      ctx.strokeStyle = ctx.fillStyle = style("--muted");
      ctx.beginPath();
      ctx.moveTo(left, y);
      ctx.lineTo(left + width, y);
      ctx.stroke();
      ctx.fillText(mark.name, left + 4 * ratio, y - 2 * ratio);
    }
    ctx.setLineDash([]);
    for (const line of lines.filter(each => each.points)) {
      ctx.strokeStyle = line.color;
      line.x.forEach((step, index) => {
        if (line.low[index] == null) return;
        const x = u.valToPos(position(line.run, step), "x", true);
        ctx.beginPath();
        ctx.moveTo(x, u.valToPos(line.low[index], "y", true));
        ctx.lineTo(x, u.valToPos(line.high[index], "y", true));
        ctx.stroke();
      });
    }
    if (state.marks) {
      for (const run of new Set(lines.map(line => line.run))) {
        for (const event of run.events) {
          const at = position(run, event.step);
          if (at == null) continue;
          const x = u.valToPos(at, "x", true);
          ctx.strokeStyle = style(event.kind === "restart" ? "--restart" : "--spike");
          ctx.setLineDash(event.kind === "restart" ? [2 * ratio, 3 * ratio] : []);
          ctx.globalAlpha = 0.65;
          ctx.beginPath();
          ctx.moveTo(x, top);
          ctx.lineTo(x, top + (event.kind === "spike" ? 10 * ratio : height));
          ctx.stroke();
        }
      }
    }
    ctx.restore();
  }

  // The vertical range with room for intervals and horizontal marks.
  function rangeOf(chart, lines, log) {
    return (u, min, max) => {
      const extra = (chart.marks || []).map(mark => mark.value);
      for (const line of lines) if (line.points) extra.push(...line.low, ...line.high);
      const values = [min, max, ...extra].filter(v => v != null && isFinite(v) && !(log && v <= 0));
      if (!values.length) return [log ? 0.1 : 0, 1];
      const low = Math.min(...values), high = Math.max(...values);
      if (high - low <= 1e-6 * Math.abs(high)) {
        const room = Math.abs(high) / 5 || 1; // a constant, but for the rounding of its mean
        return [high - room, high + room];
      }
      if (log) return uPlot.rangeLog(low, high, 10, false);
      const room = (high - low) * (extra.length ? 0.12 : 0.06); // the names of marks need some
      return [low >= 0 && low - room < 0 ? 0 : low - room, high + room];
    };
  }

  function nearest(line, at) {
    let best = -1, distance = Infinity;
    line.x.forEach((step, index) => {
      const d = Math.abs(position(line.run, step) - at);
      if (d < distance) { distance = d; best = index; }
    });
    return best;
  }

  function readout(entry, at) {
    if (at == null) { entry.readout.textContent = ""; return; }
    const parts = entry.lines.map(line => {
      const index = nearest(line, at);
      if (index < 0) return "";
      const range = line.lo ? ` (${compact(line.lo[index])} to ${compact(line.hi[index])})`
        : line.low && line.low[index] != null
          ? ` (${compact(line.low[index])} to ${compact(line.high[index])})` : "";
      return `${line.name} ${compact(line.y[index])}${range}`;
    });
    const x = state.axis === "hours" ? `${compact(at)} h` : compact(Math.round(at));
    entry.readout.textContent = `${axisNames[state.axis]} ${x}: ${parts.join(" · ")}`;
  }

  function zoomTo(range) {
    state.zoom = range;
    for (const entry of charts) {
      if (!entry.plot) continue;
      const x = entry.plot.data[0];
      const [min, max] = range || [x[0], x[x.length - 1]];
      entry.plot.setScale("x", { min, max });
    }
  }

  function draw(entry, runs) {
    const { chart, place } = entry;
    if (entry.plot) { entry.plot.destroy(); entry.plot = null; }
    entry.lines = linesOf(chart, runs);
    const tables = tablesOf(entry.lines, entry.log);
    entry.lines = entry.lines.filter((_, index) => tables[index]);
    const drawn = tables.filter(Boolean);
    entry.key.replaceChildren(...(entry.lines.length > 1 || runs.length > 1 ? entry.lines : []).map(line => {
      const item = document.createElement("li"), swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.setProperty("--swatch", line.color);
      item.append(swatch, line.name);
      return item;
    }));
    entry.readout.style.minHeight = `${1.5 * Math.ceil(entry.lines.length / 2)}em`;
    if (!drawn.length) { place.textContent = "Nothing to show for the chosen runs."; return; }
    place.textContent = "";
    const series = [{}], bands = [];
    for (const line of entry.lines) {
      const start = series.length;
      series.push({
        stroke: line.color, width: 2, dash: line.dash, points: { show: !!line.points, size: 7, fill: line.color },
      });
      const faint = !line.points && (line.lo || (state.smoothing && isSmoothed(line)));
      const edge = { stroke: line.color, width: 1, alpha: faint ? 0.28 : 0, points: { show: false } };
      series.push(edge, { ...edge, show: !!line.lo && !line.points });
      if (line.lo) bands.push({ series: [start + 2, start + 1], fill: line.color + "30" });
    }
    const text = style("--muted"), grid = { stroke: style("--grid"), width: 1 };
    const axis = { stroke: text, grid, ticks: grid, font: "12px system-ui, sans-serif",
      labelFont: "12px system-ui, sans-serif", labelSize: 18 };
    entry.plot = new uPlot({
      width: place.clientWidth, height: 250, legend: { show: false }, series, bands,
      scales: { x: { time: false }, y: { distr: entry.log ? 3 : 1, range: rangeOf(chart, entry.lines, entry.log) } },
      axes: [
        { ...axis, label: axisNames[state.axis], values: (u, splits) => splits.map(compact), space: 70 },
        { ...axis, label: chart.unit, size: 64, values: (u, splits) => splits.map(compact) },
      ],
      cursor: { drag: { x: true, y: false, setScale: false }, points: { show: false }, y: false },
      hooks: {
        draw: [u => drawMarks(u, chart, entry.lines)],
        setCursor: [u => readout(entry, u.cursor.left >= 0 ? u.posToVal(u.cursor.left, "x") : null)],
        setSelect: [u => {
          if (u.select.width < 3) return;
          zoomTo([u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x")]);
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        }],
      },
    }, uPlot.join(drawn), place);
    entry.plot.over.addEventListener("dblclick", () => zoomTo(null));
    if (state.zoom) entry.plot.setScale("x", { min: state.zoom[0], max: state.zoom[1] });
  }

  function onKey(entry, event) {
    if (!entry.plot || event.ctrlKey || event.metaKey || event.altKey) return;
    const { min, max } = entry.plot.scales.x, span = max - min;
    const moves = {
      "+": [min + span / 4, max - span / 4], "=": [min + span / 4, max - span / 4],
      "-": [min - span / 2, max + span / 2],
      ArrowLeft: [min - span / 5, max - span / 5], ArrowRight: [min + span / 5, max + span / 5],
    };
    if (event.key === "0" || event.key === "Escape") zoomTo(null);
    else if (moves[event.key]) zoomTo(moves[event.key]);
    else return;
    event.preventDefault();
  }

  function add(chart, parent, runs) {
    const figure = document.createElement("figure");
    figure.className = "card chart";
    figure.innerHTML = `<figcaption><strong></strong><span class="buttons"><button type="button">log</button></span></figcaption>
      <div class="plot" tabindex="0" role="img"></div><ul class="key"></ul><p class="readout"></p>`;
    const entry = {
      chart, log: !!chart.log, place: figure.querySelector(".plot"), key: figure.querySelector(".key"),
      readout: figure.querySelector(".readout"), lines: [], plot: null,
    };
    figure.querySelector("strong").textContent = chart.title;
    const button = figure.querySelector("button");
    button.setAttribute("aria-label", `log axis of ${chart.title}`);
    button.setAttribute("aria-pressed", entry.log);
    button.addEventListener("click", () => {
      entry.log = !entry.log;
      button.setAttribute("aria-pressed", entry.log);
      draw(entry, runs);
    });
    entry.place.setAttribute("aria-label", `Chart of ${chart.title} by ${axisNames.step}`);
    entry.place.addEventListener("keydown", event => onKey(entry, event));
    parent.append(figure);
    charts.push(entry);
  }

  function redraw(runs) { for (const entry of charts) draw(entry, runs); }

  return { add, redraw, state, zoomTo, charts, compact };
})();
