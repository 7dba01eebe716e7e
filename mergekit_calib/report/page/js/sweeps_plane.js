// Several sweeps in the plane of two metrics: a line through each sweep's points, parents and choices marked.
calib.plane = (() => {
  const { run, el, finite, number, decimals, interval, label } = calib;
  const look = (i) => `s${i % 8}`;
  const shape = (role) => (role == null ? d3.symbolCircle : role === "base" ? d3.symbolSquare : d3.symbolDiamond);
  const axisTitle = (m, up) => `${m.name}${m.direction ? (m.direction === "maximize" ? (up ? " ↑ better" : " → better") : up ? " ↓ better" : " ← better") : ""}`;

  function make(host, state) {
    const frame = calib.figure.frame(host, "plane");

    function set() {
      const { x, y } = state;
      const rows = run.sweeps.flatMap((sweep, i) =>
        sweep.points.map((p) => ({ sweep, i, p, x: p.values[x.name]?.value, y: p.values[y.name]?.value })).filter((r) => finite(r.x) && finite(r.y)));
      const places = [x, y].map((m) => decimals(rows.map((r) => r.p.values[m.name])));
      frame.set({
        title: `${y.name} against ${x.name}`, subtitle: "held-out split of each sweep",
        description: `${rows.length} points of ${run.sweeps.length} sweeps; each sweep has its own colour.`,
        legend: [
          ...run.sweeps.map((s, i) => el("span", { class: look(i) }, calib.marks.stroke("sweep-line"), s.label)),
          el("span", {}, calib.marks.mark(d3.symbolSquare, ""), "base"), el("span", {}, calib.marks.mark(d3.symbolDiamond, ""), "another parent"), el("span", {}, "ring: chosen"),
        ],
        draw: (width) => drawing(width, rows, places),
        numbers: () => ({
          columns: ["sweep", "point", x.name, "low", "high", y.name, "low", "high"],
          rows: rows.map((r) => [r.sweep.label, label(r.p), r.x, r.p.values[x.name].low, r.p.values[x.name].high, r.y, r.p.values[y.name].low, r.p.values[y.name].high]),
        }),
      });
    }

    function drawing(width, rows, [ofX, ofY]) {
      const { x, y } = state, height = Math.round(Math.max(300, Math.min(520, 0.55 * width)));
      const svg = Plot.plot({
        width, height, marginLeft: 56, marginRight: 18, marginTop: 26, marginBottom: 46, style: { background: "none", fontSize: "11px", color: "inherit" },
        x: { label: null, inset: 12, ticks: 6, nice: true }, y: { label: null, inset: 12, ticks: 6, nice: true },
        marks: [Plot.gridX({ className: "grid" }), Plot.gridY({ className: "grid" }), Plot.dot(rows, { x: "x", y: "y", r: 0 })],
      });
      const at = { x: svg.scale("x"), y: svg.scale("y") }, root = d3.select(svg), place = (r) => [at.x.apply(r.x), at.y.apply(r.y)];
      run.sweeps.forEach((sweep, i) => {
        const own = rows.filter((r) => r.i === i), group = root.append("g").attr("class", look(i));
        const line = sweep.axes.length === 1 && !sweep.is_predicted ? d3.sort(own.filter((r) => finite(r.p.axes[sweep.axes[0]])), (r) => r.p.axes[sweep.axes[0]]) : [];
        const [along, across] = [sweep.predicted[x.name], sweep.predicted[y.name]];
        const predicted = along && across ? along.map(([, value], k) => ({ x: value, y: across[k][1] })).filter((r) => finite(r.x) && finite(r.y)) : [];
        for (const [data, more] of [[line, ""], [predicted, "predicted"]]) if (data.length > 1) group.append("path").attr("class", `sweep-line ${more}`).attr("d", d3.line()(data.map(place)));
        for (const r of own) {
          const [px, py] = place(r), node = group.append("path").attr("class", `mark sweep-dot ${r.p.dominated && !r.p.role && !r.p.selected ? "dominated" : ""}`);
          node.attr("transform", `translate(${px},${py})`).attr("d", d3.symbol(shape(r.p.role), r.p.role ? 80 : 60)());
          if (r.p.selected) group.append("circle").attr("class", "sweep-ring").attr("cx", px).attr("cy", py).attr("r", 9);
        }
      });
      root.append("text").attr("class", "axis-title").attr("x", width - 18).attr("y", height - 8).attr("text-anchor", "end").text(axisTitle(x, false));
      root.append("text").attr("class", "axis-title").attr("x", 4).attr("y", 14).text(axisTitle(y, true));
      const order = d3.sort(rows, (r) => r.x);
      const tell = (r) => [`${r.sweep.label}: ${label(r.p)}${r.p.selected ? ", chosen" : ""}`, `${y.name} ${number(r.y, ofY)} (${interval(r.p.values[y.name], ofY)})`, `${x.name} ${number(r.x, ofX)} (${interval(r.p.values[x.name], ofX)})`];
      let current = -1;
      const show = (i, say) => { current = i; const [px, py] = place(order[i]); frame.show(px, py, tell(order[i]), say); };
      svg.setAttribute("tabindex", "0");
      svg.setAttribute("role", "img");
      svg.addEventListener("pointermove", (event) => {
        const [px, py] = d3.pointer(event, svg), i = d3.leastIndex(order, (r) => Math.hypot(place(r)[0] - px, place(r)[1] - py));
        if (i >= 0 && Math.hypot(place(order[i])[0] - px, place(order[i])[1] - py) < 40) show(i, false);
        else frame.hide();
      });
      svg.addEventListener("pointerleave", () => frame.hide());
      svg.addEventListener("blur", () => frame.hide());
      svg.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (event.key === "Escape") return frame.hide();
        if (!step || !order.length) return;
        show(Math.max(0, Math.min(order.length - 1, current + step)), true);
        event.preventDefault();
      });
      return svg;
    }
    return { set };
  }
  return { make, look };
})();
