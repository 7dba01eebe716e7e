from mergekit_calib.items.metric_registry import metric
from mergekit_calib.metrics import mean_statistic


@metric("mean_confidence", direction="minimize", meaning="mean probability of the chosen option")
def mean_confidence(table, context):
    # (n_items, n_choices); an item with fewer choices than others has NaN at its end.
    return mean_statistic(table.probabilities.max(axis=1, initial=0.0, where=table.probabilities > 0))
