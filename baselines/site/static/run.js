// The charts of one training, with a cursor that all of them share.
"use strict";
const cursor = document.getElementById("cursor");
const step = document.getElementById("step");
const chartOf = new Map(data.charts.map(chart => [chart.id, chart]));
const drawn = new Map();
const lastStep = Math.max(...data.charts.flatMap(chart => chart.curves.flatMap(curve => curve.x)));

function nearest(curve, x) {
  let best = 0;
  curve.x.forEach((other, index) => { if (Math.abs(other - x) < Math.abs(curve.x[best] - x)) best = index; });
  return curve.y[best];
}

function moveCursor() {
  const x = lastStep * cursor.value / 1000;
  step.textContent = Math.round(x).toLocaleString("en-US");
  drawn.forEach((plot, id) => {
    const place = plot.scale("x").apply(x);
    let rule = plot.querySelector(".cursor-rule");
    if (!rule) {
      rule = document.createElementNS("http://www.w3.org/2000/svg", "line");
      rule.setAttribute("class", "cursor-rule");
      rule.setAttribute("stroke", "currentColor");
      plot.append(rule);
    }
    const height = Number(plot.getAttribute("height"));
    Object.entries({x1: place, x2: place, y1: 12, y2: height - 40}).forEach(([key, value]) => rule.setAttribute(key, value));
    const chart = chartOf.get(id);
    document.querySelector(`[data-values="${id}"]`).textContent = chart.curves
      .map(curve => [curve.name, nearest(curve, x)]).filter(([, value]) => value !== null)
      .map(([name, value]) => `${name} ${numberText(value)}`).join(", ");
  });
}

keepDrawn(document.querySelectorAll("[data-chart]"), box => {
  const plot = drawCurves(box, chartOf.get(box.dataset.chart), {steps: [0, lastStep]});
  if (!plot) return;
  drawn.set(box.dataset.chart, plot);
  plot.addEventListener("pointermove", event => {
    const x = plot.scale("x").invert(event.clientX - plot.getBoundingClientRect().left);
    cursor.value = Math.round(1000 * Math.max(0, Math.min(1, x / lastStep)));
    moveCursor();
  });
  moveCursor();
});
cursor.addEventListener("input", moveCursor);
