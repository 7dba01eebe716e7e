// Names beside marks: each goes where it covers the least of marks, lines and other names.
calib.labels = (() => {
  const REACHES = [[11, 0], [22, 12], [36, 24], [54, 40], [76, 60]]; // pixels from the mark, and the cost of being so far away
  const SIDES = [[1, 0, 0], [1, -1, 1], [1, 1, 1], [-1, 0, 2], [-1, -1, 2], [-1, 1, 2], [0, -1, 3], [0, 1, 3]];
  const MOST_COVERED = 30; // square pixels from which a name that may be left out is

  const shared = (a, b, along, size) => Math.max(0, Math.min(a[along] + a[size], b[along] + b[size]) - Math.max(a[along], b[along]));
  const overlap = (a, b) => shared(a, b, "x", "width") * shared(a, b, "y", "height");

  function places(x, y, width, height) {
    return REACHES.flatMap(([reach, far]) => SIDES.map(([right, down, cost]) => ({
      x: right ? x + right * reach - (right < 0 ? width : 0) : x - width / 2,
      y: down ? y + down * reach * 0.7 - (down < 0 ? height : 0) : y - height / 2,
      width, height, cost: cost + far, reach,
    })));
  }

  // Places along a line through corners [x, y], a few pixels apart.
  const along = (corners) => d3.pairs(corners).flatMap(([a, b]) => {
    const n = Math.max(1, Math.ceil(Math.hypot(b[0] - a[0], b[1] - a[1]) / 4));
    return d3.range(n).map((i) => [a[0] + (i / n) * (b[0] - a[0]), a[1] + (i / n) * (b[1] - a[1])]);
  });
  // How many places are in a box, or nearer to it than `margin`.
  const inside = (places, box, margin = 0) => d3.sum(places, ([x, y]) =>
    x > box.x - margin && x < box.x + box.width + margin && y > box.y - margin && y < box.y + box.height + margin);

  // Draw names, the most important first: {x, y, text, look, optional}. `taken` are boxes to keep clear of, `lines` places of
  // lines that a name should not cover, `frame` is where names may be. A name that would cover another is left out.
  function place(overlay, wanted, taken, lines, frame) {
    const outside = (box) => box.x < frame.x || box.x + box.width > frame.x + frame.width || box.y < frame.y || box.y + box.height > frame.y + frame.height;
    const named = [], meets = (box) => named.some((other) => overlap(box, other) > 0);
    for (const { x, y, text, look, optional } of wanted) {
      const node = overlay.append("text").attr("class", `name ${look}`).text(text);
      const { width, height } = node.node().getBBox();
      const covered = (box) => d3.sum(taken, (other) => overlap(box, other)) + (meets(box) || outside(box) ? 10000 : 0);
      const box = d3.least(places(x, y, width, height), (each) => each.cost + covered(each) + inside(lines, each));
      if (meets(box) || outside(box) || (optional && covered(box) > MOST_COVERED)) {
        node.remove();
        continue;
      }
      node.attr("x", box.x).attr("y", box.y + height * 0.8);
      taken.push(box);
      named.push(box);
      if (box.reach === REACHES[0][0]) continue;
      const nearest = (at, low, size) => Math.max(low, Math.min(low + size, at));
      const end = [nearest(x, box.x, box.width), nearest(y, box.y, box.height)], length = Math.hypot(end[0] - x, end[1] - y);
      overlay.insert("line", ":first-child").attr("class", "leader").attr("x1", x + (7 * (end[0] - x)) / length).attr("y1", y + (7 * (end[1] - y)) / length).attr("x2", end[0]).attr("y2", end[1]);
    }
  }

  return { place, along, inside };
})();
