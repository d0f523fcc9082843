"use strict";

/* Charts, the picture sheets' slider, the dividers' values for screen readers, and printing. */
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const root = document.documentElement;
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const lastStep = Math.max(0, ...charts.flatMap((chart) => chart.curves.map((curve) => curve.steps.at(-1) ?? 0)));
  const plots = [];

  /* Curves of one chart may have different steps; uPlot needs one common row of steps with gaps. */
  function table(chart) {
    const steps = [...new Set(chart.curves.flatMap((curve) => curve.steps))].sort((a, b) => a - b);
    const columns = chart.curves.map((curve) => {
      const at = new Map(curve.steps.map((step, i) => [step, curve.values[i]]));
      return steps.map((step) => (at.has(step) ? at.get(step) : undefined));
    });
    const levels = Object.values(chart.limits).map((level) => steps.map(() => level));
    return [steps, ...columns, ...levels];
  }

  function short(value) {
    if (value == null) return "–";
    const size = Math.abs(value);
    const rounded = Number(value.toPrecision(5));
    return size !== 0 && (size < 1e-3 || size >= 1e6) ? rounded.toExponential() : String(rounded);
  }

  /* Legend value: the value at the cursor, otherwise the last. */
  function formatCursorValue(made, value, column, at) {
    return short(at == null ? made.data[column].findLast((one) => one != null) : value);
  }

  function tint(name, i) {
    const own = ["red", "green", "blue"].find((word) => name.endsWith(`colour_${word}`));
    return () => colour(own ? `--${own}` : `--curve-${i % 4}`);
  }

  function series(chart) {
    const curves = chart.curves.map((curve, i) => ({
      label: curve.name,
      stroke: tint(curve.name, i),
      width: 2,
      dash: curve.is_reference ? [6, 4] : undefined,
      spanGaps: false,
      points: { show: curve.steps.length < 25, size: 5 },
      value: formatCursorValue,
    }));
    const levels = Object.keys(chart.limits).map((words) => ({
      label: words,
      stroke: () => colour("--faint"),
      width: 1.5,
      dash: [3, 4],
      points: { show: false },
      value: formatCursorValue,
    }));
    return [{ label: "step", value: formatCursorValue }, ...curves, ...levels];
  }

  const axis = {
    stroke: () => colour("--faint"),
    grid: { stroke: () => colour("--line"), width: 1 },
    ticks: { stroke: () => colour("--line"), width: 1 },
    font: "12px system-ui, sans-serif",
  };

  /* Every chart shows the whole run unless it is zoomed, so that charts can be compared. */
  function wholeRun(steps, from, to) {
    return from === steps[0] && to === steps.at(-1) ? [0, Math.max(1, lastStep)] : [from, to];
  }

  const axisWidth = (_, labels) => 18 + 7 * Math.max(2, ...(labels ?? []).map((label) => label.length));

  function plot(figure) {
    const chart = charts[Number(figure.dataset.chart)];
    const place = figure.querySelector(".plot");
    const data = table(chart);
    const chartPlot = new uPlot(
      {
        width: place.clientWidth,
        height: 190,
        scales: { x: { time: false, range: (_, from, to) => wholeRun(data[0], from, to) } },
        axes: [
          { ...axis, size: 30, values: (_, ticks) => ticks.map(short) },
          { ...axis, size: axisWidth, values: (_, ticks) => ticks.map(short) },
        ],
        series: series(chart),
        cursor: { sync: { key: "steps" }, y: false },
        legend: { live: true },
      },
      data,
      place,
    );
    figure.uplot = chartPlot;
    chartPlot.root.querySelector(".u-legend").setAttribute("aria-hidden", "true"); // the label of the plot has the same text
    plots.push(chartPlot);
    new ResizeObserver(() => chartPlot.setSize({ width: place.clientWidth, height: 190 })).observe(place);
  }

  function toggleFirstTenth() {
    const box = document.getElementById("later");
    if (!box) return;
    box.closest("p").hidden = false;
    box.addEventListener("change", () => {
      for (const made of plots) {
        const steps = made.data[0];
        const [from, to] = box.checked ? [lastStep / 10, lastStep] : [steps[0], steps.at(-1)];
        made.setScale("x", { min: from, max: to });
      }
    });
  }

  function connectSheetSlider() {
    const sheets = [...document.querySelectorAll(".sheet")];
    const slider = document.getElementById("step");
    if (!slider) return;
    const show = () => {
      sheets.forEach((sheet, i) => (sheet.hidden = i !== Number(slider.value)));
      const step = sheets[Number(slider.value)].dataset.step;
      document.getElementById("step-shown").textContent = step;
      slider.setAttribute("aria-valuetext", `after ${step} steps`);
    };
    slider.closest("p").hidden = false;
    slider.addEventListener("input", show);
    show();
  }

  function updateDividerValues() {
    for (const divider of document.querySelectorAll("img-comparison-slider")) {
      divider.addEventListener("slide", () => divider.setAttribute("aria-valuenow", String(Math.round(divider.value))));
    }
  }

  function redraw() {
    for (const made of plots) made.redraw(false, true);
  }

  function print() {
    const closed = [];
    addEventListener("beforeprint", () => {
      root.dataset.print = "";
      closed.push(...document.querySelectorAll("details:not([open])"));
      closed.forEach((details) => (details.open = true));
      redraw();
    });
    addEventListener("afterprint", () => {
      delete root.dataset.print;
      closed.splice(0).forEach((details) => (details.open = false));
      redraw();
    });
  }

  document.querySelectorAll(".chart").forEach(plot);
  toggleFirstTenth();
  connectSheetSlider();
  updateDividerValues();
  print();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
})();
