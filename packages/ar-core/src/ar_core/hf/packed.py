"""Weights in the layout that the CPU's matrix product reads."""

from typing import Any

import torch
from torch import Tensor, nn

from ar_core.errors import BackendError

__all__ = ["PackedLinear", "can_pack", "pack_weights"]

DTYPES = (torch.bfloat16, torch.float32)
ROWS = 16
"""Tokens of a pass that the layout is chosen for."""


class PackedLinear(nn.Linear):
    """A linear layer for inference that has its weight a second time, as products of several rows read it.

    torch keeps weights as [out, in] and lets oneDNN bring them into blocks in each call with more than one row. That costs as
    much as reading them, so that a pass of eight tokens takes longer than a pass of one for no reason of its own. With blocks
    laid out beforehand the products are the same, to the bit. A single row is multiplied as ever, by a kernel that reads
    weights as they are.

    Args:
        linear: the layer, whose parameters are shared and frozen.

    Raises:
        BackendError: there is no such layout for its dtype, its device or this build of torch; also when it is brought to such
            a dtype or device later.
    """

    def __init__(self, linear: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        linear.requires_grad_(False)
        self.weight, self.bias = linear.weight, linear.bias
        self._pack()

    def forward(self, x: Tensor) -> Tensor:
        """[..., out] of [..., in]."""
        if x.numel() == self.in_features:
            return super().forward(x)
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, "none", [], "")
        return out

    def _pack(self) -> None:
        if not can_pack(self.weight.dtype, self.weight.device):
            raise BackendError(
                f"Weights in {str(self.weight.dtype).removeprefix('torch.')} on {self.weight.device} cannot be packed; that needs "
                "float32, or bfloat16 where the processor has it, on a CPU, and a torch with oneDNN."
            )
        if self.bias is not None and not self.bias.is_contiguous():
            self.bias = nn.Parameter(self.bias.detach().contiguous(), requires_grad=False)
        # An opaque layout, which cannot be saved or copied, hence no buffer.
        self._packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach().contiguous(), ROWS)

    def _apply(self, *arguments: Any, **given: Any) -> "PackedLinear":
        super()._apply(*arguments, **given)
        self._pack()
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Without the copy, which is made again from the weight."""
        return {name: value for name, value in self.__dict__.items() if name != "_packed"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """See `__getstate__`."""
        super().__setstate__(state)
        self._pack()


def can_pack(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether weights of this dtype on this device have a packed layout here."""
    if device.type != "cpu" or dtype not in DTYPES or not torch.backends.mkldnn.is_available():
        return False
    present = hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    return present and (dtype != torch.bfloat16 or torch.ops.mkldnn._is_mkldnn_bf16_supported())


@torch.no_grad()
def pack_weights(model: nn.Module) -> None:
    """Replace the linear layers of a model, the output head too, by :class:`PackedLinear`, in place, for inference.

    In bfloat16 it makes passes of 2 to 64 tokens faster and leaves passes of one as they are; it takes as much memory again as
    the layers.

    Args:
        model: on a CPU, in bfloat16 or float32; its linear layers are frozen.

    Raises:
        BackendError: see :class:`PackedLinear`.
    """
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, PackedLinear(child))
