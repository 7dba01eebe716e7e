// Every metric along an axis: values with intervals, between them a line (the predicted one, if there is one), the parents
// as lines, λ > 1 shaded.
calib.curves = (() => {
  const { run, complete, estimate, number, decimals, interval, finite, el, predicted } = calib;

  // Return the points by curve: points that differ only in this axis form one. `own` is the selected point's curve.
  function curves(axis, measure, picked) {
    const rest = (p) => JSON.stringify(Object.entries(p.axes).filter(([name]) => name !== axis));
    const on = complete.filter((p) => finite(p.axes[axis]) && finite(estimate(p, measure)?.value));
    const rows = d3.sort(on, (p) => p.axes[axis]).map((p) => ({ point: p, at: p.axes[axis], rest: rest(p), ...estimate(p, measure) }));
    const many = new Set(rows.map((r) => r.rest)).size > 1;
    const mine = rows.find((r) => r.point.id === picked)?.rest ?? rows[0]?.rest;
    return { rows, many, own: many ? rows.filter((r) => r.rest === mine) : rows, others: many ? rows.filter((r) => r.rest !== mine) : [] };
  }

  function make(host, state, choose) {
    const frames = new Map(), legend = document.getElementById("curves-legend");

    function set() {
      const metrics = calib.metricsOf(state.scope);
      for (const [metric, frame] of frames) if (!metrics.includes(metric)) frame.remove(), frames.delete(metric);
      document.getElementById("curves-title").textContent = `Every metric along ${calib.axisLabel(state.axis)}`;
      legend.replaceChildren(...keys(metrics));
      for (const metric of metrics) one({ scope: state.scope, metric, direction: calib.direction(metric), name: metric });
    }

    // A legend entry for every kind of line and mark in the charts.
    function keys(metrics) {
      const entry = (mark, words) => el("span", {}, mark, words), { stroke, mark } = calib.marks;
      const drawn = metrics.map((metric) => curves(state.axis, { scope: state.scope, metric }, state.picked));
      const interval = `${calib.percent(run.level)} interval`, has = (test) => drawn.some(test);
      return [
        entry(mark(d3.symbolCircle, "curve-dot"), "scored"),
        has((d) => d.own.some((r) => finite(r.low))) ? entry(stroke(predicted.isUsed ? "curve-whisker" : "curve-band"), interval) : null,
        predicted.isUsed ? null : entry(stroke("curve-line"), "between scored points"),
        predicted.isKnown ? predicted.key("; typical error in standard errors (SE)") : predicted.isUsed ? el("span", {}, "no line: the points do not predict each other") : null,
        has((d) => d.others.length) ? entry(predicted.isUsed ? mark(d3.symbolCircle, "curve-dot other") : stroke("curve-line other"), "other settings of the other axes") : null,
        ...calib.parents.map((p) => entry(stroke(`parent-line ${p.look}`), p.role)),
        ...calib.blends.keys(calib.blends.alongAxis(state.axis, calib.objectives[0])),
        entry(stroke("picked-line"), "the selected point"),
      ].filter(Boolean);
    }

    function one(measure) {
      const axis = state.axis, data = curves(axis, measure, state.picked);
      const objective = calib.objectives.find((o) => o.scope === measure.scope && o.metric === measure.metric);
      const blends = objective ? calib.blends.alongAxis(axis, objective) : [];
      if (!data.rows.length && !blends.length) return frames.get(measure.metric)?.remove(), void frames.delete(measure.metric);
      if (!frames.has(measure.metric)) frames.set(measure.metric, calib.figure.frame(host, `curve-${measure.metric}`));
      const frame = frames.get(measure.metric);
      const parents = calib.parents.map((p) => ({ ...p, ...estimate(p.point, measure) })).filter((p) => finite(p.value));
      const places = decimals(data.rows), line = predicted.alongAxis(axis, measure), unscored = predicted.unscored(line);
      const range = (rows) => `from ${number(d3.min(rows, (r) => r.value), places)} to ${number(d3.max(rows, (r) => r.value), places)}`;
      frame.set({
        title: measure.metric,
        subtitle: [calib.better(measure), predicted.isKnown && !line.length ? "not predicted" : line.length ? predicted.error(measure).replace("standard errors", "SE") : ""].filter(Boolean).join(" · "),
        description: data.rows.length
          ? `${measure.metric} over ${calib.axisLabel(axis)} from ${data.rows[0].at} to ${data.rows.at(-1).at}, ${data.rows.length} scored points, ${range(data.rows)}.${unscored.length ? ` Predicted between them: ${range(unscored)}.` : ""}`
          : `${measure.metric} of the parents' blended log-probabilities, before a point on the axis is scored.`,
        draw: (width) => drawing(width, frame, axis, measure, data, parents, blends, line, places),
        numbers: () => ({
          columns: ["point", calib.axisLabel(axis), measure.metric, "low", "high", "items"],
          rows: [
            ...data.rows.map((r) => [calib.label(r.point), r.at, r.value, r.low, r.high, r.n]), ...unscored.map((p) => [predicted.label(p), p.at, p.value]),
            ...blends.flatMap((c) => c.places.map((p) => [c.name, p.at, p.value])),
          ],
        }),
      });
    }

    function drawing(width, frame, axis, measure, { rows, own, others }, parents, blends, predictedLine, places) {
      const planned = run.axes[axis].filter(finite), known = [...rows.map((r) => r.at), ...planned];
      const [low, high] = d3.extent(known), beyond = axis === "lambda" && high > 1;
      const picked = own.find((r) => r.point.id === state.picked);
      const banded = own.filter((r) => finite(r.low) && finite(r.high));
      const line = (data, other) => [
        predicted.isUsed ? null : Plot.line(data, { x: "at", y: "value", z: "rest", className: `curve-line ${other}`, stroke: null }),
        Plot.dot(data, { x: "at", y: "value", r: other ? 2 : 2.75, className: `curve-dot ${other}`, fill: null }),
      ];
      const svg = calib.axes.plot({
        width, height: Math.round(Math.max(200, 0.62 * width)), marginRight: 14, marginTop: beyond ? 24 : 12, marginBottom: 44,
        style: { background: "none", fontSize: "11px", color: "inherit" },
        x: { label: null, domain: low === high ? [low - 0.5, high + 0.5] : [low, high], inset: 6, ticks: 6 }, y: { label: null, ticks: 5, inset: 6, nice: true },
        marks: [
          beyond ? Plot.rect([0], { x1: Math.max(1, low), x2: high, className: "extrapolated", fill: null, insetRight: -6 }) : null,
          Plot.gridY({ className: "grid", ticks: 5 }),
          picked ? Plot.ruleX([picked.at], { className: "picked-line", stroke: null }) : null,
          predicted.isUsed
            ? Plot.ruleX(banded, { x: "at", y1: "low", y2: "high", className: "curve-whisker", stroke: null })
            : Plot.areaY(banded, { x: "at", y1: "low", y2: "high", className: "curve-band", fill: null }),
          ...parents.map((p) => Plot.ruleY([p.value], { className: `parent-line ${p.look}`, stroke: null })),
          ...blends.map((c) => Plot.line(c.places.filter((p) => p.at >= low && p.at <= high), { x: "at", y: "value", className: c.look, stroke: null })),
          Plot.line(predictedLine, { x: "at", y: "value", className: "predicted-line", stroke: null }),
          ...line(others, "other"),
          ...line(own, ""),
        ],
      });
      const x = svg.scale("x"), y = svg.scale("y"), bottom = svg.height.baseVal.value, root = d3.select(svg);
      root.append("text").attr("class", "axis-title").attr("x", width - 14).attr("y", bottom - 4).attr("text-anchor", "end").text(`${calib.axes.fitted(calib.axisLabel(axis), width - 40)} →`);
      if (beyond) root.append("text").attr("class", "name aside end").attr("x", x.apply(high)).attr("y", 14).text("beyond λ = 1");
      const spot = (r) => ({ x: x.apply(r.at), y: y.apply(r.value), top: 12, bottom: bottom - 44 });
      const words = (name, r, more) => [name, `${measure.metric} ${number(r.value, places)}`, more].filter(Boolean);
      const tell = (i) => words(calib.label(own[i].point), own[i], interval(own[i], places));
      const between = predicted.unscored(predictedLine).map((p) => ({ ...spot(p), words: words(predicted.label(p), p, predicted.error(measure)) }));
      calib.figure.scrub(svg, frame, own.map(spot), tell, (i) => choose(own[i].point.id), own.indexOf(picked), between);
      return svg;
    }

    return { set };
  }

  return { make };
})();
