// One point in detail: its objectives compared with the parents, every metric of every task, and its plain recipe.
calib.point = (() => {
  const { run, estimate, label, number, decimals, interval, bracketed, finite, el } = calib;
  const parents = ["base", "aligned"].map((role) => run.points.find((p) => p.role === role && p.status === "complete")).filter(Boolean);

  // The paired difference if the run has one, else the difference of the two values.
  function against(point, parent, measure) {
    if (point.id === parent.id) return null;
    const paired = point.differences[parent.role]?.[measure.name];
    if (paired && finite(paired.value)) return paired;
    const mine = estimate(point, measure)?.value, theirs = estimate(parent, measure)?.value;
    return finite(mine) && finite(theirs) ? { value: mine - theirs, low: null, high: null } : null;
  }

  function differenceText(measure, difference, places) {
    const verdict = calib.outcome(measure, difference), span = interval(difference, places, true);
    const word = verdict === "not-significant" ? (span ? "no significant difference" : "") : verdict;
    return [el("span", { class: verdict }, number(difference.value, places, true), word ? ` ${word}` : ""), span ? ` (${span})` : ""];
  }

  function card(point, state) {
    const badge = (words, strong) => el("span", { class: strong ? "badge strong" : "badge" }, words);
    const badges = [];
    if (point.id === state.chosen) badges.push(badge("★ chosen", true));
    if (point.selected && point.id !== state.chosen) badges.push(badge("chosen by the sweep"));
    if (point.role) badges.push(badge(point.role));
    const share = point.frontier_probability;
    const often = share == null ? "" : ` in ${calib.percent(Math.round(share * 100) / 100)} of resamples`;
    badges.push(badge(`${calib.onFrontier(point) ? "on the frontier" : "dominated"}${often && calib.onFrontier(point) ? `,${often}` : ""}`));
    if (point.superiority) badges.push(badge(point.superiority.shown ? "better than both parents" : "not significantly better than both parents"));
    if (point.same_as) badges.push(badge(`same weights as ${calib.pointName(point.same_as)}`));
    const values = calib.objectives.map((measure) => {
      const value = estimate(point, measure), places = decimals([value]);
      const lines = parents.map((parent) => {
        const difference = against(point, parent, measure);
        return difference && el("div", { class: "against" }, `vs ${parent.role} `, ...differenceText(measure, difference, places));
      });
      return el("div", {}, el("dt", {}, `${measure.name} ${calib.arrow(measure)}`),
        el("dd", {}, el("span", { class: "big" }, number(value?.value, places)), el("span", { class: "span" }, bracketed(value, places)), ...lines));
    });
    return el("div", { class: "card" }, el("h3", { id: "point-name" }, label(point)), el("div", { class: "badges" }, ...badges), el("dl", { class: "values" }, ...values));
  }

  const columns = ["items of", "metric", "value", "low", "high", "n", ...parents.flatMap((p) => [p.role, `minus ${p.role}`, `minus ${p.role} low`, `minus ${p.role} high`])];

  function records(point) {
    return calib.scopes.filter((scope) => scope in point.metrics).flatMap((scope) =>
      Object.keys(point.metrics[scope]).map((metric) => {
        const name = calib.objectives.find((o) => o.scope === scope && o.metric === metric)?.name ?? (scope === "suite" ? metric : `${scope}/${metric}`);
        const measure = { scope, metric, name, direction: calib.direction(metric) };
        return { measure, value: estimate(point, measure), parents: parents.map((p) => ({ value: estimate(p, measure), difference: against(point, p, measure) })) };
      }).filter((record) => record.value));
  }

  function metrics(point) {
    const bodies = d3.group(records(point), (r) => r.measure.scope);
    const name = label(point);
    const head = ["metric", name.length > 24 ? "this point" : name, ...parents.flatMap((p) => [p.role, `minus ${p.role}`]), "items"];
    const save = () => calib.download("point", ["point", ...columns], records(point).map((r) => [point.id, r.measure.scope, r.measure.metric,
      r.value.value, r.value.low, r.value.high, r.value.n, ...r.parents.flatMap(({ value, difference }) => [value?.value, difference?.value, difference?.low, difference?.high])]));
    const table = el("table", { id: "metrics-table" }, el("caption", {}, "Held-out split. A difference is significant if its interval does not contain 0; without an interval it was not tested."),
      el("thead", {}, el("tr", {}, ...head.map((words, i) => el("th", { scope: "col", class: i ? "number" : "" }, words)))));
    for (const [scope, rows] of bodies) {
      const body = el("tbody", { class: "group" });
      if (bodies.size > 1) body.append(el("tr", {}, el("th", { colspan: head.length, scope: "rowgroup" }, calib.scopeName(scope))));
      for (const { measure, value, parents: theirs } of rows) {
        const places = decimals([value]);
        const cells = theirs.flatMap(({ value: other, difference }) => [
          el("td", { class: "number" }, number(other?.value, places)),
          el("td", { class: "number" }, ...(difference ? [el("span", { class: calib.outcome(measure, difference) }, number(difference.value, places, true)), el("span", { class: "span" }, bracketed(difference, places, true))] : [""])),
        ]);
        body.append(el("tr", {}, el("th", { scope: "row" }, `${measure.metric} ${calib.arrow(measure)}`),
          el("td", { class: "number" }, number(value.value, places), el("span", { class: "span" }, bracketed(value, places))), ...cells,
          el("td", { class: "number" }, value.n.toLocaleString("en"))));
      }
      table.append(body);
    }
    const scroll = el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Every metric of the point" }, table);
    return [scroll, el("p", {}, el("button", { type: "button", class: "tool", onclick: save }, "Download CSV"))];
  }

  async function copy(text, button) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = el("textarea", { class: "hidden" });
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    button.textContent = "Copied";
    calib.figure.say("Copied");
    setTimeout(() => (button.textContent = "Copy"), 1600);
  }

  function block(title, text, id) {
    const button = el("button", { type: "button", class: "tool", "aria-label": `Copy: ${title}`, onclick: () => copy(text, button) }, "Copy");
    return el("div", { class: "recipe" }, el("div", { class: "bar" }, el("h3", {}, title), button), el("pre", { id, tabindex: "0" }, el("code", {}, text)));
  }

  return { card, metrics, recipe: (point) => block("Plain mergekit recipe", point.recipe, "recipe") };
})();
