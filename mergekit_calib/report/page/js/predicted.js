// Metrics between the scored points, as the strategy `curve` predicts them: lines, never marks.
calib.predicted = (() => {
  const { run, complete, finite, number, el } = calib, { predicted } = run;
  const scored = new Set(complete.map((p) => p.axes[predicted?.axis]));
  const name = (measure) => (measure.scope === "suite" ? measure.metric : `${measure.scope}/${measure.metric}`);
  const values = (measure) => (predicted?.known && predicted.metrics[measure.scope]?.[measure.metric]?.held_out) || null;
  const known = (one) => finite(one.value) || (finite(one.x) && finite(one.y));

  // The places of a line along the axis: {at, value}; a value that is not a number interrupts it. Empty without a line.
  function alongAxis(axis, measure) {
    const given = axis === predicted?.axis && values(measure);
    return given ? predicted.values.map((at, i) => ({ at, value: given[i] ?? NaN })) : [];
  }

  // The places of a line in the plane of two measures: {at, x, y}.
  function inPlane(x, y) {
    const xs = values(x), ys = values(y);
    return xs && ys ? predicted.values.map((at, i) => ({ at, x: xs[i] ?? NaN, y: ys[i] ?? NaN })) : [];
  }

  // The places that are not scored: for tables and tooltips.
  const unscored = (places) => places.filter((p) => known(p) && !scored.has(p.at));
  const label = (place) => `${calib.axisLabel(predicted.axis)} = ${calib.axisValue(place.at)}, predicted`;

  // How far predictions of a measure were off, in words.
  function error(measure) {
    const typical = predicted?.typical_errors[name(measure)];
    return finite(typical) ? `typical error ${number(typical, 2)} standard errors` : "";
  }

  const key = (more = "") => el("span", {}, calib.marks.stroke("predicted-line"), `predicted${more}`);
  // If the strategy predicts, a line between scored points would be taken for its prediction, also where it found none.
  return { isUsed: Boolean(predicted), isKnown: Boolean(predicted?.known), alongAxis, inPlane, unscored, label, error, key };
})();
