// The section of a sweep of several axes: parallel coordinates of its points, and the importance of each axis.
calib.severalAxes = (() => {
  const { run, objectives, complete, label, estimate, el } = calib;

  function make(choose) {
    const section = document.getElementById("axes");
    if (!section) return;
    const rows = complete.filter((p) => Object.keys(p.axes).length).map((p) => ({
      id: p.id, label: label(p), selected: p.selected, role: p.role,
      of: { ...Object.fromEntries(Object.entries(p.axes).map(([axis, value]) => [`axis ${axis}`, value])), ...Object.fromEntries(objectives.map((o) => [o.name, estimate(p, o)?.value])) },
    }));
    const columns = [
      ...Object.keys(run.axes).map((axis) => ({ name: `axis ${axis}`, title: calib.axisLabel(axis) })),
      ...[...objectives].reverse().map((o) => ({ name: o.name, title: o.name, direction: o.direction })),
    ];
    if (rows.length < 2) return section.remove();
    calib.parallel.make(document.getElementById("axes-parallel"), "parallel", { title: "Every point over all axes", columns, rows, choose });
    const importances = calib.said.importances ?? [], host = document.getElementById("axes-importance");
    calib.importance.makeAll(host, "importance", importances, (metric) => `What ${metric} depends on`);
    if (importances.length) host.before(calib.importance.note());
  }
  return { make };
})();
