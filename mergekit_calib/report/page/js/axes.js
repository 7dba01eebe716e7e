// Axes whose labels fit: margins as wide as the labels, and only as many labels as there is room for.
calib.axes = (() => {
  const GAP = 6; // pixels between neighbouring labels
  const pen = document.createElement("canvas").getContext("2d");

  function textWidth(words, size) {
    pen.font = `${size}px ${getComputedStyle(document.body).fontFamily}`;
    return 1.04 * pen.measureText(words).width;
  }

  // The labels of an axis of a drawing that is not laid out yet: their middle and width in pixels, in order.
  function labels(svg, axis, size) {
    const nodes = [...svg.querySelectorAll(`[aria-label="${axis}-axis tick label"] text`)];
    const place = (node) => Number(node.getAttribute("transform").match(/translate\(\s*([-\d.e]+)/)[1]);
    return d3.sort(nodes.map((node) => ({ at: place(node), width: textWidth(node.textContent, size) })), (l) => l.at);
  }
  const meet = (all) => d3.pairs(all).some(([a, b]) => a.at + a.width / 2 + GAP > b.at - b.width / 2);

  // Return a format for numbers `step` apart, of at most the size `largest`: it tells them apart, with no more digits.
  function format(step, largest) {
    const digits = Math.max(1, Math.ceil(Math.log10(largest / step) - 1e-9) + 1);
    if (largest >= 1e5) return d3.format(`.${digits}~s`);
    if (largest < 1e-4) return d3.format(`.${digits - 1}~e`);
    return d3.format(`.${d3.precisionFixed(step)}f`);
  }

  // Return Plot.plot(options). The left margin has room for the labels and `title` pixels; the right one for half a label.
  function plot(options, { size = 11, title = 0 } = {}) {
    let all = { ...options }, svg = Plot.plot(options);
    const domain = Object.fromEntries(["x", "y"].map((axis) => [axis, d3.extent(svg.scale(axis).domain)]));
    function formatted(axis, count) {
      const step = d3.tickStep(...domain[axis], count), largest = d3.max(domain[axis], Math.abs);
      return { ticks: count, tickFormat: options[axis].tickFormat ?? (step > 0 && largest > 0 ? format(step, largest) : undefined) };
    }
    const draw = (more) => (svg = Plot.plot((all = { ...all, ...more })));
    const xTicks = (count) => draw({ x: { ...all.x, ...formatted("x", count) } });
    draw({ y: { ...all.y, ...formatted("y", all.y.ticks) } });
    const widest = d3.max(labels(svg, "y", size), (l) => l.width) ?? 0;
    draw({ marginLeft: Math.ceil(Math.max(options.marginLeft ?? 0, widest + 11 + title)) });
    if (all.x.axis === null) return svg;
    xTicks(all.x.ticks);
    for (let count = all.x.ticks - 1; count > 0 && meet(labels(svg, "x", size)); count--) xTicks(count);
    if (meet(labels(svg, "x", size))) draw({ x: { ...all.x, ticks: d3.ticks(...domain.x, 1).slice(0, 1) } });
    const last = labels(svg, "x", size).at(-1), beyond = last ? last.at + last.width / 2 + 2 - all.width : 0;
    return beyond > 0 ? draw({ marginRight: Math.ceil((all.marginRight ?? 20) + beyond) }) : svg;
  }

  // Return the end of a title that fits into `room` pixels; it has the metric and its direction.
  function fitted(words, room, size = 12) {
    if (textWidth(words, size) <= room) return words;
    for (let cut = 1; cut < words.length; cut++) if (textWidth(`…${words.slice(cut)}`, size) <= room) return `…${words.slice(cut)}`;
    return "…";
  }

  // Return the start of a name that fits into `room` pixels.
  function shortened(words, room, size = 11.5) {
    if (textWidth(words, size) <= room) return words;
    for (let kept = words.length - 1; kept > 1; kept--) if (textWidth(`${words.slice(0, kept)}…`, size) <= room) return `${words.slice(0, kept)}…`;
    return "…";
  }

  // Return a domain for estimates {value, low, high} and more values, with room at each end for intervals: a share of the
  // range of the values, or a typical interval. One that is much wider does not squeeze all points together.
  function domain(estimates, more = [], share = 0.4) {
    const ends = estimates.flatMap((e) => [e.low, e.high]).filter(calib.finite);
    const [low, high] = d3.extent([...estimates.map((e) => e.value), ...more].filter(calib.finite));
    const span = high - low || (ends.length ? 2 * (d3.max(ends) - d3.min(ends)) : 0) || 0.02 * Math.abs(low) || 1;
    const typical = d3.median(estimates.filter((e) => calib.finite(e.low)), (e) => Math.max(e.value - e.low, e.high - e.value)) ?? 0;
    const room = high > low ? Math.max(share * span, 1.5 * typical) : 0.55 * span;
    const wide = high > low ? [Math.min(low, ...ends), Math.max(high, ...ends)] : [low - room, high + room];
    return [Math.max(low - room, wide[0]), Math.min(high + room, wide[1])];
  }

  return { plot, textWidth, fitted, shortened, domain };
})();
