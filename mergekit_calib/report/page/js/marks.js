// The shapes of marks and strokes, for charts and their legends.
calib.marks = (() => {
  // A regular polygon as a symbol of d3 and Plot; `turn` is the angle of its first corner, clockwise from the top, in turns.
  const polygon = (corners, turn = 0) => ({
    draw(context, size) {
      const radius = Math.sqrt(size / (0.5 * corners * Math.sin((2 * Math.PI) / corners)));
      for (let i = 0; i < corners; i++) {
        const angle = 2 * Math.PI * (turn + i / corners);
        context[i ? "lineTo" : "moveTo"](radius * Math.sin(angle), -radius * Math.cos(angle));
      }
      context.closePath();
    },
  });
  // As in report/figures/drawing.py.
  const ofParents = [d3.symbolSquare, d3.symbolDiamond, polygon(3, 0.5), polygon(5), polygon(6), d3.symbolStar, polygon(3, 0.75), d3.symbolWye];
  const ofBaselines = { temperature: d3.symbolTriangle, average: d3.symbolCross, blend: d3.symbolCircle };

  const icon = (box) => d3.create("svg").attr("viewBox", box).attr("aria-hidden", "true");
  function mark(shape, look) {
    const svg = icon("-8 -8 16 16");
    svg.append("path").attr("d", d3.symbol(shape, 90)()).attr("class", `mark ${look}`);
    return svg.node();
  }
  function stroke(look) { // a line, or a swatch of a band
    const svg = icon("0 0 22 14").attr("class", "wide");
    svg.append("line").attr("x1", 0).attr("x2", 22).attr("y1", 7).attr("y2", 7).attr("class", look);
    return svg.node();
  }
  return { ofParents, ofBaselines, mark, stroke };
})();
