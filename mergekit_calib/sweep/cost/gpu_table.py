"""Devices that a sweep can be planned for, with their vendors' published figures.

Memory is in GB (10⁹ bytes), rates of matrix products are dense (without sparsity) in 10¹² operations a second, and
bandwidths in 10¹² bytes a second. From the data sheets of NVIDIA (H100, H200, B200, A100, L40S, L4, A10, GeForce RTX
3090 and 4090) and AMD (Instinct MI300X).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mergekit_calib.errors import CalibError, near_names

UTILISATION = 0.4
"""The share of a device's published rate that scoring is assumed to reach; no GPU has been measured yet."""

BANDWIDTH_SHARE = 0.5
"""The share of a device's published bandwidth that generating tokens is assumed to reach; not measured."""

SECONDS_PER_LAYER = 0.5e-3
"""The least time that a forward pass is assumed to take in each layer, since Python starts each operation."""

HOST_LINK = 20e9
"""Bytes a second between the host and a GPU (PCIe 4 × 16 has 32 · 10⁹ on paper); not measured."""


@dataclass(frozen=True)
class Gpu:
    """A device that a sweep can be planned for.

    Attributes:
        title: its name as people know it.
        gigabytes: its memory.
        bf16: rate of matrix products in bfloat16 and float16, 10¹² operations a second, dense.
        fp32: the same in float32, without TF32, which torch leaves off.
        bandwidth: of its memory, 10¹² bytes a second.
    """

    title: str
    gigabytes: float
    bf16: float
    fp32: float
    bandwidth: float

    def rate(self, dtype: torch.dtype) -> float:
        """Return the published rate of matrix products in a dtype, in operations a second."""
        return 1e12 * (self.bf16 if dtype.itemsize == 2 else self.fp32)


GPUS = {
    "h100": Gpu("H100 SXM", 80, 989, 67, 3.35),
    "h100-pcie": Gpu("H100 PCIe", 80, 756, 51, 2.0),
    "h200": Gpu("H200", 141, 989, 67, 4.8),
    "b200": Gpu("B200", 180, 2250, 75, 7.7),
    "a100": Gpu("A100 80 GB", 80, 312, 19.5, 2.0),
    "a100-40gb": Gpu("A100 40 GB", 40, 312, 19.5, 1.55),
    "l40s": Gpu("L40S", 48, 362, 91.6, 0.864),
    "l4": Gpu("L4", 24, 121, 30.3, 0.3),
    "a10": Gpu("A10", 24, 125, 31.2, 0.6),
    "rtx4090": Gpu("RTX 4090", 24, 165, 82.6, 1.008),
    "rtx3090": Gpu("RTX 3090", 24, 71, 35.6, 0.936),
    "mi300x": Gpu("MI300X", 192, 1307, 163.4, 5.3),
}
"""Name for `--gpu` → device."""


def gpu_named(name: str) -> Gpu | None:
    """Return a device of the table; None for `cpu`, which is this machine.

    Args:
        name: what `--gpu` was given.

    Raises:
        CalibError: there is no such device in the table.
    """
    wanted = name.lower().replace(" ", "").replace("_", "-")
    if wanted == "cpu":
        return None
    if wanted not in GPUS:
        known = [*GPUS, "cpu"]
        raise CalibError(
            f"--gpu {name}: no such device is known{near_names(wanted, known)}; there are {', '.join(known)}"
        )
    return GPUS[wanted]
