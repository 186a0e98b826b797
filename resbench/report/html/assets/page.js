/* What a report does in a browser: theme, tables that sort and filter, charts. It asks nothing of any server. */
(() => {
  "use strict";
  const root = document.documentElement;
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const spoken = document.getElementById("spoken");
  const touch = matchMedia("(pointer: coarse)").matches; // a finger scrolls the page and does not zoom a chart
  const drawn = new Map(); // plot element -> its chart and the view that is shown

  const PRINTED_WIDTH = 460; // pixels: half of what the style's paper has between its margins
  let printing = false;

  // Theme: as the system, unless a reader chose; the choice is kept where the browser lets a file keep one.
  const themes = ["auto", "light", "dark"];
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  let theme = kept() || "auto";

  function kept() {
    try { return themes.find((name) => name === localStorage.getItem("resbench-theme")); } catch { return null; }
  }

  function applyTheme() {
    root.dataset.theme = theme;
    root.toggleAttribute("data-dark", theme === "dark" || (theme === "auto" && system.matches));
    button.textContent = `Theme: ${theme === "auto" ? "as the system" : theme}`;
    for (const plot of drawn.keys()) draw(plot);
  }

  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    try { localStorage.setItem("resbench-theme", theme); } catch { /* it holds until the page is closed */ }
    applyTheme();
  });
  system.addEventListener("change", applyTheme);

  // Tables.
  for (const table of document.querySelectorAll("table.interactive")) {
    const rows = table.tBodies[0].rows.length;
    new DataTable(table, {
      paging: rows > 100,
      pageLength: 100,
      lengthChange: false,
      info: false,
      order: [],
      autoWidth: false,
      layout: { topStart: null, topEnd: rows > 3 ? "search" : null, bottomStart: null, bottomEnd: rows > 100 ? "paging" : null },
      language: { search: "Filter", zeroRecords: "No row matches." },
    });
  }

  // Charts: drawn when they come near, with the page's own colours.
  const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();

  function faded(hex, opacity) {
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    return `rgba(${red}, ${green}, ${blue}, ${opacity})`;
  }

  function styled(given) {
    const { colour: index, symbol, bar, across, band, step, part, ...trace } = given;
    const own = part !== undefined ? colour(`part-${part}`) : colour(typeof index === "string" ? index : `series-${index}`);
    if (trace.type === "bar") {
      trace.marker = { color: own, line: { color: colour("paper"), width: part !== undefined ? 1 : 0 } };
      if (trace.text) Object.assign(trace, { textposition: "outside", cliponaxis: false, textfont: { color: colour("ink") } });
    } else if (band) {
      Object.assign(trace, { fill: "toself", fillcolor: faded(own, 0.16), line: { width: 0 } });
    } else {
      trace.line = { color: own, width: step ? 1.5 : 2, dash: step ? "dash" : "solid", shape: step ? "hv" : "linear" };
      trace.marker = { color: own, symbol, size: trace.mode === "markers" ? 11 : 6, line: { color: colour("paper"), width: 1 } };
      if (across) trace.error_x = { type: "data", array: across, color: own, thickness: 1.3, width: 4 };
      if (bar) trace.error_y = { type: "data", array: bar, color: own, thickness: 1.3, width: 5 };
    }
    if (trace.hovertext) trace.hoverinfo = "text";
    return trace;
  }

  function axisOf(given) {
    const axis = { gridcolor: colour("grid"), linecolor: colour("line"), zeroline: false, automargin: true, ...given };
    axis.title = { standoff: 8, ...given.title };
    return axis;
  }

  function layoutOf(given, chart) {
    const { xaxis = {}, yaxis = {}, ...rest } = given;
    return {
      ...rest,
      xaxis: axisOf(xaxis),
      yaxis: axisOf(yaxis),
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("ink") },
      margin: { l: 52, r: 14, t: 8, b: 44 },
      hovermode: "closest",
      dragmode: touch ? false : "zoom",
      hoverlabel: { align: "left", bgcolor: colour("raised"), bordercolor: colour("line"), font: { color: colour("ink") } },
      ...(printing ? { autosize: false, width: PRINTED_WIDTH, height: chart.height } : { autosize: true }),
      bargap: 0.35,
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("line"), activecolor: colour("ink") },
      legend: { orientation: "h", traceorder: "normal", x: 0, xanchor: "left", y: -64 / (chart.height - 130), yanchor: "top" },
    };
  }

  function draw(plot) {
    const { chart, shown } = drawn.get(plot);
    const view = chart.views[shown];
    const config = {
      responsive: true,
      displaylogo: false,
      showSendToCloud: false, // what is measured here stays here
      plotlyServerURL: "",
      displayModeBar: touch ? false : "hover",
      modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
      toImageButtonOptions: { format: "svg", filename: plot.parentElement.id },
    };
    return Plotly.react(plot, view.traces.map(styled), layoutOf(view.layout, chart), config);
  }

  function begin(plot) {
    if (!drawn.has(plot)) {
      drawn.set(plot, { chart: charts[plot.parentElement.id], shown: 0 });
      draw(plot);
      plot.addEventListener("keydown", (event) => stepThrough(plot, event));
    }
  }

  for (const input of document.querySelectorAll(".views input")) {
    input.addEventListener("change", () => {
      const plot = input.closest("figure").querySelector(".plot");
      begin(plot);
      drawn.get(plot).shown = Number(input.value);
      drawn.get(plot).point = undefined;
      draw(plot);
    });
  }

  // Arrow keys go from point to point, and what a pointer would show is spoken.
  function stepThrough(plot, event) {
    const way = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!way) return;
    event.preventDefault();
    const points = plot.data.flatMap((trace, curveNumber) =>
      trace.hovertext && trace.visible !== "legendonly"
        ? trace.x.map((_, pointNumber) => ({ curveNumber, pointNumber })) : []);
    const state = drawn.get(plot);
    state.point = state.point === undefined ? (way > 0 ? 0 : points.length - 1) : (state.point + way + points.length) % points.length;
    const at = points[state.point];
    Plotly.Fx.hover(plot, [at]);
    const text = document.createElement("div");
    text.innerHTML = plot.data[at.curveNumber].hovertext[at.pointNumber].replaceAll("<br>", ". "); // escaped when it was made
    spoken.textContent = text.textContent;
  }

  applyTheme();
  const plots = [...document.querySelectorAll(".plot")];
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { near.unobserve(entry.target); begin(entry.target); }
  }, { rootMargin: "300px" });
  plots.forEach((plot) => near.observe(plot));

  // Paper is white: print in the light theme, with every chart drawn and every section open.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const each of folded) each.open = true;
    root.removeAttribute("data-dark");
    printing = true;
    plots.forEach(begin);
    plots.forEach((plot) => draw(plot));
  });
  addEventListener("afterprint", () => {
    for (const each of folded) each.open = false;
    printing = false;
    applyTheme();
  });
})();
