// The frame of every chart: title, drawing, legend, tooltip, and the numbers as a table and as CSV.
calib.figure = (() => {
  const { el } = calib;
  const announcer = el("div", { class: "hidden", role: "status" });
  document.body.append(announcer);
  const frames = new Set();
  const CLEARLY = 6; // pixels

  new ResizeObserver(() => frames.forEach((frame) => frame.fit())).observe(document.body);

  // Paper has another width than the window, so charts are drawn for it. The layout is still the screen's then.
  const paper = { isUsed: false };
  const print = (isUsed) => () => {
    paper.isUsed = isUsed;
    frames.forEach((frame) => (isUsed ? frame.forPaper() : frame.forScreen()));
  };
  addEventListener("beforeprint", print(true));
  addEventListener("afterprint", print(false));

  // Return a chart's frame. Its content is set later: `draw(width)` returns an SVG element, `numbers()` returns {columns, rows}.
  function frame(host, id) {
    const heading = el("h3"), chart = el("div", { class: "chart" }), legend = el("div", { class: "legend" });
    const tip = el("div", { class: "tip", hidden: true, "aria-hidden": "true" });
    const table = el("div"), details = el("details", { class: "numbers" }, el("summary", {}, "The numbers"), table);
    const figure = el("figure", { id, role: "group" }, heading, chart, legend, details);
    let shown = null, width = 0;
    details.addEventListener("toggle", fill);
    host.append(figure);

    function fill() {
      if (!details.open || !shown) return;
      const { columns, rows } = shown.numbers();
      const head = el("tr", {}, ...columns.map((name) => el("th", { scope: "col" }, name)));
      const cells = (row) => row.map((value, i) => el(i ? "td" : "th", i ? {} : { scope: "row" }, text(value)));
      const body = rows.map((row) => el("tr", {}, ...cells(row)));
      const save = el("button", { type: "button", class: "tool", onclick: () => calib.download(id, columns, rows) }, "Download CSV");
      const scroll = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${shown.title}, as a table` });
      scroll.append(el("table", {}, el("thead", {}, head), el("tbody", {}, ...body)));
      table.replaceChildren(save, scroll);
    }

    // Draw again, as wide as there is room or `given` pixels.
    function redraw(given = 0) {
      width = given || Math.floor(chart.clientWidth);
      if (!shown || width < 40) return;
      hide();
      const focused = chart.firstElementChild === document.activeElement;
      const svg = shown.draw(width);
      svg.setAttribute("aria-label", `${shown.title}. ${shown.description}`);
      chart.replaceChildren(svg, tip);
      shown.after?.(svg);
      if (focused) svg.focus({ preventScroll: true });
    }

    function set(content) {
      shown = content;
      heading.replaceChildren(content.title, ...(content.subtitle ? [el("small", {}, content.subtitle)] : []));
      figure.setAttribute("aria-label", content.title);
      legend.replaceChildren(...(content.legend ?? []));
      redraw();
      fill();
    }

    // Show lines of text beside (x, y), in pixels of the drawing; the first line is the heading.
    function show(x, y, lines, say = false) {
      tip.replaceChildren(...lines.map((line, i) => el(i ? "span" : "strong", {}, line)));
      tip.hidden = false;
      const left = x + 16 + tip.offsetWidth > width ? Math.max(0, x - 16 - tip.offsetWidth) : x + 16;
      tip.style.left = `${left}px`;
      tip.style.top = `${Math.max(-12, y - tip.offsetHeight / 2)}px`;
      if (say) announcer.textContent = lines.join(", ");
    }

    function remove() {
      frames.delete(self);
      figure.remove();
    }

    const hide = () => void (tip.hidden = true);
    const forPaper = () => redraw(figure.parentElement.classList.contains("multiples") ? 320 : id === "frontier-chart" ? 680 : 320);
    const self = { set, show, hide, remove, forPaper, forScreen: () => redraw(), fit: () => Math.abs(chart.clientWidth - width) >= 1 && redraw() };
    frames.add(self);
    return self;
  }

  // Add a cursor to positions from left to right: it goes to the one nearest to the pointer, and arrow keys move it.
  // `between` are more positions, with `words` of their own, which only the pointer reaches and which cannot be chosen.
  function scrub(svg, frame, places, tell, choose, start = -1, between = []) {
    const cursor = d3.select(svg).append("line").attr("class", "cursor").attr("visibility", "hidden");
    let at = start;
    function put({ x, y, top, bottom }, lines, say) {
      cursor.attr("x1", x).attr("x2", x).attr("y1", top).attr("y2", bottom).attr("visibility", "visible");
      frame.show(x, y, lines, say);
    }
    function go(i, say) {
      at = Math.max(0, Math.min(places.length - 1, i));
      put(places[at], tell(at), say);
    }
    function leave() {
      cursor.attr("visibility", "hidden");
      frame.hide();
    }
    const distance = (event) => (p) => Math.abs(p.x - d3.pointer(event, svg)[0]);
    const nearest = (event) => d3.leastIndex(places, distance(event));
    // The position between `places` that is clearly nearer to the pointer than any of these.
    function nearestBetween(event) {
      const far = distance(event), place = d3.least(between, far);
      return place && !(d3.min(places, far) < far(place) + CLEARLY) ? place : null;
    }
    function follow(event) {
      const place = nearestBetween(event);
      if (place) put(place, place.words, false);
      else if (places.length) go(nearest(event), false);
    }
    svg.setAttribute("tabindex", "0");
    svg.setAttribute("role", "img");
    svg.addEventListener("pointermove", follow);
    svg.addEventListener("pointerdown", follow);
    svg.addEventListener("pointerleave", leave);
    svg.addEventListener("blur", leave);
    if (choose) svg.addEventListener("click", (event) => places.length && !nearestBetween(event) && choose(nearest(event)));
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (event.key === "Escape") leave();
      else if (event.key === "Enter" && choose && at >= 0) choose(at);
      else if (step && places.length) go(at < 0 ? 0 : at + step, true);
      else return;
      event.preventDefault();
    });
  }

  const text = (value) => (typeof value === "number" ? String(Number(value.toPrecision(6))).replace("-", "−") : value ?? "");
  return { frame, scrub, paper, say: (words) => void (announcer.textContent = words) };
})();
