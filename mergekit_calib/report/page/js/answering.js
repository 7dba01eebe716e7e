// The risk-coverage curves of the chosen point and the parents: the error of the answers against the share of questions answered.
calib.answering = (() => {
  const { run, label, el } = calib;
  const host = document.getElementById("answering-figure"), found = run.answering;
  if (!host || !found) return {};

  const shares = (value) => `${(100 * value).toFixed(1)} %`;
  const lines = run.points.filter((p) => found.points[p.id]).map((point) => {
    const look = calib.parents.find((parent) => parent.point.id === point.id)?.look;
    const { chosen, curve } = found.points[point.id];
    return { point, chosen, curve, look: point.selected ? "curve-line" : `parent-line ${look ?? ""}`, dot: point.selected ? "curve-dot" : `mark ${look ?? ""}` };
  }).sort((a, b) => a.point.selected - b.point.selected);
  const main = lines.find((line) => line.point.selected) ?? lines[0];
  const top = Math.min(1, Math.max(1.5 * found.max_error, 1.08 * d3.max(lines, ({ curve }) => curve.at(-1)[1]), d3.max(lines, ({ chosen }) => chosen?.error.high ?? 0)));

  function draw(width) {
    const answered = lines.filter(({ chosen }) => chosen && chosen.error.value != null);
    const x = (line) => line.chosen.coverage.value, y = (line) => line.chosen.error.value;
    const svg = Plot.plot({
      width, height: Math.max(220, Math.min(340, width * 0.5)), marginLeft: 46, marginRight: 14, marginTop: 22, marginBottom: 40,
      style: { background: "none", fontSize: "11px", color: "inherit" },
      x: { domain: [0, 1], label: null, ticks: 5, tickFormat: (value) => `${Math.round(100 * value)} %` },
      y: { domain: [0, top], label: null, ticks: 5, tickFormat: (value) => `${Number((100 * value).toFixed(1))} %`, clamp: true },
      marks: [
        Plot.gridY({ className: "grid", ticks: 5 }),
        Plot.ruleY([found.max_error], { className: "diagonal", stroke: null }),
        ...lines.map(({ curve, look }) => Plot.line(curve, { className: look, stroke: null })),
        ...answered.map((line) => Plot.ruleX([line], { x, y1: line.chosen.error.low, y2: line.chosen.error.high, className: line.look, stroke: null, strokeDasharray: "none" })),
        ...answered.map((line) => Plot.dot([line], { x, y, r: 4.5, className: line.dot, fill: null })),
      ],
    });
    const title = (words, at, height, anchor) => d3.select(svg).append("text").attr("class", "axis-title").attr("x", at).attr("y", height).attr("text-anchor", anchor).attr("font-size", 11).text(words);
    title("error of the answers ↓", 46, 12, "start");
    title("questions answered →", width - 14, svg.height.baseVal.value - 6, "end");
    const scale = { x: svg.scale("x"), y: svg.scale("y") };
    const bottom = svg.height.baseVal.value - 40;
    const places = main.curve.map(([coverage, error]) => ({ x: scale.x.apply(coverage), y: scale.y.apply(error), top: 22, bottom }));
    calib.figure.scrub(svg, frame, places, (i) => [`${shares(main.curve[i][0])} answered`, ...lines.map((line) => `${label(line.point)}: error ${shares(errorAt(line.curve, main.curve[i][0]))}`)]);
    return svg;
  }

  // The error at the nearest coverage of a curve.
  const errorAt = (curve, coverage) => d3.least(curve, ([c]) => Math.abs(c - coverage))[1];

  const frame = calib.figure.frame(host, "answering-chart");
  frame.set({
    title: "Error against questions answered",
    subtitle: `the most confident first; the level line is the target, ${calib.percent(found.max_error)}; dots are the thresholds`,
    description: lines.map(({ point, chosen }) => `${label(point)}: ${chosen && chosen.error.value != null ? `${shares(chosen.coverage.value)} answered, error ${shares(chosen.error.value)}` : "no threshold"}`).join("; "),
    draw,
    legend: [...lines].reverse().map(({ look, point }) => el("span", {}, calib.marks.stroke(look), label(point))),
    numbers: () => ({
      columns: ["questions answered", ...lines.map(({ point }) => `error of ${label(point)}`)],
      rows: main.curve.map(([coverage]) => [coverage, ...lines.map(({ curve }) => errorAt(curve, coverage))]),
    }),
  });
  return {};
})();
