"""Weights in the layout that the CPU's matrix product reads."""

import torch
from torch import Tensor, nn

from ar_core.errors import BackendError

__all__ = ["PackedLinear", "can_pack", "pack_weights"]

DTYPES = (torch.bfloat16, torch.float32)
ROWS = 16
"""Tokens of a pass that the layout is chosen for."""


class PackedLinear(nn.Module):
    """A linear layer for inference whose weight is laid out once, instead of in every product.

    torch keeps weights as [out, in] and lets oneDNN bring them into blocks in each call with more than one row. That costs
    as much as reading them, so that a pass of eight tokens takes longer than a pass of one for no reason of its own; and with a
    single row another kernel is taken, which rounds otherwise. The products are the same operations as before: with several
    rows, the same bits.

    Args:
        linear: the layer; its weight is copied.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        # An opaque layout, which cannot be saved or moved, hence no buffer.
        self._packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), ROWS)
        self._bias = None if linear.bias is None else linear.bias.detach()

    @property
    def nbytes(self) -> int:
        """Bytes of weight and bias."""
        width = self.in_features + (self._bias is not None)
        return width * self.out_features * self._packed.element_size()

    def forward(self, x: Tensor) -> Tensor:
        """[..., out] of [..., in]."""
        return torch.ops.mkldnn._linear_pointwise(x, self._packed, self._bias, "none", [], "")

    def extra_repr(self) -> str:
        """Sizes, as of nn.Linear."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self._bias is not None}"


def can_pack(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether weights of this dtype on this device have a packed layout here."""
    present = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    return device.type == "cpu" and dtype in DTYPES and present


@torch.no_grad()
def pack_weights(model: nn.Module) -> None:
    """Replace the linear layers of a model, the output head too, by :class:`PackedLinear`, in place, for inference.

    In bfloat16 it makes passes of 2 to 16 tokens faster and leaves passes of one as they are; in float32 the latter get slower.
    A head that is tied to the embeddings is stored a second time.

    Args:
        model: on a CPU, in bfloat16 or float32; it can no longer be saved, trained or moved.

    Raises:
        BackendError: there is no such layout for its dtype, its device or this build of torch.
    """
    weight = next(model.parameters())
    if not can_pack(weight.dtype, weight.device):
        raise BackendError(
            f"Weights in {str(weight.dtype).removeprefix('torch.')} on {weight.device} cannot be packed; that needs bfloat16 or "
            "float32 on a CPU, and a torch with oneDNN."
        )
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, PackedLinear(child))
