// The selection rules of mergekit_calib/pareto/rules/, applied to the values on the items that the point is chosen on.
calib.rules = (() => {
  const sum = (row) => row.reduce((total, value) => total + value, 0);
  const rounded = (value) => Math.round(value * 1e9) / 1e9;

  // The candidates of a rule: `values` has a row of objectives for each point, `directions` are as in frontier.json.
  // `dominated` has the ids of those that no rule may choose, `scores` are `rule_scores` of frontier.json.
  function candidates({ ids, objectives, directions, values, parents, dominated = [], scores = {} }) {
    const finite = ids.map((_, i) => i).filter((i) => values[i].every((v) => typeof v === "number" && Number.isFinite(v)));
    const usable = finite.filter((i) => !dominated.includes(ids[i]));
    const kept = usable.map((i) => ids[i]), mine = usable.map((i) => values[i]);
    const signs = directions.map((d) => (d === "maximize" ? 1 : -1));
    const gained = (row) => row.map((value, k) => value * signs[k]);
    const gains = mine.map(gained), ofParents = finite.filter((i) => parents.includes(ids[i])).map((i) => gained(values[i]));
    const dominates = (a, b) => a.every((v, k) => v >= b[k]) && a.some((v, k) => v > b[k]);
    const all = gains.map((_, i) => i);
    const frontier = all.filter((i) => !gains.some((other) => dominates(other, gains[i])));
    const column = (k) => frontier.map((i) => gains[i][k]);
    const best = signs.map((_, k) => Math.max(...column(k)));
    const ranges = signs.map((_, k) => best[k] - Math.min(...column(k)) || 1);
    const regrets = gains.map((row) => row.map((gain, k) => (best[k] - gain) / ranges[k]));

    // Return the point among `among` with the smallest score. Ties go to the next score, then to better values, first of objective `first`.
    function least(among, scores, first = 0) {
      const order = signs.map((_, k) => (k + first) % signs.length);
      const keys = (i) => [...scores.map((score) => rounded(score(i))), ...order.map((k) => -gains[i][k])];
      return among.reduce((held, i) => {
        const a = keys(held), b = keys(i), k = a.findIndex((value, j) => value !== b[j]);
        return k >= 0 && b[k] < a[k] ? i : held;
      });
    }
    // A metric to choose by: one of `scores`, or an objective, whose differences then have no error.
    function score(name) {
      const { direction, values: known, standard_errors: errors } = scores[name] ?? {}, k = objectives.indexOf(name);
      const sign = direction === "maximize" ? -1 : 1;
      if (!known) return { loss: (i) => -gains[i][k], error: () => 0 };
      return { loss: (i) => (known[kept[i]] == null ? Infinity : sign * known[kept[i]]), error: (i) => errors[kept[i]] ?? -1 };
    }
    const proper = Object.keys(scores).filter((name) => scores[name].proper);
    return { ids: kept, objectives, values: mine, signs, gains, ofParents, dominates, all, frontier, best, ranges, regrets, least, score, proper };
  }
  // What a rule returns that can choose no point.
  const none = (why) => [null, why];
  const counted = (c) => `${c.ids.length} point${c.ids.length === 1 ? "" : "s"}`;

  function oneStandardError(c, options) {
    const byDefault = c.proper.length ? c.proper : c.objectives, name = options.score ?? byDefault[0];
    const second = options.then ?? byDefault.find((other) => other !== name) ?? name;
    const score = c.score(name), then = c.score(second), best = c.least(c.all, [score.loss, then.loss]);
    const within = c.all.filter((i) => i === best || score.loss(i) - score.loss(best) <= score.error(i));
    const chosen = c.least(within, [then.loss, score.loss]);
    if (within.length === 1) return [chosen, `the best ${name}, with no other point within one standard error`];
    return [chosen, `the best ${second} of the ${within.length} points within one standard error of the best ${name}`];
  }

  function leastScore(c, options) {
    const usable = c.proper.filter((name) => c.all.some((i) => Number.isFinite(c.score(name).loss(i))));
    const name = options.score ?? usable.at(-1);
    if (name === undefined) return oneStandardError(c, {});
    return [c.least(c.all, [c.score(name).loss]), `the best ${name} of ${counted(c)}`];
  }

  function knee(c) {
    const chosen = c.least(c.frontier, [(i) => sum(c.regrets[i])]);
    if (c.frontier.length === 1) return [chosen, "the only point on the frontier"];
    if (c.objectives.length !== 2) return [chosen, `the smallest sum of regrets of ${c.frontier.length} frontier points`];
    if (rounded((1 - sum(c.regrets[chosen])) / Math.SQRT2) <= 0)
      return [chosen, `no frontier point lies beyond the line between the frontier's ends, so the best ${c.objectives[0]} is taken`];
    return [chosen, `furthest beyond the line between the frontier's ends, of ${c.frontier.length} frontier points`];
  }

  function max(c, { objective, bounds = {} }) {
    const k = c.objectives.indexOf(objective);
    const within = (i) => c.objectives.every((name, j) => {
      const { min = -Infinity, max = Infinity } = bounds[name] ?? {};
      return c.values[i][j] >= min && c.values[i][j] <= max;
    });
    const inside = c.all.filter(within), limited = Object.keys(bounds).length > 0;
    if (!inside.length) return none(`none of ${counted(c)} is within the bounds`);
    return [c.least(inside, [], k), `the best ${objective} of ${inside.length} points${limited ? " within the bounds" : ""}`];
  }

  function superior(c) {
    if (!c.ofParents.length) return none("no parent is among the points");
    const theirs = c.ofParents;
    const among = c.frontier.filter((i) => theirs.every((row) => c.dominates(c.gains[i], row)));
    if (!among.length) return none("no point is at least as good as the parents on every objective and better on one");
    const measured = [...c.frontier.map((i) => c.gains[i]), ...theirs];
    const column = (rows, k) => rows.map((row) => row[k]);
    const ranges = c.signs.map((_, k) => Math.max(...column(measured, k)) - Math.min(...column(measured, k)));
    const over = (i) => c.signs.map((_, k) => k).filter((k) => ranges[k] > 0)
      .map((k) => (c.gains[i][k] - Math.max(...column(theirs, k))) / ranges[k]);
    const chosen = c.least(among, [(i) => -Math.min(...over(i)), (i) => -sum(over(i))]);
    return [chosen, "at least as good as the parents on every objective, with the largest minimum gain"];
  }

  function weighted(c, { weights = {} }) {
    const short = (i) => c.regrets[i].map((regret, k) => regret * (weights[c.objectives[k]] ?? 1));
    const chosen = c.least(c.frontier, [(i) => Math.max(...short(i)), (i) => sum(short(i))]);
    return [chosen, `the smallest maximum weighted regret of ${c.frontier.length} frontier points`];
  }

  function nearest(c, { ideal = {} }) {
    const target = c.objectives.map((name, k) => (ideal[name] ?? c.best[k] * c.signs[k]) * c.signs[k]);
    const distance = (i) => Math.sqrt(sum(c.gains[i].map((gain, k) => (Math.max(target[k] - gain, 0) / c.ranges[k]) ** 2)));
    return [c.least(c.frontier, [distance]), `the nearest of ${c.frontier.length} frontier points to the ideal`];
  }

  const rules = { one_se: oneStandardError, least: leastScore, knee, max, pareto_superior: superior, weighted, nearest };

  // The rules that look at `rule_scores`, which a sweep has when it is finished.
  const ofScores = ["one_se", "least"];

  // Return the id that a rule chooses and the reason; null if no point has a value of every objective. If the rule can
  // choose none, the default rule does, and `gaveWay` says why; the id is null if that rule cannot be run yet.
  function choose(rule, from, options = {}) {
    const c = candidates(from);
    if (!c.ids.length) return null;
    let [chosen, reason] = rules[rule](c, options), gaveWay = null;
    if (chosen === null) {
      gaveWay = reason;
      if (!names(from.scores).includes(calib.said.default_rule)) return { id: null, reason: "", gaveWay };
      [chosen, reason] = rules[calib.said.default_rule](c, {});
    }
    return { id: c.ids[chosen], reason, gaveWay };
  }

  // The names of the rules that can be run with these scores.
  function names(scores = {}) {
    return Object.keys(rules).filter((name) => Object.keys(scores).length || !ofScores.includes(name));
  }

  return { choose, names };
})();
