"""Workers on other machines: one process of the driver for each, which asks a worker on a cluster to score its points.

1. `cluster_places`: how many workers a cluster has room for, and what each takes.
2. `node_content`: what scores depend on, as a node has it; it must equal what the driver has.
3. `node_worker`: what runs on a node: it prepares the sweep there, and scores points.
4. `remote_scorer`: the driver's side, a `PointScorer` that asks again if its worker dies.
5. `ray_workers`: workers as Ray's actors, and the only module that imports Ray.
6. `cluster_share`: what a process of the driver needs to know to use its worker.
"""
