// One measurement of several trainings, in small charts with the same scales.
"use strict";
const what = document.getElementById("what");

function drawChosen() {
  const chosen = data.runs.map(run => run.charts.find(chart => chart.id === what.value));
  const known = chosen.filter(Boolean);
  const domain = extentOf(known);
  const last = Math.max(...known.flatMap(chart => chart.curves.flatMap(curve => curve.x)));
  document.querySelectorAll("[data-guide]").forEach(guide => { guide.hidden = guide.dataset.guide !== what.value; });
  return box => {
    const chart = chosen[Number(box.dataset.run)];
    if (chart) drawCurves(box, chart, {domain, steps: [0, last], height: 190, names: false});
    else box.textContent = "not measured";
  };
}

let draw = drawChosen();
const boxes = document.querySelectorAll("[data-run]");
keepDrawn(boxes, box => draw(box));
what.addEventListener("change", () => { draw = drawChosen(); boxes.forEach(box => draw(box)); });
