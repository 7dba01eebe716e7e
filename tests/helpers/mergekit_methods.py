"""Signatures of merge methods as in mergekit, for tests that read recipes without it."""

from __future__ import annotations

from mergekit_calib.recipe import MethodSignature

METHODS = {
    signature.name: signature
    for signature in (
        MethodSignature("linear", frozenset({"normalize"}), frozenset({"weight"}), ignores_base=True),
        MethodSignature("slerp", frozenset({"t"}), frozenset()),
        MethodSignature("task_arithmetic", frozenset({"lambda", "normalize"}), frozenset({"weight", "density"})),
        MethodSignature("ties", frozenset({"lambda", "normalize"}), frozenset({"weight", "density"})),
        MethodSignature("passthrough", frozenset(), frozenset({"scale"})),
        MethodSignature("calibration_sweep", frozenset({"lambda", "method"}), frozenset()),
    )
}
