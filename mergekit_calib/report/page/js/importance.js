// The importance of each axis for a metric: a bar for each axis, with the range over subsets of the points.
calib.importance = (() => {
  const { el } = calib;
  const share = (value) => `${Math.round(100 * value)} %`;
  const tendency = (r) => (r.trend == null || Math.abs(r.trend) < 0.2 ? "" : r.trend > 0 ? "rises with it" : "falls with it");

  // `rows` are those of one metric, as `AxisImportance` of analysis/axis_importance.py.
  function make(host, id, title, rows) {
    const frame = calib.figure.frame(host, id), sorted = d3.sort(rows, (r) => -r.share);
    const tell = (r) => [`${calib.axisLabel(r.axis)}: ${share(r.share)}`, `${share(r.low)} to ${share(r.high)} over subsets of the points`, tendency(r) && `${r.objective} ${tendency(r)} (rank correlation ${calib.number(r.trend, 2)})`].filter(Boolean);
    frame.set({
      title, subtitle: "share of the variance over the points",
      description: sorted.map((r) => `${calib.axisLabel(r.axis)} ${share(r.share)}`).join(", ") + ".",
      draw: (width) => {
        const names = sorted.map((r) => calib.axisLabel(r.axis)), left = Math.min(0.4 * width, 16 + 6.5 * d3.max(names, (n) => n.length));
        const svg = Plot.plot({
          width, height: 46 + 26 * sorted.length, marginLeft: left, marginRight: 60, marginBottom: 30, marginTop: 6,
          style: { background: "none", fontSize: "11px", color: "inherit" },
          x: { label: null, domain: [0, 1], ticks: 5, tickFormat: share }, y: { label: null, domain: names, tickSize: 0 },
          marks: [
            Plot.gridX({ className: "grid", ticks: 5 }),
            Plot.barX(sorted, { y: (r) => calib.axisLabel(r.axis), x: "share", className: "importance-bar", fill: null, insetTop: 4, insetBottom: 4 }),
            Plot.ruleY(sorted, { y: (r) => calib.axisLabel(r.axis), x1: "low", x2: "high", className: "importance-whisker", stroke: null }),
          ],
        });
        const x = svg.scale("x"), y = svg.scale("y");
        for (const r of sorted) {
          const at = y.apply(calib.axisLabel(r.axis)) + y.bandwidth / 2;
          d3.select(svg).append("text").attr("class", "name aside").attr("x", x.apply(Math.max(r.share, r.high)) + 6).attr("y", at + 4).text(`${share(r.share)}${r.trend == null || !tendency(r) ? "" : r.trend > 0 ? " ↗" : " ↘"}`);
        }
        const nearest = (event) => d3.leastIndex(sorted, (r) => Math.abs(y.apply(calib.axisLabel(r.axis)) + y.bandwidth / 2 - d3.pointer(event, svg)[1]));
        const show = (i, say) => frame.show(x.apply(sorted[i].share), y.apply(calib.axisLabel(sorted[i].axis)) + y.bandwidth / 2, tell(sorted[i]), say);
        let current = -1;
        svg.setAttribute("tabindex", "0");
        svg.setAttribute("role", "img");
        svg.addEventListener("pointermove", (event) => show((current = nearest(event)), false));
        svg.addEventListener("pointerleave", frame.hide);
        svg.addEventListener("blur", frame.hide);
        svg.addEventListener("keydown", (event) => {
          const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
          if (event.key === "Escape") return frame.hide();
          if (!step) return;
          show((current = Math.max(0, Math.min(sorted.length - 1, current + step))), true);
          event.preventDefault();
        });
        return svg;
      },
      numbers: () => ({ columns: ["axis", "share", "low", "high", "rank correlation"], rows: sorted.map((r) => [calib.axisLabel(r.axis), r.share, r.low, r.high, r.trend]) }),
    });
  }

  // A chart for each metric that there are importances of.
  function makeAll(host, id, importances, title = (metric) => metric) {
    for (const metric of new Set(importances.map((r) => r.objective)))
      make(host, `${id}-${metric}`, title(metric), importances.filter((r) => r.objective === metric));
  }
  const note = () => el("p", { class: "note" }, "Importance: share of an objective's variance over the scored points that a forest of trees explains by each axis (functional ANOVA); bars' lines are the range over subsets of four fifths of the points. It describes the points that were scored: a search that stays near good points sees less of an axis than a grid. ↗ the metric rises with the axis, ↘ it falls (rank correlation).");
  return { makeAll, note };
})();
