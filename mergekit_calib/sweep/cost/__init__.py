"""What a sweep will cost, from configurations and file headers alone.

1. `gpu_table`: devices that can be planned for, by their vendors' figures.
2. `point_counts`: how many points a search scores.
3. `point_shapes`: the points' model without weights, and its tokenizer.
4. `suite_work`: tokens and floating-point operations of a suite.
5. `random_model`, `scoring_rates`: how fast this machine, or a device of the table, works through them.
6. `answer_times`, `statistics_times`: what is done with answers.
7. `sweep_estimate`: all of it together, as a `results.cost.SweepCost`.
"""
