// The page's state and the controls that set it. The address keeps the state, so a view can be shared and reloaded.
(() => {
  const { run, objectives, measures, complete, el, label, estimate, finite } = calib;
  const byId = (id) => document.getElementById(id);
  document.documentElement.classList.add("scripted");
  if (!run.finished) follow();
  if (!complete.length) return ["explore", "point", "curves", "axes"].forEach((id) => byId(id)?.remove());

  const saved = new URLSearchParams(location.hash.slice(1));
  const isPoint = (id) => complete.some((p) => p.id === id);
  const measure = (name, otherwise) => measures.find((m) => m.name === name) ?? otherwise;
  const ruleNames = calib.rules.names(run.rule_scores);
  const state = {
    y: measure(saved.get("y"), measures[0]),
    x: measure(saved.get("x"), measures[1] ?? measures[0]),
    rule: ruleNames.includes(saved.get("rule")) ? saved.get("rule") : "",
    options: parsed(saved.get("options")),
    scope: calib.scopes.includes(saved.get("scope")) ? saved.get("scope") : calib.scopes[0],
    axis: calib.frontier.numeric.includes(saved.get("axis")) ? saved.get("axis") : calib.frontier.numeric.includes("lambda") ? "lambda" : calib.frontier.numeric[0],
    chosen: null, picked: isPoint(saved.get("point")) ? saved.get("point") : null,
  };

  function parsed(text) {
    try {
      const options = JSON.parse(text ?? "{}");
      return options && typeof options === "object" ? options : {};
    } catch {
      return {};
    }
  }

  function keep() {
    const parts = new URLSearchParams({ y: state.y.name, x: state.x.name, scope: state.scope ?? "", axis: state.axis ?? "" });
    if (state.picked && state.picked !== state.chosen) parts.set("point", state.picked);
    if (state.rule) parts.set("rule", state.rule);
    if (state.rule && Object.keys(state.options).length) parts.set("options", JSON.stringify(state.options));
    history.replaceState(null, "", `#${parts}`);
  }

  const trade = calib.frontier.make(byId("frontier-figure"), state, pick);
  const curves = calib.curves.make(byId("curve-figures"), state, pick);
  const table = calib.table.make(state, pick);
  calib.severalAxes.make(pick);
  const about = el("div"), diagram = el("div");
  byId("point-panel").append(about, diagram);
  const reliability = calib.reliability.make(diagram);

  function pick(id) {
    state.picked = id;
    const point = run.points.find((p) => p.id === id);
    about.replaceChildren(calib.point.card(point, state));
    reliability.set(point);
    byId("point-title").textContent = `${label(point)}: all metrics`;
    byId("point-metrics").replaceChildren(...calib.point.metrics(point));
    byId("point-recipe").replaceChildren(calib.point.recipe(point));
    trade.mark();
    if (state.axis) curves.set();
    table.mark();
    keep();
  }

  // Choose among the points that have every objective on both splits and are not dominated on the items chosen on, as the sweep does.
  function decide() {
    const own = run.selection?.point;
    if (!state.rule) return { id: isPoint(own) ? own : null, reason: "" };
    const among = complete.filter((p) => objectives.every((o) => ["selection", "held_out"].every((split) => finite(estimate(p, o, split)?.value))));
    return calib.rules.choose(state.rule, {
      ids: among.map((p) => p.id), objectives: objectives.map((o) => o.name), directions: objectives.map((o) => o.direction),
      values: among.map((p) => objectives.map((o) => estimate(p, o, calib.chosenSplit).value)), parents: among.filter((p) => p.role).map((p) => p.id),
      dominated: among.filter((p) => calib.dominatedBy(p, calib.chosenSplit).length).map((p) => p.id), scores: run.rule_scores,
    }, state.options);
  }

  function rechoose(first) {
    const choice = decide(), own = run.selection?.point;
    state.chosen = choice?.id ?? null;
    const words = [];
    if (state.rule && choice) {
      const name = choice.id && label(run.points.find((p) => p.id === choice.id));
      if (!choice.id) words.push(el("strong", {}, `${state.rule} can choose no point`), `: ${choice.gaveWay}. The default rule, ${calib.said.default_rule}, is run when all points are scored.`);
      else if (choice.gaveWay) words.push(el("strong", {}, `${state.rule} can choose no point`), `: ${choice.gaveWay}. `, el("strong", {}, `The default rule, ${calib.said.default_rule}, chooses ${name}`));
      else words.push(el("strong", {}, `${state.rule} chooses ${name}`));
      if (choice.id) {
        words.push(`: ${choice.reason}, on ${calib.chosenOn}. `);
        words.push(choice.id === own ? "The sweep chose the same point." : `The sweep chose ${own ? calib.pointName(own) : "no point"}; to write this one, run it again with `);
        const select = choice.gaveWay ? { rule: calib.said.default_rule } : { rule: state.rule, ...state.options };
        if (choice.id !== own) words.push(el("code", {}, `select: ${yaml(select)}`));
      }
    } else if (!state.rule && run.selection?.gave_way)
      words.push(el("strong", {}, `The sweep's rule, ${run.selection.rule}, could choose no point`), `: ${run.selection.gave_way}. The default rule chose.`);
    byId("rule-outcome").replaceChildren(...words);
    trade.set();
    pick((first && state.picked) || state.chosen || complete[0].id);
  }

  // Quote a name with a character that YAML would split at, as the comma in `calib_gsm8k/ece,flexible-extract`.
  const plain = (value) => (typeof value !== "string" || /^[\w./-]+$/.test(value) ? String(value) : JSON.stringify(value));
  const yaml = (value) => (value && typeof value === "object" ? `{${Object.entries(value).map(([k, v]) => `${yaml(k)}: ${yaml(v)}`).join(", ")}}` : plain(value));

  // Show an input for each option of the rule; empty inputs are left out.
  function options() {
    const box = byId("rule-options"), { rule } = state;
    const value = (input) => (input.value.trim() === "" || !Number.isFinite(input.valueAsNumber) ? null : input.valueAsNumber);
    const input = (words, held, placeholder, take, least) => el("label", {}, words, el("input", {
      type: "number", step: "any", min: least, placeholder, value: held ?? "", oninput: (event) => { take(value(event.target)); rechoose(); },
    }));
    const put = (group, key, given) => {
      const entries = { ...state.options[group], [key]: given };
      if (given === null) delete entries[key];
      state.options = { ...state.options, [group]: entries };
      if (!Object.keys(entries).length) delete state.options[group];
    };
    const parts = [];
    if (rule === "max") {
      state.options.objective = objectives.some((o) => o.name === state.options.objective) ? state.options.objective : objectives[0].name;
      const best = el("select", { id: "rule-objective", onchange: (event) => { state.options.objective = event.target.value; rechoose(); } },
        ...objectives.map((o) => el("option", { value: o.name, selected: o.name === state.options.objective }, o.name)));
      parts.push(el("label", {}, "the best", best));
      for (const o of objectives)
        for (const [side, words] of [["min", "at least"], ["max", "at most"]])
          parts.push(input(`${o.name} ${words}`, state.options.bounds?.[o.name]?.[side], "any", (given) => {
            const bound = { ...state.options.bounds?.[o.name], [side]: given };
            if (given === null) delete bound[side];
            put("bounds", o.name, Object.keys(bound).length ? bound : null);
          }));
    }
    if (rule === "one_se" || rule === "least") {
      const names = [...new Set([...Object.keys(run.rule_scores), ...objectives.map((o) => o.name)])];
      for (const [key, words] of [["score", rule === "least" ? "the best" : "within one standard error of the best"], ...(rule === "one_se" ? [["then", "the best"]] : [])]) {
        if (!names.includes(state.options[key])) delete state.options[key];
        const pick = el("select", { id: `rule-${key}`, onchange: (event) => { if (event.target.value) state.options[key] = event.target.value; else delete state.options[key]; rechoose(); } },
          ...["", ...names].map((name) => el("option", { value: name, selected: name === (state.options[key] ?? "") }, name || "by default")));
        parts.push(el("label", {}, words, pick));
      }
    }
    if (rule === "weighted") for (const o of objectives) parts.push(input(`weight of ${o.name}`, state.options.weights?.[o.name], "1", (given) => put("weights", o.name, given === null || given < 0 ? null : given), 0));
    if (rule === "nearest") for (const o of objectives) parts.push(input(`ideal ${o.name}`, state.options.ideal?.[o.name], "best", (given) => put("ideal", o.name, given)));
    box.replaceChildren(...parts);
    box.hidden = !parts.length;
  }

  function choice(id, entries, held, take) {
    const select = byId(id);
    for (const [value, words] of entries) select.append(el("option", { value, selected: value === held }, words));
    select.addEventListener("change", () => take(select.value));
    if (entries.length < 2) select.closest("label").hidden = true;
  }

  const named = measures.map((m) => [m.name, `${m.name}${calib.arrow(m) ? ` ${calib.arrow(m)}` : ""}`]);
  const redraw = () => { trade.set(); trade.mark(); keep(); };
  choice("y", named, state.y.name, (name) => { state.y = measure(name); redraw(); });
  choice("x", named, state.x.name, (name) => { state.x = measure(name); redraw(); });
  const own = run.selection ? [["", `${run.selection.rule}, as in the sweep`]] : [["", "the sweep's own rule"]];
  choice("rule", [...own, ...ruleNames.map((name) => [name, name])], state.rule, (rule) => {
    state.rule = rule;
    state.options = {};
    options();
    rechoose();
  });
  choice("axis", calib.frontier.numeric.map((axis) => [axis, calib.axisLabel(axis)]), state.axis, (axis) => { state.axis = axis; curves.set(); keep(); });
  choice("scope", calib.scopes.map((scope) => [scope, calib.scopeName(scope)]), state.scope, (scope) => { state.scope = scope; curves.set(); keep(); });
  if (!state.axis) byId("curves").remove();
  options();
  rechoose(true);

  function follow() {
    const box = byId("follow");
    box.checked = sessionStorage.getItem("calib-follow") !== "no";
    box.addEventListener("change", () => sessionStorage.setItem("calib-follow", box.checked ? "yes" : "no"));
    byId("written").textContent = `Last written ${new Date(document.lastModified).toLocaleTimeString()}.`;
    // Do not reload while the page is being used.
    let touched = 0;
    for (const event of ["pointerdown", "pointermove", "keydown", "wheel"]) addEventListener(event, () => (touched = Date.now()), { passive: true });
    setInterval(() => box.checked && !document.hidden && Date.now() - touched > 10000 && location.reload(), 15000);
  }
})();
