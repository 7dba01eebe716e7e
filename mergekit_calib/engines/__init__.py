"""Engines: what holds a point's model, and scores or generates with it.

1. `engine`: the interface; what is above knows nothing else of an engine.
2. `transformers_engine`: the default, one live model of transformers and the scorer `hf-prefix`.
"""
