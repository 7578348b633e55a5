// Lines over the steps of a training, for run.js and compared.js.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const COLORS = [0, 1, 2, 3, 4, 5].map(index => `var(--series-${index})`);
const DASHES = [null, "6 3", "2 2", "9 2 2 2", "4 4", "10 3"];
const plain = new Intl.NumberFormat("en-US", {maximumSignificantDigits: 3});
const large = new Intl.NumberFormat("en-US", {notation: "compact", maximumSignificantDigits: 3});

function numberText(value) {
  const size = Math.abs(value);
  const text = size >= 10000 ? large.format(value).replace("K", "k")
    : size > 0 && size < 0.001 ? value.toExponential(1) : plain.format(value);
  return text.replace("-", "\u2212");
}

function pointsOf(curve) {
  return curve.x.map((x, index) => ({x, y: curve.y[index]})).filter(({y}) => y !== null);
}

function extentOf(charts) {
  const values = charts.flatMap(chart => [...chart.curves.flatMap(curve => curve.y), ...chart.lines.map(([value]) => value)])
    .filter(value => value !== null && (!charts[0].log || value > 0));
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return low < high ? [low, high] : [low - 1, high + 1];
}

function drawCurves(box, chart, options = {}) {
  const width = Math.floor(box.clientWidth);
  if (width < 80) return null;
  const lines = chart.lines.filter(([value]) => !chart.log || value > 0);
  const domain = options.domain || extentOf([chart]);
  const plot = Plot.plot({
    width, height: options.height || Math.round(Math.max(190, Math.min(280, width * 0.5))), className: "chart-drawing",
    marginTop: 12, marginRight: 16, marginBottom: 40, marginLeft: 62, inset: 4,
    x: {label: "steps", labelArrow: "none", labelAnchor: "center", labelOffset: 36, grid: true, domain: options.steps,
      ticks: Math.max(2, Math.min(6, Math.round(width / 130))), tickFormat: numberText},
    y: {label: null, grid: true, type: chart.log ? "log" : "linear", domain, ticks: 5, nice: true, tickFormat: numberText},
    marks: [
      Plot.ruleY(lines.map(([value]) => value), {stroke: "var(--grid)", strokeWidth: 1.5, strokeDasharray: "4 3"}),
      ...chart.curves.map((curve, index) => Plot.line(pointsOf(curve), {
        x: "x", y: "y", stroke: COLORS[index % 6], strokeDasharray: DASHES[index % 6], strokeWidth: 2,
      })),
      ...chart.curves.filter(curve => curve.x.length < 3).map(curve => Plot.dot(pointsOf(curve), {x: "x", y: "y", fill: "var(--series-0)"})),
    ],
  });
  // Plot's own <style> is removed, since the page's policy allows only style sheets.
  plot.querySelectorAll("style").forEach(style => style.remove());
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", `${chart.title} over the steps of the training`);
  if (options.names !== false) {
    lines.forEach(([value, name]) => {
      const text = document.createElementNS("http://www.w3.org/2000/svg", "text");
      text.textContent = name;
      const y = plot.scale("y").apply(value);
      for (const [key, given] of Object.entries({x: width - 18, y: y < 30 ? y + 14 : y - 5, class: "reference", "text-anchor": "end"})) {
        text.setAttribute(key, given);
      }
      plot.append(text);
    });
  }
  box.replaceChildren(plot);
  return plot;
}

// Draws a box again whenever its width changes.
function keepDrawn(boxes, draw) {
  const widths = new Map();
  const again = box => {
    if (widths.get(box) === box.clientWidth) return;
    widths.set(box, box.clientWidth);
    draw(box);
  };
  const watcher = new ResizeObserver(entries => entries.forEach(({target}) => requestAnimationFrame(() => again(target))));
  boxes.forEach(box => { again(box); watcher.observe(box); });
}
