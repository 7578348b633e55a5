// Draws the charts from their JSON data in the page, again whenever their width changes.
"use strict";
const charts = JSON.parse(document.getElementById("charts").textContent);
const plain = new Intl.NumberFormat("en-GB", {maximumSignificantDigits: 3});
const large = new Intl.NumberFormat("en-US", {notation: "compact", maximumSignificantDigits: 3});

function tickText(value) {
  const text = Math.abs(value) >= 10000 ? large.format(value).replace("K", "k") : plain.format(value);
  return text.replace("-", "\u2212");
}

function scaleOf(axis, width) {
  const scale = {label: axis.label || null, labelArrow: "none", grid: true, tickFormat: tickText};
  if (axis.log) scale.type = "log";
  if (axis.low !== null) scale.domain = [axis.low, axis.high];
  else scale.nice = true;
  if (axis.ticks.length) {
    Object.assign(scale, {axis: null, grid: false}); // see axisMarks
  } else {
    scale.ticks = Math.max(3, Math.min(7, Math.round(width / 110)));
  }
  return scale;
}

// A logarithmic scale omits the labels of some ticks, so these axes are drawn as marks.
function axisMarks(chart, width) {
  const marks = [];
  for (const [name, axisOf, gridOf] of [["x", Plot.axisX, Plot.gridX], ["y", Plot.axisY, Plot.gridY]]) {
    const axis = chart[name];
    const every = axis.ticks.length > 5 && width < 480 ? 2 : 1;
    const ticks = axis.ticks.filter((_, index) => index % every === 0);
    if (!ticks.length) continue;
    const places = ticks.map(([place]) => place);
    const text = ticks.map(([, text]) => text);
    const label = name === "x" ? {labelAnchor: "center", labelOffset: 40} : {};
    marks.push(gridOf(places), axisOf(places, {text, label: axis.label, labelArrow: "none", ...label}));
  }
  return marks;
}

function heightOf(chart, width) {
  if (chart.kind === "intervals") return 70 + 24 * rowNames(chart).length;
  return chart.kind === "dots" ? 96 : Math.round(Math.max(260, Math.min(340, width * 0.6)));
}

// The names of a chart with one row per point, by row.
function rowNames(chart) {
  const names = [];
  chart.series.forEach(series => series.points.forEach(point => { names[point.y] = point.label; }));
  return names;
}

function textWidth(text) {
  const canvas = textWidth.canvas || (textWidth.canvas = document.createElement("canvas"));
  const context = canvas.getContext("2d");
  context.font = "12px system-ui, sans-serif";
  return context.measureText(text).width;
}

function optionsOf(chart, width) {
  const options = {
    width, height: heightOf(chart, width), className: "chart-drawing", ariaLabel: chart.label,
    marginTop: 26, marginRight: 16, marginBottom: 44, marginLeft: 58, inset: chart.kind === "scatter" ? 8 : 4,
    x: scaleOf(chart.x, width), y: scaleOf(chart.y, width),
    marks: [...axisMarks(chart, width), limitMark(chart), ...chartMarks[chart.kind](chart)],
  };
  options.x.labelAnchor = "center";
  options.x.labelOffset = 40;
  options.y.ticks = 5;
  if (chart.kind === "intervals") {
    const names = rowNames(chart);
    options.marginLeft = Math.min(0.42 * width, 14 + Math.max(...names.map(textWidth)));
    options.y = {label: null, domain: names.map((_, index) => index), type: "band", tickSize: 0,
      tickFormat: index => fitted(names[index], options.marginLeft - 12)};
  }
  if (chart.kind === "dots") {
    Object.assign(options, {marginLeft: 12, marginTop: 22, inset: 0, insetLeft: 12, insetRight: 12});
    options.y = {axis: null, domain: [-1, 1]};
  }
  return options;
}

function fitted(text, room) {
  while (text.length > 4 && textWidth(text) > room) text = `${text.slice(0, -2).trimEnd()}\u2026`;
  return text;
}

function writeText(svg, text, x, y, name, anchor) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", "text");
  node.textContent = text;
  for (const [key, value] of Object.entries({x, y, class: name, "text-anchor": anchor || "start"})) {
    node.setAttribute(key, value);
  }
  svg.append(node);
}

// Returns the box of the label, for the names that have to avoid it.
function labelLimit(svg, chart, plot, width) {
  if (chart.limit === null) return null;
  if (chart.limitOn === "y") {
    writeText(svg, "limit", width - 18, plot.scale("y").apply(chart.limit) - 5, "limit-label", "end");
    return null;
  }
  const x = plot.scale("x").apply(chart.limit);
  if (chart.kind === "dots") {  // no title above the axis
    writeText(svg, "limit", x, 16, "limit-label", x > width - 40 ? "end" : x < 40 ? "start" : "middle");
    return null;
  }
  const fits = x < width - 44;
  writeText(svg, "limit", fits ? x + 5 : x - 5, 36, "limit-label", fits ? "start" : "end");
  return {left: fits ? x : x - 44, right: fits ? x + 44 : x, top: 24, bottom: 40, line: {left: x - 1, right: x + 1}};
}

// A name goes to the first side of its point where it overlaps neither another name nor the edge;
// where there is no room for the name, its first word, the rank, stands alone.
function labelPoints(svg, chart, plot, width, limitBox) {
  const place = point => [plot.scale("x").apply(point.x), plot.scale("y").apply(point.y)];
  const points = chart.series.flatMap(series => series.points);
  const taken = points.map(place).map(([x, y]) => ({left: x - 6, right: x + 6, top: y - 6, bottom: y + 6}));
  if (limitBox) taken.push(limitBox, {...limitBox.line, top: 0, bottom: Infinity});
  const isFree = box => box.left > 58 && box.right < width - 2 && box.top > 20 &&
    taken.every(o => box.right < o.left || o.right < box.left || box.bottom < o.top || o.bottom < box.top);
  points.filter(point => point.label).forEach(point => {
    const [x, y] = place(point);
    for (const text of [point.label, point.label.split(" ")[0]]) {
      const size = textWidth(text) + 2;
      const sides = [[x + 5, y - 8], [x - 5 - size, y - 8], [x - size / 2, y - 10], [x + 9, y + 4],
        [x - 9 - size, y + 4], [x + 5, y + 17], [x - 5 - size, y + 17], [x - size / 2, y + 19]];
      const boxes = sides.map(([left, base]) => ({left, right: left + size, top: base - 11, bottom: base + 3}));
      const found = boxes.find(isFree);
      if (!found) continue;
      taken.push(found);
      writeText(svg, text, found.left, found.bottom - 3, "mark-label");
      break;
    }
  });
}

function draw(chart, box) {
  const width = Math.floor(box.clientWidth);
  if (width < 100 || box.dataset.width === String(width)) return;
  box.dataset.width = String(width);
  const plot = Plot.plot(optionsOf(chart, width));
  // Plot's own <style> is removed, since the page's policy allows only style sheets; see tables.css.
  plot.querySelectorAll("style").forEach(style => style.remove());
  plot.setAttribute("role", "img");
  const limitBox = labelLimit(plot, chart, plot, width);
  if (chart.kind === "scatter") labelPoints(plot, chart, plot, width, limitBox);
  box.replaceChildren(plot);
}

const chartOf = new Map(charts.map(chart => [chart.id, chart]));
const watcher = new ResizeObserver(entries => entries.forEach(({target}) => {
  requestAnimationFrame(() => draw(chartOf.get(target.dataset.chart), target));
}));
document.querySelectorAll("[data-chart]").forEach(box => {
  draw(chartOf.get(box.dataset.chart), box);
  watcher.observe(box);
});
