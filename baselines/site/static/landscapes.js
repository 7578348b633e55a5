// The loss of each part around a policy: colors and contours on one scale, at a chosen moment.
"use strict";
const moment = document.getElementById("moment");
if (moment) {
  const everyValue = data.landscapes.flatMap(slice => slice.values.flat(2)).filter(value => value !== null).sort(d3.ascending);
  const scaleRange = [d3.quantile(everyValue, 0.01), d3.quantile(everyValue, 0.99)];
  const isDark = matchMedia("(prefers-color-scheme: dark)");

  const drawSlice = box => {
    const slice = data.landscapes[Number(moment.value)];
    const part = Number(box.dataset.landscape);
    const width = Math.floor(box.clientWidth);
    if (width < 80) return;
    const [alphas, betas] = [slice.alphas, slice.betas];
    const cells = slice.values[part].flat().map(value => value === null ? NaN : value);
    const places = slice.places.map(([x, y]) => ({x, y}));
    const ends = values => [values[0], values[values.length - 1]];
    // Plot fills rows of a raster from the bottom; values are [alpha][beta], so they are turned.
    const turned = betas.flatMap((_, j) => alphas.map((_, i) => cells[i * betas.length + j]));
    const grid = {width: alphas.length, height: betas.length, x1: ends(alphas)[0], x2: ends(alphas)[1], y1: ends(betas)[0], y2: ends(betas)[1]};
    const plot = Plot.plot({
      width, height: Math.min(width, 420), className: "chart-drawing", marginLeft: 52, marginBottom: 40, marginRight: 12, marginTop: 10,
      x: {label: slice.places.length ? "first direction of the path" : "first direction", labelArrow: "none", labelAnchor: "center", labelOffset: 36,
        domain: ends(alphas), ticks: 4, tickFormat: numberText},
      y: {label: null, domain: ends(betas), ticks: 4, tickFormat: numberText},
      color: {scheme: "viridis", domain: scaleRange, clamp: true},
      marks: [
        Plot.raster(turned, {...grid, interpolate: "none", fill: d => d}),
        Plot.contour(turned, {...grid, stroke: "white", strokeOpacity: 0.6, thresholds: 9, fill: "none"}),
        Plot.line(places, {x: "x", y: "y", stroke: "white", strokeWidth: 1.5}),
        Plot.dot(places, {x: "x", y: "y", fill: "white", stroke: "black", r: 3}),
        Plot.dot([[0, 0]], {symbol: "times", stroke: "white", strokeWidth: 2.5, r: 6}),
      ],
    });
    plot.querySelectorAll("style").forEach(style => style.remove());
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", `Loss of ${slice.names[part]} ${slice.title}`);
    box.replaceChildren(plot);
    const known = cells.filter(value => !Number.isNaN(value));
    document.querySelector(`[data-range="${part}"]`).textContent =
      `from ${numberText(Math.min(...known))} to ${numberText(Math.max(...known))}`;
    document.getElementById("moment-name").textContent = slice.title;
  };

  const boxes = document.querySelectorAll("[data-landscape]");
  keepDrawn(boxes, drawSlice);
  moment.addEventListener("input", () => boxes.forEach(drawSlice));
  isDark.addEventListener("change", () => boxes.forEach(drawSlice));
}
