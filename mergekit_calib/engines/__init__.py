"""Engines: what holds a point's model, and scores or generates with it.

1. `engine`: the interface; what is above knows nothing else of an engine.
2. `transformers_engine`: the default, one live model of transformers and the scorer `hf-prefix`.
3. `vllm_engine`: vLLM generates, alone or beside 2. `vllm_internals` is the one module that touches vLLM;
   `blend_stream` makes a point's weights in its processes; `vllm_lm` is its lm-eval model, `sampling` its options,
   `next_tokens` the comparison with transformers; `engine_checks` and `engine_memory` are its part of preflight.
"""
