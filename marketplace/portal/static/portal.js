// Draws each plot from the figures in its own element; the table below says the same without it.
"use strict";
for (const place of document.querySelectorAll("[data-plot]")) {
  const { cap, points, forecast = [], begins = [] } = JSON.parse(place.dataset.plot);
  const chart = echarts.init(place, null, { renderer: "canvas" });
  const days = [...points, ...forecast].map(([day]) => day).concat(begins).sort();
  const line = [[days[0], cap], [days[days.length - 1], cap]];
  chart.setOption({
    animation: false,
    grid: { left: 90, right: 24, top: 24, bottom: 40 },
    tooltip: { trigger: "axis" },
    xAxis: { type: "time", axisLabel: { hideOverlap: true } },
    yAxis: { type: "value", min: 0 },
    series: [
      { type: "line", step: "end", data: points, showSymbol: points.length < 40, color: "#0b5cad" },
      { type: "line", data: line, showSymbol: false, color: "#a3161f", lineStyle: { type: "dashed" } },
      { type: "line", data: forecast, color: "#0b5cad", lineStyle: { type: "dotted" } },
      ...begins.map((day) => (
        { type: "line", data: [[day, 0], [day, cap]], showSymbol: false, color: "#14683a", lineStyle: { width: 1 } }
      )),
    ],
  });
  addEventListener("resize", () => chart.resize());
}
