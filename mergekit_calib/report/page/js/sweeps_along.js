// Each metric along λ (or a sweep's first numeric axis): one chart for each sweep, side by side on the same scale.
calib.along = (() => {
  const { run, finite, number, decimals, interval, label } = calib;

  const axisOf = (sweep) => (["lambda", ...sweep.axes].find((axis) => sweep.axes.includes(axis) && new Set(sweep.points.map((p) => p.axes[axis]).filter(finite)).size > 1));

  // The points by curve: those that differ only in this axis. The chosen point's curve has the band.
  function rowsOf(sweep, measure) {
    const axis = axisOf(sweep), rest = (p) => JSON.stringify(Object.entries(p.axes).filter(([name]) => name !== axis));
    const rows = d3.sort(sweep.points.filter((p) => finite(p.axes[axis]) && finite(p.values[measure.name]?.value)), (p) => p.axes[axis])
      .map((p) => ({ p, at: p.axes[axis], rest: rest(p), ...p.values[measure.name] }));
    const own = rows.find((r) => r.p.selected)?.rest ?? rows[0]?.rest;
    return { axis, rows, own: rows.filter((r) => r.rest === own), others: rows.filter((r) => r.rest !== own), predicted: (sweep.predicted[measure.name] ?? []).filter(([, v]) => finite(v)).map(([at, value]) => ({ at, value })) };
  }

  function make(host, measure) {
    const data = run.sweeps.map((sweep) => rowsOf(sweep, measure));
    const ends = data.flatMap((d) => [...d.rows.flatMap((r) => [r.value, r.low, r.high]), ...d.predicted.map((r) => r.value)]).filter(finite);
    const parents = run.sweeps.map((sweep) => sweep.points.filter((p) => p.role && finite(p.values[measure.name]?.value)));
    const domain = d3.extent([...ends, ...parents.flat().map((p) => p.values[measure.name].value)]);
    run.sweeps.forEach((sweep, i) => {
      const { axis, rows, own, others, predicted } = data[i];
      if (!rows.length) return;
      const frame = calib.figure.frame(host, `along-${measure.name}-${i}`), places = decimals(rows);
      frame.set({
        title: sweep.label, subtitle: measure.name,
        description: `${measure.name} over ${calib.axisLabel(axis)}, ${rows.length} scored points, from ${number(d3.min(rows, (r) => r.value), places)} to ${number(d3.max(rows, (r) => r.value), places)}.`,
        draw: (width) => drawing(width, frame, sweep, i, { axis, rows, own, others, predicted, parents: parents[i], domain, measure, places }),
        numbers: () => ({ columns: ["point", calib.axisLabel(axis), measure.name, "low", "high"], rows: rows.map((r) => [label(r.p), r.at, r.value, r.low, r.high]) }),
      });
    });
  }

  function drawing(width, frame, sweep, i, { axis, rows, own, others, predicted, parents, domain, measure, places }) {
    const [low, high] = d3.extent([...rows, ...predicted], (r) => r.at), beyond = axis === "lambda" && high > 1;
    const banded = own.filter((r) => finite(r.low) && finite(r.high)), chosen = own.find((r) => r.p.selected);
    const ofSweep = { x: "at", y: "value", stroke: null };
    const svg = Plot.plot({
      width, height: Math.round(Math.max(200, 0.62 * width)), marginLeft: 46, marginRight: 14, marginTop: 12, marginBottom: 38,
      style: { background: "none", fontSize: "11px", color: "inherit" },
      x: { label: null, domain: [low, high], inset: 6, ticks: 6 }, y: { label: null, ticks: 5, inset: 6, domain, nice: true },
      marks: [
        beyond ? Plot.rect([0], { x1: Math.max(1, low), x2: high, className: "extrapolated", fill: null, insetRight: -6 }) : null,
        Plot.gridY({ className: "grid", ticks: 5 }),
        ...parents.map((p, k) => Plot.ruleY([p.values[measure.name].value], { className: `parent-line aside p${k % 8}`, stroke: null })),
        sweep.is_predicted ? Plot.ruleX(banded, { x: "at", y1: "low", y2: "high", className: `sweep-whisker ${calib.plane.look(i)}`, stroke: null }) : Plot.areaY(banded, { x: "at", y1: "low", y2: "high", className: `sweep-band ${calib.plane.look(i)}`, fill: null }),
        Plot.line(others, { ...ofSweep, z: "rest", className: "curve-line other" }),
        sweep.is_predicted ? null : Plot.line(own, { ...ofSweep, className: `sweep-line ${calib.plane.look(i)}` }),
        Plot.line(predicted, { ...ofSweep, className: `sweep-line predicted ${calib.plane.look(i)}` }),
        Plot.dot(own, { x: "at", y: "value", r: 3, className: `sweep-dot ${calib.plane.look(i)}`, fill: null }),
        chosen ? Plot.dot([chosen], { x: "at", y: "value", r: 7, className: `sweep-ring ${calib.plane.look(i)}`, stroke: null }) : null,
      ],
    });
    const x = svg.scale("x"), y = svg.scale("y"), bottom = svg.height.baseVal.value;
    d3.select(svg).append("text").attr("class", "axis-title").attr("x", width - 14).attr("y", bottom - 4).attr("text-anchor", "end").text(`${calib.axisLabel(axis)} →`);
    const spot = (r) => ({ x: x.apply(r.at), y: y.apply(r.value), top: 12, bottom: bottom - 38 });
    calib.figure.scrub(svg, frame, own.map(spot), (k) => [`${label(own[k].p)}${own[k].p.selected ? ", chosen" : ""}`, `${measure.name} ${number(own[k].value, places)}`, interval(own[k], places)].filter(Boolean));
    return svg;
  }

  return { make };
})();
