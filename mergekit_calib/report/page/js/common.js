// Code that all parts of the page share: the data, number formats, names, DOM elements, and CSV downloads.
const calib = (() => {
  const block = document.getElementById("data");
  // The sweep, as in frontier.json; and what Python says in words: names of baselines, the default rule, a warning.
  const run = JSON.parse(block.textContent), said = JSON.parse(block.dataset.said);
  const minus = (text) => text.replace("-", "−");
  const finite = (value) => typeof value === "number" && Number.isFinite(value);

  // Decimals as in report/text/formatting.py: two digits of the median width of the intervals, 3 to 6 decimals.
  function decimals(estimates) {
    const widths = estimates.filter((e) => e && finite(e.low) && finite(e.high) && e.high > e.low).map((e) => e.high - e.low);
    if (!widths.length) return 3;
    return Math.max(3, Math.min(6, 1 + Math.ceil(-Math.log10(d3.median(widths)))));
  }

  function number(value, places = 3, signed = false) {
    if (!finite(value)) return "–";
    const text = value.toFixed(places);
    if (Number(text) === 0) return text.replace("-", "");
    return minus(signed && value > 0 ? `+${text}` : text);
  }

  function interval(estimate, places = 3, signed = false) {
    if (!estimate || !finite(estimate.low) || !finite(estimate.high)) return "";
    return `${number(estimate.low, places, signed)} to ${number(estimate.high, places, signed)}`;
  }

  const bracketed = (estimate, places = 3, signed = false) => {
    const text = interval(estimate, places, signed);
    return text && `[${text.replace(" to ", ", ")}]`;
  };

  const percent = (share) => `${Number((100 * share).toFixed(4))} %`;
  const axisLabel = (axis) => (axis === "lambda" ? "λ" : axis);
  const axisValue = (value) => (finite(value) ? minus(String(Number(value.toPrecision(6)))) : value);

  // The name that people read for an id, as in results/names.py: `λ = 0.4, density = 0.3` for `lambda=0.4,density=0.3`.
  function pointName(id) {
    const settings = id.split(/,(?=[A-Za-z_]\w*=)/).map((part) => part.match(/^([A-Za-z_]\w*)=([^]+)$/));
    if (!settings.every(Boolean)) return id;
    const value = (text) => (/^-?\d[\d.]*(e[+-]?\d+)?$/.test(text) ? text.replaceAll("-", "−") : text);
    return settings.map(([, axis, text]) => `${axisLabel(axis)} = ${value(text)}`).join(", ");
  }

  // A point's name, with its role if it is a parent: `λ = 0 (base)`.
  const label = (point) => pointName(point.id) + (point.role && point.id !== point.role ? ` (${point.role})` : "");

  // Points in a sentence: a parent by its role, another point by its name; of many, the first three.
  function named(ids) {
    const names = ids.map((id) => run.points.find((p) => p.id === id)?.role ?? pointName(id));
    if (names.length > 3) names.splice(3, names.length, `${names.length - 3} more`);
    return names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names[0];
  }

  const baselineLabel = (baseline) => said.baselines[baseline.id];

  // As in report/text/formatting.py.
  const pValue = (p) => (p < 0.001 ? "< 0.001" : `= ${p.toFixed(p < 0.1 ? 3 : 2)}`);

  // A measure is a metric of a scope: an objective, or any other metric that the points have.
  const objectives = run.objectives.map((o) => {
    const scope = o.task || ({ macro: "macro", worst: "worst" }[o.average] ?? "suite");
    const metric = o.to == null ? o.metric : `${o.metric}_to_${o.to}`;
    return { scope, metric, direction: o.direction, name: scope === "suite" ? metric : `${scope}/${metric}` };
  });
  const lessIsBetter = new Set(["ece", "rms_ce_debiased", "ece_debiased", "smooth_ece", "brier", "nll"]);
  const moreIsBetter = new Set(["acc", "acc_norm"]);
  const direction = (metric) =>
    objectives.find((o) => o.metric === metric)?.direction ??
    (lessIsBetter.has(metric) || /^(kl|negative_flips)_to_/.test(metric) ? "minimize" : moreIsBetter.has(metric) ? "maximize" : null);
  const scopeName = (scope) => ({ suite: "all tasks pooled", macro: "average of tasks", worst: "the worst task" })[scope] ?? scope;
  const estimate = (measured, measure, split = "held_out") => measured?.metrics?.[measure.scope]?.[measure.metric]?.[split];

  const complete = run.points.filter((p) => p.status === "complete");
  // The parents that are scored, in the recipe's order; `look` is the class of their colour and dashes.
  const parents = Object.keys(run.models).map((role, i) => ({ role, i, look: `parent p${i % 8}`, point: complete.find((p) => p.role === role) }))
    .filter((parent) => parent.point);
  const everyParent = { 1: "the parent", 2: "both parents" }[Object.keys(run.models).length] ?? "every parent";
  // With a single task, its items and the pooled items are the same, so one scope is enough.
  const scopes = [...new Set(complete.flatMap((p) => Object.keys(p.metrics)))]
    .filter((scope) => run.suite.length > 1 || scope === "suite" || objectives.some((o) => o.scope === scope))
    .sort((a, b) => (b === "suite") - (a === "suite"));
  const metricsOf = (scope) => [...new Set(complete.flatMap((p) => Object.keys(p.metrics[scope] ?? {})))];
  const measures = [...objectives];
  for (const scope of scopes)
    for (const metric of metricsOf(scope))
      if (!objectives.some((o) => o.scope === scope && o.metric === metric))
        measures.push({ scope, metric, direction: direction(metric), name: scope === "suite" ? metric : `${scope}/${metric}` });

  const onFrontier = (point) => point.on_frontier.held_out ?? point.on_frontier.all ?? false;
  // The items that the point is chosen on: `selection` or `all`, and how people call them.
  const chosenSplit = run.selection?.split ?? "selection";
  const chosenOn = chosenSplit === "all" ? "all items" : "the selection split";

  // Beyond chance, as `dominated_by` of frontier.json has it: the points that dominate this one.
  const dominatedBy = (point, split = "held_out") => point.dominated_by[split] ?? [];
  const arrow = (measure) => ({ maximize: "↑", minimize: "↓" })[measure.direction] ?? "";
  const better = (measure) => ({ maximize: "higher is better", minimize: "lower is better" })[measure.direction] ?? "";

  // `better` or `worse`; `not-significant` if the interval contains 0 or there is none. As in report/text/outcomes.py.
  function outcome(measure, difference) {
    if (!difference || !finite(difference.low) || !finite(difference.high) || !measure.direction) return "not-significant";
    if (difference.low <= 0 && difference.high >= 0) return "not-significant";
    return difference.low > 0 === (measure.direction === "maximize") ? "better" : "worse";
  }

  // Return a DOM element. Children are nodes or text, never markup, so a name cannot insert any.
  function el(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value != null) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child != null));
    return element;
  }

  // Texts that a spreadsheet would run as formulas get an apostrophe, as in report/tables/csv_text.py.
  const cell = (value) => {
    const plain = value == null || (typeof value === "number" && !Number.isFinite(value)) ? "" : String(value);
    const runs = typeof value === "string" && /^'*[=+\-@＝＋－＠]/.test(plain) && !/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(plain);
    const text = runs ? `'${plain}` : plain;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };

  function download(name, columns, rows) {
    const text = [columns, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
    const address = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv;charset=utf-8" }));
    const link = el("a", { href: address, download: `${name}.csv` });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  }

  return {
    run, objectives, measures, scopes, complete, metricsOf, direction, scopeName, estimate, onFrontier, chosenSplit, chosenOn, dominatedBy, arrow, better, outcome,
    said, parents, everyParent, pValue, decimals, number, interval, bracketed, percent, axisLabel, axisValue, pointName, named, label, baselineLabel, finite, el, download,
  };
})();
