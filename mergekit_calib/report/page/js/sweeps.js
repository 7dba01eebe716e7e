// The comparison's controls and charts.
(() => {
  const { run, el, label } = calib, byId = (id) => document.getElementById(id), { measures } = run;
  document.documentElement.classList.add("scripted");
  const saved = new URLSearchParams(location.hash.slice(1)), named = (key) => measures.find((m) => m.name === saved.get(key));
  const state = { y: named("y") ?? measures[0], x: named("x") ?? measures[1] ?? measures[0] };
  const plane = calib.plane.make(byId("plane-figure"), state);
  for (const key of ["y", "x"]) {
    const select = byId(key);
    select.append(...measures.map((m) => el("option", { value: m.name, selected: m === state[key] }, m.name)));
    select.addEventListener("change", () => {
      state[key] = measures.find((m) => m.name === select.value);
      history.replaceState(null, "", `#${new URLSearchParams({ y: state.y.name, x: state.x.name })}`);
      plane.set();
    });
  }
  plane.set();
  for (const measure of measures) {
    const host = el("div", { class: "multiples" });
    byId("along-figures").append(el("div", {}, el("h3", { class: "sub" }, measure.name, ` ${calib.better(measure)}`), host));
    calib.along.make(host, measure);
    if (!host.children.length) host.parentElement.remove();
  }
  if (!byId("along-figures").children.length) byId("along").remove();
  const several = run.sweeps.filter((s) => s.axes.length > 1);
  for (const [i, sweep] of several.entries()) {
    const columns = [...sweep.axes.map((axis) => ({ name: `axis ${axis}`, title: calib.axisLabel(axis) })), ...[...measures].reverse().map((m) => ({ name: m.name, title: m.name, direction: m.direction }))];
    const rows = sweep.points.filter((p) => Object.keys(p.axes).length).map((p) => ({
      id: p.id, label: label(p), selected: p.selected, role: p.role,
      of: { ...Object.fromEntries(Object.entries(p.axes).map(([axis, value]) => [`axis ${axis}`, value])), ...Object.fromEntries(measures.map((m) => [m.name, p.values[m.name]?.value])) },
    }));
    calib.parallel.make(byId("parallel-figures"), `parallel-${i}`, { title: sweep.label, columns, rows });
    if (!sweep.importances.length) continue;
    const host = el("div", { class: "multiples" });
    byId("parallel-figures").append(calib.importance.note(), host);
    calib.importance.makeAll(host, `importance-${i}`, sweep.importances, (metric) => `${sweep.label}: what ${metric} depends on`);
  }
  if (!several.length) byId("parallel").remove();
})();
