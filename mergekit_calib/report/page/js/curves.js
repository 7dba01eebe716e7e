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
      const keys = calib.parents.length > 2 ? calib.parents.map((p) => el("span", {}, calib.marks.stroke(`parent-line ${p.look}`), p.role)) : [];
      if (calib.blends.alongAxis(state.axis, calib.objectives[0]).length) keys.push(calib.blends.key());
      if (predicted.isUsed) keys.unshift(el("span", {}, calib.marks.mark(d3.symbolCircle, "curve-dot"), "scored"), ...(predicted.isKnown ? [predicted.key()] : []));
      legend.replaceChildren(...keys);
      for (const metric of metrics) one({ scope: state.scope, metric, direction: calib.direction(metric), name: metric });
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
        subtitle: [calib.better(measure), predicted.isKnown && !line.length ? "not predicted" : ""].filter(Boolean).join(" · "),
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
      const svg = Plot.plot({
        width, height: Math.round(Math.max(190, 0.62 * width)), marginLeft: 46, marginRight: 14, marginTop: 12, marginBottom: 38,
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
      root.append("text").attr("class", "axis-title").attr("x", width - 14).attr("y", bottom - 4).attr("text-anchor", "end").text(`${calib.axisLabel(axis)} →`);
      if (beyond && x.apply(high) - x.apply(Math.max(1, low)) > 60)
        root.append("text").attr("class", "name aside end").attr("x", x.apply(high)).attr("y", 22).text("beyond λ = 1");
      if (parents.length <= 2) {
        const lines = [predicted.isUsed ? [] : own, predictedLine, ...blends.map((c) => c.places)].map((line) => line.map((r) => [x.apply(r.at), y.apply(r.value)]));
        name(root, parents.map((p) => ({ role: p.role, y: y.apply(p.value) })), [x.apply(low), x.apply(high)], own.map((r) => [x.apply(r.at), y.apply(r.value)]), lines);
      }
      const spot = (r) => ({ x: x.apply(r.at), y: y.apply(r.value), top: 12, bottom: bottom - 38 });
      const words = (name, r, more) => [name, `${measure.metric} ${number(r.value, places)}`, more].filter(Boolean);
      const tell = (i) => words(calib.label(own[i].point), own[i], interval(own[i], places));
      const between = predicted.unscored(predictedLine).map((p) => ({ ...spot(p), words: words(predicted.label(p), p, predicted.error(measure)) }));
      calib.figure.scrub(svg, frame, own.map(spot), tell, (i) => choose(own[i].point.id), own.indexOf(picked), between);
      return svg;
    }

    return { set };
  }

  // Name the lines of parents, each above or below its line, at the end where the name covers least of dots and lines.
  function name(root, parents, [left, right], dots, lines) {
    const covered = [...dots, ...dots, ...lines.flatMap((line) => calib.labels.along(line.filter((place) => place.every(finite))))];
    const size = (words) => ({ width: 6.3 * words.length, height: 14 }); // nothing is laid out yet
    const taken = root.selectAll(".name").nodes().map((node) => ({ ...size(node.textContent), x: right - size(node.textContent).width, y: 11 }));
    for (const { role, y } of d3.sort(parents, (p) => p.y)) {
      const node = root.append("text").attr("class", "name aside").text(role), { width, height } = size(role);
      const boxes = [[left + 2, y - 3 - height], [left + 2, y + 3], [right - width - 2, y - 3 - height], [right - width - 2, y + 3]].map(([x, top], i) => ({ x, y: top, width, height, i }));
      const meets = (box) => taken.filter((b) => box.x < b.x + b.width && b.x < box.x + width && box.y < b.y + b.height && b.y < box.y + height).length;
      const crossed = (box) => parents.filter((p) => p.y !== y && p.y > box.y && p.y < box.y + height).length;
      const box = d3.least(boxes, (b) => calib.labels.inside(covered, b, 2) + 50 * meets(b) + 5 * crossed(b) + b.i / 10);
      node.attr("x", box.x).attr("y", box.y + 0.8 * height);
      taken.push(box);
    }
  }

  return { make };
})();
