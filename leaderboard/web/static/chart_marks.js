// The marks of each kind of chart: functions from a chart's data to marks of Observable Plot.
// Colors are variables of charts.css and pages.css, so that charts follow the color scheme.
"use strict";
const COLORS = [0, 1, 2, 3, 4, 5].map(index => `var(--series-${index})`);
const DASHES = [null, "6 3", "2 2", "9 2 2 2", "4 4", "10 3"];
const TIERS = {
  safe: {symbol: "circle", fill: "var(--safe)", stroke: "var(--page)"},
  feasible: {symbol: "diamond", fill: "var(--feasible)", stroke: "var(--page)"},
  violating: {symbol: "times", fill: "none", stroke: "var(--violating)", dash: "3 3"},
  unranked: {symbol: "circle", fill: "var(--page)", stroke: "var(--quiet)"},
};
const GRID = "var(--grid)";

function tierDots(series, size) {
  const look = TIERS[series.name];
  return Plot.dot(series.points, {
    x: "x", y: "y", r: size, symbol: look.symbol, fill: look.fill, stroke: look.stroke,
    strokeWidth: look.symbol === "times" ? 2.5 : 1.2, className: "points",
  });
}

const chartMarks = {
  intervals(chart) {
    return [
      Plot.ruleX([0, 1], {stroke: GRID, strokeDasharray: "2 3"}),
      ...chart.series.flatMap(series => {
        const look = TIERS[series.name];
        const stroke = look.fill === "none" ? look.stroke : look.fill;
        return [
          Plot.ruleY(series.points, {y: "y", x1: "low", x2: "high", stroke, strokeWidth: look.dash ? 1.5 : 2, strokeDasharray: look.dash}),
          tierDots(series, 4.5),
        ];
      }),
    ];
  },

  lines(chart) {
    return chart.series.flatMap((series, index) => {
      const color = COLORS[index % COLORS.length];
      const band = series.points.some(point => point.low !== undefined);
      return [
        band ? Plot.areaY(series.points, {x: "x", y1: "low", y2: "high", fill: color, fillOpacity: 0.15}) : null,
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
      Plot.line(front, {x: "x", y: "y", curve: "step-after", stroke: GRID, strokeDasharray: "4 3", className: "front"}),
      ...chart.series.map(series => tierDots(series, 5)),
      Plot.tip(chart.series.flatMap(series => series.points), Plot.pointer({x: "x", y: "y", title: "title", fontSize: 12})),
    ];
  },

  dots(chart) {
    const points = chart.series[0].points;
    return [
      Plot.ruleY([0], {stroke: GRID, strokeOpacity: 0.5}),
      Plot.dot(points, {x: "x", y: "y", r: 6, fill: COLORS[0], fillOpacity: 0.55, stroke: COLORS[0], className: "points"}),
      Plot.tip(points, Plot.pointerX({x: "x", y: "y", title: "title", fontSize: 12})),
    ];
  },
};

function limitMark(chart) {
  if (chart.limit === null) return null;
  const style = {stroke: "var(--violating)", strokeWidth: 1.5, strokeDasharray: "7 3", className: "limit"};
  return chart.limitOn === "x" ? Plot.ruleX([chart.limit], style) : Plot.ruleY([chart.limit], style);
}
