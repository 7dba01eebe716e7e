from mergekit_calib.pareto import ObjectiveName, SelectionRule, selection_rule


@selection_rule("most")
class Most(SelectionRule):
    """Choose the frontier point with the best value of one objective."""

    objective: ObjectiveName

    def choose(self, candidates):
        gains = candidates.gains[candidates.frontier, candidates.objectives.index(self.objective)]
        best = candidates.frontier[gains.argmax()]
        return candidates.choice(best, f"{candidates.describe(best)} has the best {self.objective}")
