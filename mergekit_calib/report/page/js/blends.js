// The parents' log-probabilities blended at many λ: no merge, but both models run. Curves beside the points.
calib.blends = (() => {
  const { run, parents, finite, el } = calib;
  const several = run.blends.length > 1;
  const words = `${several ? "two" : "both"} parents' log-probabilities blended (runs two models)`;

  // Blends with the parents that they are of, whether short tables have them, and the class of their line.
  const blends = run.blends.map((blend) => {
    const of = blend.of.map((id) => parents.find((p) => p.point.id === id));
    const chosen = run.baselines.find((b) => b.kind === "blend" && b.of.join() === blend.of.join());
    const name = several ? `${of.map((p, i) => p?.role ?? calib.pointName(blend.of[i])).join(" and ")} blended` : "parents blended";
    const shown = chosen?.shown ?? true;
    return { blend, of, name, shown, look: `blend-line ${several ? of[1]?.look ?? "" : ""} ${shown ? "" : "aside"}` };
  });
  const values = ({ blend }, measure) => blend.values[measure.name]?.held_out ?? [];

  // The places of each blend in the plane of two objectives; empty for other measures, which blends do not have.
  const inPlane = (x, y) => blends.map((one) => {
    const xs = values(one, x), ys = values(one, y);
    const places = one.blend.lambdas.map((at, i) => ({ at, x: xs[i], y: ys[i], one })).filter((p) => finite(p.x) && finite(p.y));
    return { ...one, places };
  }).filter((one) => one.places.length > 1);

  // The values of each blend along an axis of the sweep, where its two parents are on that axis; along λ between two parents in any case.
  const alongAxis = (axis, measure) => blends.map((one) => {
    const [from, to] = one.of.map((p) => p?.point.axes[axis]), onAxis = finite(from) && finite(to) && from !== to;
    if (!onAxis && !(axis === "lambda" && parents.length === 2)) return { ...one, places: [] };
    const given = values(one, measure);
    const places = one.blend.lambdas.map((at, i) => ({ at: onAxis ? from + at * (to - from) : at, value: given[i] })).filter((p) => finite(p.value));
    return { ...one, places };
  }).filter((one) => one.places.length > 1);

  // A legend entry for each drawn blend: several have lines that differ.
  const keys = (drawn) => drawn.map((one) => el("span", {}, calib.marks.stroke(one.look), drawn.length > 1 ? `${one.name} (runs two models)` : words));
  return { inPlane, alongAxis, keys };
})();
