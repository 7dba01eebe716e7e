// The trade-off: one measure against another. Every model has a mark that reacts to pointer, touch and arrow keys.
calib.frontier = (() => {
  const { run, complete, estimate, label, number, decimals, interval, el, finite, predicted } = calib;
  const numeric = Object.keys(run.axes).filter((axis) => complete.every((p) => !(axis in p.axes) || finite(p.axes[axis])));
  const colourAxis = numeric.includes("lambda") ? "lambda" : numeric[0];
  const settings = complete.map((p) => p.axes[colourAxis]).filter(finite);
  const [low, high] = settings.length ? d3.extent(settings) : [0, 1];
  // Viridis without the end that is invisible on the background.
  const light = (t) => d3.interpolateViridis(0.9 * t), dark = (t) => d3.interpolateViridis(0.24 + 0.76 * t);
  const ramp = (colour) => `linear-gradient(90deg, ${d3.range(0, 1.01, 0.125).map(colour).join(", ")})`;
  const { ofParents, ofBaselines } = calib.marks;

  function entries(x, y) {
    const has = (measured) => [x, y].every((m) => finite(estimate(measured, m)?.value));
    const points = complete.filter(has).map((point) => {
      const parent = calib.parents.find((p) => p.point === point);
      return { measured: point, point, name: label(point), parent, shape: parent ? ofParents[parent.i % 8] : d3.symbolCircle };
    });
    const baselines = run.baselines.filter(has).map((b) => ({ measured: b, name: calib.baselineLabel(b), shape: ofBaselines[b.kind], baseline: true }));
    const all = [...points, ...baselines];
    for (const entry of all) Object.assign(entry, { x: estimate(entry.measured, x), y: estimate(entry.measured, y) });
    all.sort((a, b) => d3.ascending(!!a.baseline, !!b.baseline) || d3.ascending(a.point?.axes[colourAxis], b.point?.axes[colourAxis]));
    return all;
  }

  // The frontier of these two measures; with more objectives it is only a part of the whole frontier.
  function staircase(points, x, y) {
    if (!x.direction || !y.direction || x === y) return [];
    const sx = x.direction === "maximize" ? -1 : 1, sy = y.direction === "maximize" ? -1 : 1;
    const steps = [];
    for (const p of d3.sort(points, (p) => sx * p.x.value, (p) => sy * p.y.value))
      if (!steps.length || sy * p.y.value < sy * steps.at(-1).y.value) steps.push(p);
    return steps.sort((a, b) => a.x.value - b.x.value);
  }

  const title = (m) => `${m.name}${calib.better(m) ? ` (${calib.better(m)})` : ""}`;

  function lines(entry, x, y) {
    const of = (m, e) => {
      const places = decimals([e]), span = interval(e, places);
      return `${m.name} ${number(e.value, places)}${span ? ` (${span})` : ""}`;
    };
    const words = [entry.name, of(y, entry.y), of(x, entry.x)];
    if (entry.baseline) return [...words, entry.measured.models_run > 1 ? "baseline: runs two models for each answer" : "baseline: needs no merge"];
    const { point } = entry, share = point.frontier_probability, by = calib.dominatedBy(point);
    const often = share == null ? "" : ` in ${calib.percent(Math.round(share * 100) / 100)} of resamples`;
    words.push(calib.onFrontier(point) ? `on the frontier${often && `,${often}`}` : `not on the frontier${often && ` (${often.trim()})`}`);
    if (by.length) words.push(`dominated by ${calib.named(by)}`);
    if (point.superiority?.shown) words.push(`significantly better than ${calib.everyParent}`);
    return words;
  }

  // The height, in pixels, that leaves room on a sheet of A4 for the answer above and the table below.
  function paperHeight() {
    const [line, row, sheet, others] = [15, 16.5, 1038, 330]; // others: titles, legends, the table's header and caption
    const lines = d3.sum(document.querySelectorAll(".answer p"), (p) => Math.ceil(p.textContent.length / 118));
    const rows = document.querySelectorAll("#points-table tbody tr").length;
    return Math.max(230, Math.min(560, sheet - others - line * lines - row * rows));
  }

  // The points in the order of the only axis, which a dotted line joins unless one is predicted.
  const trail = (points) => (!predicted.isUsed && numeric.length === Object.keys(run.axes).length && numeric.length === 1 ? points.filter((e) => colourAxis in e.point.axes) : []);

  // What a tooltip says of a place on a curve.
  const blendLines = (p, x, y) => [`${p.one.name}, λ = ${p.at}`, `${y.name} ${number(p.y)}`, `${x.name} ${number(p.x)}`, "baseline: runs two models for each answer"];
  const predictedLines = (p, x, y) => [predicted.label(p), ...[[y, p.y], [x, p.x]].map(([m, value]) => `${m.name} ${number(value)}, ${predicted.error(m)}`)];

  function make(host, state, choose) {
    const frame = calib.figure.frame(host, "frontier-chart");
    let draw = null, everyBlend = false;

    const toggle = (count) => el("button", { type: "button", class: "tool", "aria-pressed": String(everyBlend), onclick: () => { everyBlend = !everyBlend; set(); } },
      `${everyBlend ? "hide" : "show"} ${count} other blend${count === 1 ? "" : "s"}`);

    function set() {
      const { x, y } = state, all = entries(x, y), points = all.filter((e) => !e.baseline), blends = calib.blends.inPlane(x, y);
      const path = predicted.inPlane(x, y);
      const aside = blends.filter((c) => !c.shown), curves = everyBlend ? blends : blends.filter((c) => c.shown);
      frame.set({
        title: `${y.name} against ${x.name}`,
        subtitle: colourAxis ? `coloured by ${calib.axisLabel(colourAxis)}` : "",
        description: `${points.length} points, ${points.filter((e) => calib.onFrontier(e.point)).length} on the frontier; ${title(y)}, ${title(x)}. Arrow keys move from point to point.`,
        draw: (width) => (draw = drawing(width, all, points, curves, path, x, y)).svg,
        after: (svg) => name(svg, draw, all),
        legend: [...legend(all, curves, path, { steps: staircase(points, x, y), trail: trail(points) }), ...(aside.length ? [toggle(aside.length)] : [])],
        numbers: () => ({
          columns: ["point", ...[y, x].flatMap((m) => [m.name, `${m.name} low`, `${m.name} high`]), "on the frontier", "share of resamples", "dominated by"],
          rows: [
            ...all.map((e) => [e.name, e.y.value, e.y.low, e.y.high, e.x.value, e.x.low, e.x.high, e.baseline ? "baseline" : calib.onFrontier(e.point) ? "yes" : "no",
              e.point?.frontier_probability, e.point && calib.dominatedBy(e.point).map(calib.pointName).join("; ")]),
            ...predicted.unscored(path).map((p) => [predicted.label(p), p.y, null, null, p.x, null, null, "predicted", null, null]),
            ...blends.flatMap((c) => c.places.map((p) => [`${c.name}, λ = ${p.at}`, p.y, null, null, p.x, null, null, "baseline", null, null])),
          ],
        }),
      });
    }

    function drawing(width, all, points, curves, path, x, y) {
      const steps = staircase(points, x, y), turn = x.direction === "minimize" ? "step-after" : "step-before";
      const along = trail(points);
      const layer = ([, [entry]]) => (entry.parent ? 2 : entry.baseline ? 1 : 0);
      const groups = d3.sort(d3.group(all, (e) => e.shape), layer).map(([symbol, data], i) => ({ symbol, data, name: `marks-${i}` }));
      const range = (measure, key) => calib.axes.domain(all.map((e) => e[key]), [...path, ...curves.flatMap((c) => c.places)].map((p) => p[key]));
      const svg = calib.axes.plot({
        width, height: calib.figure.paper.isUsed ? paperHeight() : Math.max(300, Math.min(500, 0.74 * width)), marginBottom: 46, marginTop: 14, marginRight: 18,
        style: { background: "none", fontSize: "11.5px", color: "inherit" },
        x: { label: null, inset: 14, ticks: width < 420 ? 4 : 7, domain: range(x, "x") }, y: { label: null, inset: 14, ticks: 6, domain: range(y, "y") },
        marks: [
          Plot.gridX({ className: "grid" }), Plot.gridY({ className: "grid" }),
          Plot.line(along.length > 1 ? along : [], { x: (e) => e.x.value, y: (e) => e.y.value, className: "trail", stroke: null, strokeDasharray: "2 3" }),
          Plot.line(path, { x: "x", y: "y", className: "predicted-line", stroke: null }),
          Plot.line(steps.length > 1 ? steps : [], { x: (e) => e.x.value, y: (e) => e.y.value, curve: turn, className: "staircase", stroke: null, strokeWidth: 1.25 }),
          ...curves.map((c) => Plot.line(c.places, { x: "x", y: "y", className: c.look, stroke: null })),
          ...groups.map(({ symbol, data, name }) =>
            Plot.dot(data, { x: (e) => e.x.value, y: (e) => e.y.value, className: name, symbol, fill: "currentColor", r: data[0].parent ? 6.5 : 5.5 })),
        ],
      }, { size: 11.5, title: 20 });
      const scale = { x: svg.scale("x"), y: svg.scale("y") };
      const at = (e) => [scale.x.apply(e.x.value), scale.y.apply(e.y.value)];
      const root = d3.select(svg).attr("role", "radiogroup");
      const bottom = svg.height.baseVal.value;
      root.append("text").attr("class", "axis-title").attr("x", width - 18).attr("y", bottom - 6).attr("text-anchor", "end").text(`${calib.axes.fitted(title(x), width - 60)} →`);
      root.append("text").attr("class", "axis-title").attr("transform", "translate(11,14) rotate(-90)").attr("text-anchor", "end").text(`${calib.axes.fitted(title(y), bottom - 50)} →`);
      const overlay = root.append("g");
      for (const { data, name } of groups) root.select(`.${name}`).selectAll("path, circle").each(function (i) { adorn(this, data[i], x, y); });
      const held = { svg, at, scale, overlay, x, y, places: [...predicted.unscored(path).map((p) => ({ ...p, words: predictedLines(p, x, y) })), ...curves.flatMap((c) => c.places.map((p) => ({ ...p, words: blendLines(p, x, y) })))] };
      const corners = (line) => line.filter((p) => finite(p.x) && finite(p.y)).map((p) => [scale.x.apply(p.x), scale.y.apply(p.y)]);
      held.lines = [path, ...curves.map((c) => c.places)].flatMap((line) => calib.labels.along(corners(line)));
      svg.addEventListener("pointermove", (event) => hover(held, near(held, all, event), false));
      svg.addEventListener("pointerleave", () => hover(held, null, false));
      svg.addEventListener("click", (event) => {
        const entry = near(held, all, event);
        hover(held, entry, false);
        if (entry?.point) choose(entry.point.id);
      });
      svg.addEventListener("keydown", (event) => walk(held, all, event));
      root.append(() => overlay.node());
      return held;
    }

    function adorn(node, entry, x, y) {
      entry.node = node;
      const { point } = entry, t = high > low ? (point?.axes[colourAxis] - low) / (high - low) : 0.5;
      const look = entry.baseline ? `baseline ${entry.measured.shown ? "" : "aside"}` : entry.parent ? entry.parent.look : calib.dominatedBy(point).length ? "dominated" : "";
      node.setAttribute("class", `mark ${look}`);
      node.removeAttribute("fill");
      if (finite(t) && !entry.parent) {
        node.style.setProperty("--on-light", light(t));
        node.style.setProperty("--on-dark", dark(t));
      }
      node.setAttribute("role", point ? "radio" : "img");
      node.setAttribute("tabindex", "-1");
      node.setAttribute("aria-label", lines(entry, x, y).join(", "));
      if (point) node.dataset.point = point.id;
    }

    function near(held, all, event) {
      const [px, py] = d3.pointer(event, held.svg);
      const distance = (e) => Math.hypot(held.at(e)[0] - px, held.at(e)[1] - py);
      const entry = d3.least(all, distance);
      if (entry && distance(entry) < 12) return entry;
      const onCurve = (p) => Math.hypot(held.scale.x.apply(p.x) - px, held.scale.y.apply(p.y) - py);
      const place = d3.least(held.places, onCurve);
      if (place && onCurve(place) < 10) return { ...place, x: { value: place.x }, y: { value: place.y }, place };
      return entry && distance(entry) < 36 ? entry : null;
    }

    function whiskers(held, entry, kind) {
      const [px, py] = held.at(entry), { x, y } = held.scale;
      const rule = (x1, y1, x2, y2) => held.overlay.append("line").attr("class", `whisker ${kind}`).attr("x1", x1).attr("y1", y1).attr("x2", x2).attr("y2", y2);
      const ends = (scale) => [Math.min(...scale.range) - 10, Math.max(...scale.range) + 10]; // the plot, with most of its inset
      const within = (scale, at) => Math.max(ends(scale)[0], Math.min(ends(scale)[1], at));
      // An interval that goes on beyond the plot ends in an arrow head.
      const cut = (at, scale, turn) => {
        const place = scale.apply(at), edge = within(scale, place);
        if (edge === place) return;
        const sign = Math.sign(place - edge);
        held.overlay.append("path").attr("class", `whisker cut ${kind}`).attr("d", "M-4,-4L2,0L-4,4").attr("transform", turn(edge, sign));
      };
      if (finite(entry.x.low)) {
        rule(within(x, x.apply(entry.x.low)), py, within(x, x.apply(entry.x.high)), py);
        for (const end of [entry.x.low, entry.x.high]) cut(end, x, (edge, sign) => `translate(${edge},${py}) scale(${sign},1)`);
      }
      if (finite(entry.y.low)) {
        rule(px, within(y, y.apply(entry.y.low)), px, within(y, y.apply(entry.y.high)));
        for (const end of [entry.y.low, entry.y.high]) cut(end, y, (edge, sign) => `translate(${px},${edge}) rotate(${90 * sign})`);
      }
    }

    function hover(held, entry, say) {
      if (held.hovered === entry && !say) return;
      held.hovered?.node?.classList.remove("hovered");
      held.hovered = entry;
      held.overlay.selectAll(".hovering").remove();
      if (!entry) return frame.hide();
      if (entry.place) return frame.show(...held.at(entry), entry.place.words);
      entry.node.classList.add("hovered");
      whiskers(held, entry, "hovering");
      frame.show(...held.at(entry), lines(entry, held.x, held.y), false);
    }

    function walk(held, all, event) {
      const here = all.findIndex((e) => e.node === document.activeElement);
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") hover(held, null, false);
      else if (step) {
        const entry = all[(Math.max(here, 0) + step + all.length) % all.length];
        entry.node.focus();
        hover(held, entry, true);
        if (entry.point) choose(entry.point.id);
      } else if (["Enter", " "].includes(event.key) && all[here]?.point) choose(all[here].point.id);
      else return;
      event.preventDefault();
    }

    // Mark the picked point, and put names beside the chosen and the picked point, the parents, and baselines if there is room.
    function name(svg, held, all) {
      held.overlay.selectAll("*").remove();
      const square = ([x, y], half) => ({ x: x - half, y: y - half, width: 2 * half, height: 2 * half });
      const taken = all.map((e) => square(held.at(e), 6));
      const picked = all.find((e) => e.point?.id === state.picked);
      if (picked) {
        whiskers(held, picked, "picked");
        held.overlay.append("circle").attr("class", "ring").attr("cx", held.at(picked)[0]).attr("cy", held.at(picked)[1]).attr("r", 9.5);
        taken.push(square(held.at(picked), 9));
        taken.push(...held.overlay.selectAll("line").nodes().map((line) => line.getBBox()).map((b) => ({ x: b.x - 1, y: b.y - 1, width: b.width + 2, height: b.height + 2 })));
      }
      const main = (e) => Boolean(e.point && (e.point.id === state.chosen || e.point.id === state.picked));
      for (const entry of all) {
        const { point } = entry;
        entry.node.classList.toggle("main", main(entry));
        entry.node.setAttribute("aria-checked", String(point?.id === state.picked));
        entry.node.setAttribute("tabindex", point?.id === state.picked ? "0" : "-1");
      }
      if (!all.some((e) => e.node.getAttribute("tabindex") === "0")) all[0]?.node.setAttribute("tabindex", "0");
      const named = d3.sort(all.filter((e) => main(e) || e.parent || e.measured.shown), (e) => (main(e) ? 0 : e.parent ? 1 : 2));
      const xs = held.scale.x.range, ys = held.scale.y.range; // names may be in the inset too
      const box = { x: Math.min(...xs) - 12, y: Math.min(...ys) - 24, width: Math.abs(xs[1] - xs[0]) + 24, height: Math.abs(ys[1] - ys[0]) + 36 };
      const wanted = named.map((e) => ({
        x: held.at(e)[0], y: held.at(e)[1], text: `${calib.axes.shortened(e.name, Math.min(230, 0.65 * box.width))}${e.point?.id === state.chosen ? " ★" : ""}`, look: main(e) ? "" : "aside", optional: Boolean(e.baseline),
      }));
      calib.labels.place(held.overlay, wanted, taken, held.lines, box);
      held.all = all;
    }

    return { set, mark: () => draw?.all && name(draw.svg, draw, draw.all) };
  }

  function legend(all, curves, path, { steps, trail }) {
    const parts = [];
    if (colourAxis) {
      const bar = el("i", { class: "ramp", role: "img", "aria-label": "colour scale" });
      bar.style.setProperty("--ramp-light", ramp(light));
      bar.style.setProperty("--ramp-dark", ramp(dark));
      parts.push(el("span", {}, `${calib.axisLabel(colourAxis)} ${calib.axisValue(low)}`, bar, calib.axisValue(high)));
    }
    for (const { parent } of all.filter((e) => e.parent)) parts.push(el("span", {}, calib.marks.mark(ofParents[parent.i % 8], parent.look), parent.role));
    const words = { temperature: "with a temperature", average: "probabilities averaged", blend: "blended, λ by the sweep's rule" };
    for (const [kind, shape] of Object.entries(ofBaselines))
      if (all.some((e) => e.measured.kind === kind)) parts.push(el("span", {}, calib.marks.mark(shape, "baseline"), words[kind]));
    if (path.length) parts.push(predicted.key());
    parts.push(...calib.blends.keys(curves));
    if (trail.length > 1) parts.push(el("span", {}, calib.marks.stroke("trail"), `in the order of ${calib.axisLabel(colourAxis)}`));
    if (steps.length > 1) parts.push(el("span", {}, calib.marks.stroke("staircase"), "the frontier of these two"));
    const measured = all.filter((e) => e.point);
    if (measured.some((e) => finite(e.x.low) || finite(e.y.low))) parts.push(el("span", {}, calib.marks.stroke("whisker picked"), `${calib.percent(run.level)} interval of the selected point`));
    parts.push(el("span", {}, "★ chosen"));
    if (measured.some((e) => calib.dominatedBy(e.point).length)) parts.push(el("span", {}, calib.marks.mark(d3.symbolCircle, "dominated"), "dominated beyond chance"));
    return parts;
  }

  return { make, numeric };
})();
