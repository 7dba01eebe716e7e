// The table of every point: its headers sort it, and its rows select points.
calib.table = (() => {
  const { run, el } = calib;

  function make(state, choose) {
    const table = document.getElementById("points-table"), body = table.tBodies[0];
    const rows = [...body.rows].filter((row) => row.dataset.point != null), rest = [...body.rows].filter((row) => row.dataset.point == null);
    const headers = [...table.tHead.querySelector("tr:last-child").cells];

    // The sort key of a cell: its number, or its text in the first column; null, which sorts last, if it has no value.
    function key(row, column) {
      const cell = row.cells[column];
      if (!cell || cell.colSpan > 1) return null;
      const text = (cell.firstChild?.textContent ?? "").trim();
      const value = text.match(/[−-]?\d+(\.\d+)?(e[−-]?\d+)?/);
      if (column && value) return Number(value[0].replaceAll("−", "-"));
      return text === "" || text === "–" ? null : column ? -1 : natural(text);
    }
    const natural = (text) => text.replaceAll("−", "-").split(/(-?\d+(?:\.\d+)?)/).map((part, i) => (i % 2 ? Number(part) : part));
    function compare(a, b) {
      if (!Array.isArray(a)) return d3.ascending(a, b);
      for (let i = 0; i < Math.max(a.length, b.length); i++) if (a[i] !== b[i]) return a[i] === undefined ? -1 : b[i] === undefined ? 1 : a[i] < b[i] ? -1 : 1;
      return 0;
    }

    function sort(column) {
      const down = headers[column].getAttribute("aria-sort") === "ascending";
      headers.forEach((header) => header.removeAttribute("aria-sort"));
      headers[column].setAttribute("aria-sort", down ? "descending" : "ascending");
      const keyed = rows.map((row) => [key(row, column), row]);
      keyed.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : down ? compare(b, a) : compare(a, b)));
      body.append(...keyed.map(([, row]) => row), ...rest);
      calib.figure.say(`sorted by ${headers[column].textContent}, ${down ? "descending" : "ascending"}`);
    }

    headers.forEach((header, i) => {
      const button = el("button", { type: "button", onclick: () => sort(i) }, ...header.childNodes);
      header.replaceChildren(button);
    });
    for (const row of rows) {
      const point = run.points.find((p) => p.id === row.dataset.point);
      if (point?.status !== "complete") continue;
      const button = el("button", { type: "button", onclick: () => choose(point.id) }, row.cells[0].firstChild.textContent);
      row.cells[0].replaceChildren(button, ...row.cells[0].querySelectorAll(".reused"));
    }
    document.getElementById("points-tools").append(el("button", { type: "button", class: "tool", id: "points-csv", onclick: save }, "Download CSV"));

    function mark() {
      for (const row of rows) {
        const picked = row.dataset.point === state.picked, chosen = row.dataset.point === state.chosen;
        row.classList.toggle("picked", picked);
        row.classList.toggle("selected", chosen);
        row.cells[0].querySelector("button")?.setAttribute("aria-pressed", String(picked));
        const last = row.cells[row.cells.length - 1];
        if (!last.classList.contains("failed")) last.textContent = chosen ? "★" : "";
      }
    }

    // Download every number of every point, with the columns of points.csv, and of the baselines.
    function save() {
      const records = [...run.points, ...run.baselines].map((one) => {
        const record = { id: one.id, role: one.role, status: one.status ?? "baseline", reason: one.reason };
        const put = (prefix, values, parts) => parts.forEach((part) => (record[`${prefix}.${part}`] = values[part]));
        for (const axis of Object.keys(run.axes)) record[`axis.${axis}`] = one.axes?.[axis];
        for (const [scope, metrics] of Object.entries(one.metrics))
          for (const [metric, splits] of Object.entries(metrics))
            for (const [split, estimate] of Object.entries(splits)) put(`${scope}.${metric}.${split}`, estimate, ["value", "low", "high", "n"]);
        return one.status ? { ...record, ...compared(one) } : record;
      });
      const columns = [...new Set(records.flatMap((record) => Object.keys(record)))];
      calib.download("points", columns, records.map((record) => columns.map((column) => record[column])));
    }

    function compared(point) {
      const record = {};
      for (const [role, differences] of Object.entries(point.differences))
        for (const { name } of calib.objectives)
          for (const part of differences[name] ? ["value", "low", "high", "p"] : []) record[`minus.${role}.${name}.${part}`] = differences[name][part];
      for (const [role, changes] of Object.entries(point.changes))
        for (const [name, estimate] of Object.entries(changes)) record[`changes.${role}.${name}`] = estimate.value;
      const dominated = Object.fromEntries(["all", "selection", "held_out"].map((split) => [`dominated_by.${split}`, calib.dominatedBy(point, split).join(" ")]));
      return { ...record, on_frontier: calib.onFrontier(point), frontier_probability: point.frontier_probability, p_adjusted: point.superiority?.p_adjusted,
        superior: point.superiority?.shown, ...dominated, selected: point.id === state.chosen, same_as: point.same_as, reused: point.reused };
    }

    return { mark };
  }

  return { make };
})();
