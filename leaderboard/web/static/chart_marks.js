// The marks of each kind of chart: functions from a chart's data to marks of Observable Plot.
"use strict";
const COLORS = ["#0b5a9c", "#b3500c", "#14663f", "#87388f", "#00717a", "#5b6470"];
const DASHES = [null, "6 3", "2 2", "9 2 2 2", "4 4", "10 3"];
const TIERS = {
  safe: {fill: "#14663f", symbol: "circle"},
  feasible: {fill: "#0b5a9c", symbol: "diamond"},
  violating: {fill: "#b3261e", symbol: "times", stroke: "#b3261e"},
  unranked: {fill: "#ffffff", symbol: "circle", stroke: "#5b6470"},
};
const LIMIT = "#b3261e";

const chartMarks = {
  intervals(chart) {
    const points = chart.series[0].points;
    return [
      Plot.ruleX([0, 1], {stroke: "#aab4bf", strokeDasharray: "2 3"}),
      Plot.ruleY(points, {y: "y", x1: "low", x2: "high", stroke: COLORS[0], strokeWidth: 2}),
      Plot.dot(points, {y: "y", x: "x", r: 4.5, fill: COLORS[0]}),
    ];
  },

  lines(chart) {
    return chart.series.flatMap((series, index) => {
      const color = COLORS[index % COLORS.length];
      const band = series.points.some(point => point.low !== undefined);
      return [
        band ? Plot.areaY(series.points, {x: "x", y1: "low", y2: "high", fill: color, fillOpacity: 0.13}) : null,
        Plot.line(series.points, {x: "x", y: "y", stroke: color, strokeWidth: 2, strokeDasharray: DASHES[index % DASHES.length], className: "series"}),
      ];
    });
  },

  steps(chart) {
    return chart.series.map((series, index) =>
      Plot.line(series.points, {
        x: "x", y: "y", curve: "step-after", stroke: COLORS[index % COLORS.length], strokeWidth: 2,
        strokeDasharray: DASHES[index % DASHES.length], className: "series",
      }));
  },

  scatter(chart) {
    const front = chart.front.map(([x, y]) => ({x, y}));
    return [
      Plot.line(front, {x: "x", y: "y", curve: "step-after", stroke: "#8b96a3", strokeDasharray: "4 3", className: "front"}),
      ...chart.series.map(series => {
        const look = TIERS[series.name];
        return Plot.dot(series.points, {
          x: "x", y: "y", r: 5, symbol: look.symbol, fill: look.symbol === "times" ? "none" : look.fill,
          stroke: look.stroke || "#ffffff", strokeWidth: look.symbol === "times" ? 2.5 : 1.2, className: "points",
        });
      }),
      Plot.tip(chart.series.flatMap(series => series.points), Plot.pointer({x: "x", y: "y", title: "title", fontSize: 12})),
    ];
  },

  dots(chart) {
    const points = chart.series[0].points;
    return [
      Plot.ruleY([0], {stroke: "#d9dee5"}),
      Plot.dot(points, {x: "x", y: "y", r: 6, fill: COLORS[0], fillOpacity: 0.55, stroke: COLORS[0], className: "points"}),
      Plot.tip(points, Plot.pointerX({x: "x", y: "y", title: "title", fontSize: 12})),
    ];
  },
};

function limitMark(chart) {
  if (chart.limit === null) return null;
  const style = {stroke: LIMIT, strokeWidth: 1.5, strokeDasharray: "7 3", className: "limit"};
  return chart.limitOn === "x" ? Plot.ruleX([chart.limit], style) : Plot.ruleY([chart.limit], style);
}
