"""The merge method `calibration_sweep`: one λ between two parents, through any of mergekit's own methods."""

from __future__ import annotations

import warnings
from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import torch
from mergekit import merge_methods
from mergekit.merge_methods.base import (
    BasePolicy,
    GroupMergeMethod,
    InputContract,
    MergeMethodSpec,
    OptionalTensorPolicy,
    ParameterScope,
    ParameterSpec,
    TensorGroup,
)

from mergekit_calib.recipe import SHORT_FORM, MethodSignature

DEFAULT_LAMBDA = 0.5
"""λ of a plain merge whose recipe gives none: halfway between the parents. A warning says so."""

# Parameters of other merge methods that can be given with two parents; None leaves the method's own default.
_PASSED_ON: dict[str, Any] = {
    "density": float | None,
    "gamma": float | None,
    "epsilon": float | None,
    "normalize": bool | None,
    "rescale": bool | None,
    "int8_mask": bool | None,
}


class CalibrationSweepMethod(GroupMergeMethod):  # type: ignore[misc]  # mergekit has no types
    """θ(λ) = θ_base + λ (θ_aligned − θ_base), or another merge method, `method`, with λ as its coefficient.

    `linear` takes the weights 1 − λ and λ, not normalised; `slerp` takes λ as its `t`; the task-vector methods take it
    as their shared `lambda`, with weight 1. A recipe of this method with a `calibration:` block is a sweep; without one
    it is an ordinary merge at a fixed λ.

    Source: Hu, Minixhofer, Collier, arXiv 2510.17426.
    """

    spec = MergeMethodSpec(
        name=SHORT_FORM,
        pretty_name="Calibration sweep",
        reference_url="https://arxiv.org/abs/2510.17426",
        contract=InputContract(base=BasePolicy.REQUIRED, min_inputs=2, max_inputs=2),
        optional_tensor_policy=OptionalTensorPolicy.PASSTHROUGH_SINGLETON,
        parameters=(
            # None stands for DEFAULT_LAMBDA, so that a merge without `lambda` can be told from one at 0.5.
            ParameterSpec("lambda", float | None, ParameterScope.SHARED, default=None),
            ParameterSpec("method", str, ParameterScope.SHARED, default="linear"),
            *(ParameterSpec(name, kind, ParameterScope.SHARED, default=None) for name, kind in _PASSED_ON.items()),
        ),
    )

    def merge_group(self, group: TensorGroup, /, **parameters: Any) -> torch.Tensor:
        """Merge one tensor of the two parents into one of the same shape and dtype.

        Args:
            group: the parents' tensors, to which mergekit has already given one shape and dtype.
            parameters: this method's parameters.

        Raises:
            ValueError: `method` is not a registered method that has a coefficient for λ.
        """
        base, (aligned,) = group.base, group.non_base
        assert base is not None  # required by the contract
        delegate = merge_methods.get(parameters["method"])
        lambda_ = parameters["lambda"]
        if lambda_ is None:
            lambda_ = DEFAULT_LAMBDA
            warnings.warn(f"{SHORT_FORM}: the recipe gives no `lambda`; merged at {lambda_}", stacklevel=2)
        signature = signature_of(delegate)
        given = {name: parameters[name] for name in _PASSED_ON if parameters[name] is not None}
        if unused := sorted(given.keys() - signature.shared - signature.per_input):
            # mergekit ignores such parameters of a recipe for every other method.
            warnings.warn(f"{SHORT_FORM}: {delegate.spec.name} takes no {', '.join(unused)}; ignored", stacklevel=2)
            given = {name: value for name, value in given.items() if name not in unused}
        bound = {**lambda_parameters(delegate, lambda_, base.id, aligned.id), **given}
        if "weight" in bound and "lambda" not in bound:
            base = replace(base, is_base=False)  # both are inputs; a base would turn them into task vectors
        merged: torch.Tensor
        (merged,) = delegate((TensorGroup((base, aligned), group.metadata),), parameters=bound)
        return merged


def lambda_parameters(
    method: merge_methods.MergeMethod, lambda_: float, base: Hashable, aligned: Hashable
) -> dict[str, Any]:
    """Return the parameters of a merge method that express λ.

    Args:
        method: the merge method.
        lambda_: the value of λ.
        base: the id of the base input, a key of parameters for each input.
        aligned: the id of the aligned input.

    Raises:
        ValueError: the method has no coefficient that λ could be.
    """
    signature = signature_of(method)
    if method.spec.name == SHORT_FORM:
        raise ValueError(f"{SHORT_FORM} cannot be its own `method`; use linear, slerp, task_arithmetic, ties, …")
    if "lambda" in signature.shared:
        return {"lambda": lambda_, **({"weight": 1.0} if "weight" in signature.per_input else {})}
    if "t" in signature.shared:
        return {"t": lambda_}
    if "weight" in signature.per_input:
        # Rounded as a recipe's `${1 - lambda}` is, so that both give the same bits.
        weights = {"weight": {base: round(1.0 - lambda_, 12), aligned: lambda_}}
        return {**weights, **({"normalize": False} if "normalize" in signature.shared else {})}
    raise ValueError(f"merge method {method.spec.name} has no coefficient that λ could be (lambda, t or weight)")


def signature_of(method: merge_methods.MergeMethod) -> MethodSignature:
    """Return the names of a registered method's parameters."""
    return MethodSignature(
        name=method.spec.name,
        shared=frozenset(p.name for p in method.spec.shared_parameters),
        per_input=frozenset(p.name for p in method.spec.input_parameters),
        ignores_base=method.spec.contract.base == BasePolicy.IGNORED,
        required=frozenset(p.name for p in method.spec.parameters if p.required),
        of_base=frozenset(p.name for p in method.spec.input_parameters if p.scope == ParameterScope.INPUT),
    )


def registered_signatures() -> dict[str, MethodSignature]:
    """Return name → signature of every merge method that is registered now, also those of third parties."""
    return {m.spec.name: signature_of(m) for m in merge_methods.registered_methods()}


def register() -> None:
    """Register the merge method `calibration_sweep`, unless it is registered already."""
    if SHORT_FORM not in {m.spec.name for m in merge_methods.registered_methods()}:
        merge_methods.register(CalibrationSweepMethod())
