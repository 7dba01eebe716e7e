// Parallel coordinates: every point is a line through its values of all axes and some metrics. Dragging along an axis keeps
// the points that cross it there; arrow keys go through the points.
calib.parallel = (() => {
  const { el, finite, number } = calib;
  const MOST = 12; // upright axes that can be read

  // `rows` are points: {id, label, selected, role, of: column → value}; `columns` are {name, title, direction?}.
  function make(host, id, { title, columns, rows, choose }) {
    const shown = columns.slice(0, MOST), frame = calib.figure.frame(host, id), kept = new Map();
    const last = shown.at(-1), rank = d3.sort(rows.filter((r) => finite(r.of[last.name])), (r) => (last.direction === "maximize" ? 1 : -1) * r.of[last.name]);
    let marked = null, paths = null;
    const isKept = (r) => [...kept].every(([name, [low, high]]) => place(name, r) >= low && place(name, r) <= high);
    let place = () => NaN;

    function scale(column, height) {
      const values = rows.map((r) => r.of[column.name]).filter((v) => v != null);
      const range = [height - 26, 44];
      if (!values.every(finite)) return d3.scalePoint([...new Set(values.map(String))], range).padding(0.3);
      const [low, high] = d3.extent(values);
      return d3.scaleLinear(low === high ? [low - 0.5, high + 0.5] : [low, high], range).nice();
    }

    function mark() {
      paths?.attr("class", (r) => `parallel-line ${r.id === marked ? "picked" : r.selected ? "chosen" : ""} ${isKept(r) ? "" : "out"}`);
      paths?.filter((r) => r.id === marked || r.selected).raise();
    }

    function drawing(width) {
      const height = 330, side = Math.min(70, width / 9), x = d3.scalePoint(shown.map((c) => c.name), [side, width - side]);
      const scales = new Map(shown.map((c) => [c.name, scale(c, height)]));
      place = (name, r) => (r.of[name] == null ? NaN : scales.get(name)(typeof r.of[name] === "number" ? r.of[name] : String(r.of[name])));
      const svg = d3.create("svg").attr("width", width).attr("height", height).attr("viewBox", `0 0 ${width} ${height}`).attr("tabindex", 0).attr("role", "img");
      const path = (r) => d3.line().defined(([, y]) => finite(y))(shown.map((c) => [x(c.name), place(c.name, r)]));
      paths = svg.append("g").selectAll("path").data(rows).join("path").attr("d", path)
        .attr("stroke-opacity", (r) => 0.18 + (0.7 * (rank.indexOf(r) + 1)) / Math.max(1, rank.length));
      for (const column of shown) {
        const own = svg.append("g").attr("transform", `translate(${x(column.name)},0)`).attr("class", "parallel-axis");
        const axis = d3.axisLeft(scales.get(column.name));
        own.call(scales.get(column.name).bandwidth ? axis : axis.ticks(5));
        const short = calib.axes.shortened(column.title, Math.min(width / shown.length - 8, 2 * side - 4), 12);
        own.append("text").attr("class", "axis-title").attr("y", 16).attr("text-anchor", "middle").text(short).append("title").text(column.title);
        own.append("text").attr("class", "axis-title").attr("y", 31).attr("text-anchor", "middle").text({ maximize: "↑ better", minimize: "↓ better" }[column.direction] ?? "");
        const brush = d3.brushY().extent([[-11, 40], [11, height - 22]]).on("brush end", ({ selection }) => {
          if (selection) kept.set(column.name, selection); else kept.delete(column.name);
          mark();
        });
        own.append("g").attr("class", "parallel-brush").call(brush);
        if (kept.has(column.name)) kept.delete(column.name); // a chart that is drawn anew has another height of values
      }
      mark();
      const tell = (r) => [r.label, ...shown.map((c) => `${c.title}: ${finite(r.of[c.name]) ? number(r.of[c.name], 4).replace(/\.?0+$/, "") : r.of[c.name] ?? "–"}`)];
      const near = (r, [px, py]) => {
        const xs = shown.map((c) => x(c.name)), i = Math.max(0, Math.min(xs.length - 2, d3.bisect(xs, px) - 1)), share = (px - xs[i]) / ((xs[i + 1] - xs[i]) || 1);
        const [a, b] = [shown[i], shown[i + 1] ?? shown[i]].map((c) => place(c.name, r));
        return Math.abs(a + share * (b - a) - py);
      };
      const among = () => rows.filter(isKept);
      const show = (r, at, say) => { marked = r.id; mark(); frame.show(...at, tell(r), say); };
      const leave = () => { marked = null; mark(); frame.hide(); };
      svg.on("pointermove", (event) => {
        const at = d3.pointer(event, svg.node()), r = d3.least(among().filter((one) => finite(near(one, at))), (one) => near(one, at));
        if (r && near(r, at) < 14) show(r, at, false); else leave();
      }).on("pointerleave", leave).on("blur", leave).on("click", () => marked && choose?.(marked)).on("keydown", (event) => {
        const list = among(), step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], i = list.findIndex((r) => r.id === marked);
        if (event.key === "Escape") return leave();
        if (event.key === "Enter" && marked) return choose?.(marked);
        if (!step || !list.length) return;
        show(list[Math.max(0, Math.min(list.length - 1, i + step))], [width / 2, height / 2], true);
        event.preventDefault();
      });
      return svg.node();
    }

    frame.set({
      title, subtitle: "drag along an axis to keep the points that cross it there",
      description: `${rows.length} points as lines through ${shown.map((c) => c.title).join(", ")}. The stronger a line, the better its ${last.title}.`,
      legend: [el("span", {}, calib.marks.stroke("parallel-line chosen"), "chosen"), el("span", {}, `the stronger, the better in ${last.title}`), ...(columns.length > MOST ? [el("span", {}, `${columns.length - MOST} more are in the numbers`)] : [])],
      draw: drawing,
      numbers: () => ({ columns: ["point", ...columns.map((c) => c.title)], rows: rows.map((r) => [r.label, ...columns.map((c) => r.of[c.name])]) }),
    });
    return { pick: (picked) => ((marked = picked), mark()) };
  }
  return { make };
})();
