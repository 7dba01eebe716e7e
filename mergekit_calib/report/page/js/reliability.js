// The reliability diagram of a point and the parents: accuracy against confidence, and a histogram of confidence.
calib.reliability = (() => {
  const { run, label, number, el } = calib;

  // Points with identical weights have the diagram of the first of them.
  const diagramOf = (point) => run.reliability[point.id] ?? run.reliability[point.same_as];

  function make(host) {
    const frame = calib.figure.frame(host, "reliability-chart");

    function set(point) {
      const diagram = diagramOf(point);
      const parents = calib.parents.filter((p) => p.point.id !== point.id && diagramOf(p.point)).map((p) => ({ ...p, diagram: diagramOf(p.point) }));
      host.hidden = !diagram;
      if (!diagram) return;
      const bins = d3.range(diagram.counts.length).map((i) => ({
        low: diagram.edges[i], high: diagram.edges[i + 1], count: diagram.counts[i], confidence: diagram.confidence[i], accuracy: diagram.accuracy[i],
      }));
      const line = ({ confidence, accuracy }) => d3.zip(confidence, accuracy).filter(([c, a]) => c != null && a != null);
      const total = d3.sum(diagram.counts);
      frame.set({
        title: "Reliability",
        subtitle: "of the held-out split",
        description: `${label(point)}: accuracy against confidence in ${bins.length} bins of ${total} items, with the number of items below.`,
        draw: (width) => drawing(width, bins, parents.map((p) => ({ ...p, line: line(p.diagram) }))),
        legend: [["curve-line", label(point)], ...parents.map((p) => [`parent-line ${p.look} ${parents.length > 3 ? "aside" : ""}`, p.role]), ["diagonal", "confidence = accuracy"], ["gap-rules", "gap to it"]].map(([look, words]) => el("span", {}, calib.marks.stroke(look), words)),
        numbers: () => ({
          columns: ["confidence from", "to", "items", "mean confidence", "accuracy", ...parents.flatMap((p) => [`${p.role} items`, `${p.role} accuracy`])],
          rows: bins.map((b, i) => [b.low, b.high, b.count, b.confidence, b.accuracy,
            ...parents.flatMap((p) => [p.diagram.counts[i], p.diagram.accuracy[i]])]),
        }),
      });
    }

    function drawing(width, bins, parents) {
      const filled = bins.filter((b) => b.count && b.confidence != null);
      const size = { width, marginLeft: 38, marginRight: 10, style: { background: "none", fontSize: "11px", color: "inherit" } };
      const x = { domain: [0, 1], label: null, ticks: 5 };
      const top = Plot.plot({
        ...size, height: Math.min(300, width * 0.78), marginBottom: 8, marginTop: 20, x: { ...x, axis: null }, y: { domain: [0, 1], label: null, ticks: 5 },
        marks: [
          Plot.gridY({ className: "grid", ticks: 5 }),
          Plot.line([[0, 0], [1, 1]], { className: "diagonal", stroke: null }),
          Plot.ruleX(filled, { x: "confidence", y1: "confidence", y2: "accuracy", className: "gap-rules", stroke: null, strokeWidth: 7 }),
          ...parents.map((p) => Plot.line(p.line, { className: `parent-line ${p.look} ${parents.length > 3 ? "aside" : ""}`, stroke: null })),
          Plot.line(filled, { x: "confidence", y: "accuracy", className: "curve-line", stroke: null }),
          Plot.dot(filled, { x: "confidence", y: "accuracy", r: 3.5, className: "curve-dot", fill: null }),
        ],
      });
      const bottom = Plot.plot({
        ...size, height: 118, marginTop: 20, marginBottom: 42, x, y: { label: null, ticks: 2, tickFormat: "~s" },
        marks: [Plot.rectY(bins, { x1: "low", x2: "high", y: "count", insetLeft: 0.5, insetRight: 0.5, className: "bars", fill: null }), Plot.ruleY([0], { className: "grid" })],
      });
      const svg = stack(top, bottom, width);
      const scale = { x: top.scale("x"), y: top.scale("y") };
      const places = bins.map((b) => ({ x: scale.x.apply((b.low + b.high) / 2), y: scale.y.apply(b.accuracy ?? 0.5), top: 20, bottom: svg.height.baseVal.value - 42 }));
      calib.figure.scrub(svg, frame, places, (i) => {
        const b = bins[i];
        const words = [`confidence ${number(b.low, 2)} to ${number(b.high, 2)}`, `${b.count.toLocaleString("en")} items`];
        return b.count ? [...words, `mean confidence ${number(b.confidence)}`, `accuracy ${number(b.accuracy)}`] : words;
      });
      return svg;
    }

    return { set };
  }

  // Two drawings, one above the other, as one SVG, so that the cursor goes through both.
  function stack(top, bottom, width) {
    const height = top.height.baseVal.value;
    const svg = d3.create("svg").attr("width", width).attr("height", height + bottom.height.baseVal.value);
    svg.attr("viewBox", `0 0 ${width} ${height + bottom.height.baseVal.value}`).attr("font-size", "11px").attr("fill", "currentColor");
    bottom.setAttribute("y", height);
    svg.append(() => top);
    svg.append(() => bottom);
    for (const [words, y] of [["accuracy ↑", 10], ["items", height + 12]])
      svg.append("text").attr("class", "axis-title").attr("x", 40).attr("y", y).attr("font-size", 11).text(words);
    svg.append("text").attr("class", "axis-title").attr("x", width - 10).attr("y", height + 113).attr("text-anchor", "end").text("confidence →");
    return svg.node();
  }

  return { make };
})();
