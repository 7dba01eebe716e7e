// One point in detail: its objectives compared with the parents, every metric of every task, and its plain recipe.
calib.point = (() => {
  const { run, parents, estimate, label, number, decimals, interval, bracketed, finite, el } = calib;

  // The paired difference if the run has one, else the difference of the two values.
  function against(point, { role, point: parent }, measure) {
    if (point.id === parent.id) return null;
    const paired = point.differences[role]?.[measure.name];
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
    badges.push(badge(`${calib.onFrontier(point) ? "on the frontier" : "not on the frontier"}${often && calib.onFrontier(point) ? `,${often}` : ""}`));
    for (const [split, words] of [["held_out", "dominated by"], [calib.chosenSplit, `dominated on ${calib.chosenOn}, so never chosen, by`]]) {
      const by = calib.dominatedBy(point, split);
      if (by.length) badges.push(el("span", { class: "badge bad" }, `${words} ${calib.named(by)}`));
    }
    if (point.superiority) {
      const p = `p ${calib.pValue(point.superiority.p_adjusted)}`;
      badges.push(badge(point.superiority.shown ? `✓ better than ${calib.everyParent} (${p})` : `not significantly better than ${calib.everyParent} (${p})`));
    }
    if (point.reused) badges.push(badge("reused: scored by an earlier run"));
    if (point.same_as) badges.push(badge(`same weights as ${calib.pointName(point.same_as)}`));
    const values = calib.objectives.map((measure) => {
      const value = estimate(point, measure), places = decimals([value]);
      const lines = parents.length > 2 ? [] : parents.map((parent) => {
        const difference = against(point, parent, measure);
        return difference && el("div", { class: "against" }, `vs ${parent.role} `, ...differenceText(measure, difference, places));
      });
      const onThose = estimate(point, measure, calib.chosenSplit);
      const chosenOn = onThose && el("div", { class: "against" }, `on ${calib.chosenOn} ${number(onThose.value, places)}`);
      return el("div", {}, el("dt", {}, `${measure.name} ${calib.arrow(measure)}`),
        el("dd", {}, el("span", { class: "big" }, number(value?.value, places)), el("span", { class: "span" }, bracketed(value, places)), chosenOn, ...lines));
    });
    return el("div", { class: "card" }, el("h3", { id: "point-name" }, label(point)), el("div", { class: "badges" }, ...badges), el("dl", { class: "values" }, ...values), versus(point));
  }

  // The differences in the objectives from each of more than two parents; of fewer, they are below the values.
  function versus(point) {
    const others = parents.filter((p) => p.point.id !== point.id);
    if (parents.length <= 2) return null;
    const head = el("tr", {}, ...["minus", ...calib.objectives.map((o) => `${o.name} ${calib.arrow(o)}`)].map((words, i) => el("th", { scope: "col", class: i ? "number" : "" }, words)));
    const cell = (parent, measure) => {
      const difference = against(point, parent, measure), places = decimals([estimate(point, measure)]);
      if (!difference) return el("td");
      return el("td", { class: "number" }, el("span", { class: calib.outcome(measure, difference) }, number(difference.value, places, true)), el("span", { class: "below" }, bracketed(difference, places, true)));
    };
    const rows = others.map((p) => el("tr", {}, el("th", { scope: "row" }, p.role), ...calib.objectives.map((o) => cell(p, o))));
    return el("div", { class: "scroll versus", role: "region", tabindex: "0", "aria-label": "Differences from every parent" }, el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows)));
  }

  const columns = ["items of", "metric", "value", "low", "high", "n", calib.chosenOn,
    ...parents.flatMap((p) => [p.role, ...["", " low", " high", " p"].map((part) => `minus ${p.role}${part}`)])];

  function records(point) {
    return calib.scopes.filter((scope) => scope in point.metrics).flatMap((scope) =>
      Object.keys(point.metrics[scope]).map((metric) => {
        const name = calib.objectives.find((o) => o.scope === scope && o.metric === metric)?.name ?? (scope === "suite" ? metric : `${scope}/${metric}`);
        const measure = { scope, metric, name, direction: calib.direction(metric) };
        return { measure, value: estimate(point, measure), chosenOn: estimate(point, measure, calib.chosenSplit),
          parents: parents.map((p) => ({ value: estimate(p.point, measure), difference: against(point, p, measure) })) };
      }).filter((record) => record.value));
  }

  function metrics(point) {
    const bodies = d3.group(records(point), (r) => r.measure.scope);
    const name = label(point);
    const few = parents.length <= 2; // of more parents, the differences alone
    const head = ["metric", name.length > 24 ? "this point" : name, calib.chosenOn.replace("the ", ""), ...parents.flatMap((p) => [...(few ? [p.role] : []), `minus ${p.role}`]), "items"];
    const save = () => calib.download("point", ["point", ...columns], records(point).map((r) => [point.id, r.measure.scope, r.measure.metric,
      r.value.value, r.value.low, r.value.high, r.value.n, r.chosenOn?.value,
      ...r.parents.flatMap(({ value, difference }) => [value?.value, difference?.value, difference?.low, difference?.high, difference?.p])]));
    const table = el("table", { id: "metrics-table" }, el("caption", {}, el("span", {}, caption())),
      el("thead", {}, el("tr", {}, ...head.map((words, i) => el("th", { scope: "col", class: i ? "number" : "" }, words)))));
    for (const [scope, rows] of bodies) {
      const body = el("tbody", { class: "group" });
      if (bodies.size > 1) body.append(el("tr", {}, el("th", { colspan: head.length, scope: "rowgroup" }, calib.scopeName(scope))));
      for (const { measure, value, chosenOn, parents: theirs } of rows) {
        const places = decimals([value]);
        const cells = theirs.flatMap(({ value: other, difference }) => [
          ...(few ? [el("td", { class: "number" }, number(other?.value, places))] : []),
          el("td", { class: "number" }, ...(difference ? [el("span", { class: calib.outcome(measure, difference) }, number(difference.value, places, true)), el("span", { class: "span" }, bracketed(difference, places, true)),
            finite(difference.p) ? el("span", { class: "p" }, `p ${calib.pValue(difference.p)}`) : ""] : [""])),
        ]);
        body.append(el("tr", {}, el("th", { scope: "row" }, `${measure.metric} ${calib.arrow(measure)}`),
          el("td", { class: "number" }, number(value.value, places), el("span", { class: "span" }, bracketed(value, places))), el("td", { class: "number" }, number(chosenOn?.value, places)), ...cells,
          el("td", { class: "number" }, value.n.toLocaleString("en"))));
      }
      table.append(body);
    }
    const scroll = el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Every metric of the point" }, table);
    return [scroll, el("p", {}, el("button", { type: "button", class: "tool", onclick: save }, "Download CSV")), ...(changes(point) ?? [])];
  }

  function caption() {
    const shown = Object.entries(run.detectable).filter(([, smallest]) => finite(smallest)).map(([name, smallest]) => `${name} ${number(smallest)}`);
    return `Numbers are of the held-out split; one column has those of ${calib.chosenOn}, on which points are chosen. A difference is significant if its interval does not ` +
      "contain 0; without an interval it was not tested. p is one-sided, for a gain." + (shown.length ? ` Smallest true difference that these items would show with a probability of 80 %: ${shown.join(", ")}.` : "");
  }

  // What changes for users of each parent; null if there is nothing to compare.
  function changes(point) {
    const known = parents.filter((p) => finite(point.changes[p.role]?.differ.value));
    if (!known.length) return null;
    const share = (e) => [`${number(100 * e.value, 1)} %`, finite(e.low) && finite(e.high) ? el("span", { class: "span" }, `[${number(100 * e.low, 1)}, ${number(100 * e.high, 1)}]`) : ""];
    const cell = (...content) => el("td", { class: "number" }, ...content);
    const rows = known.map(({ role }) => {
      const { differ, wrong_to_correct, correct_to_wrong, kl } = point.changes[role];
      return el("tr", {}, el("th", { scope: "row" }, role), cell(...share(differ)), cell(...share(wrong_to_correct)), cell(...share(correct_to_wrong)),
        cell(number(kl.value, decimals([kl])), el("span", { class: "span" }, bracketed(kl, decimals([kl])))));
    });
    const head = ["users of", "answers that change", "wrong → correct", "correct → wrong", "mean KL (nats)"].map((words, i) => el("th", { scope: "col", class: i ? "number" : "" }, words));
    const table = el("table", { id: "changes-table" }, el("caption", {}, el("span", {}, `Held-out items with choices. ${calib.said.kl_note}`)), el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
    return [el("h3", { class: "sub" }, "What changes for users"), el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "What changes for users" }, table)];
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
