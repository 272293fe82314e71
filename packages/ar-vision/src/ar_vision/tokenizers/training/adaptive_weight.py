"""An adversarial weight that follows the gradients (VQGAN, arXiv 2012.09841, section 3.1)."""

import torch
from ar_core.training import Ranks
from torch import Tensor, nn

__all__ = ["AdaptiveWeight"]

LARGEST = 1e4
DELTA = 1e-4


class AdaptiveWeight(nn.Module):
    """lambda = |gradient of the reconstruction loss| / (|gradient of the adversarial loss| + 1e-4), at most 1e4.

    Both gradients are those of a whole optimiser step at the decoder's last layer. The published code takes lambda of each
    forward pass on its own, which makes it depend on how a step is split; here it is measured over the step and used in the
    next one. The first adversarial step only measures.

    Args:
        layer: weight of the decoder's last layer.
    """

    factor: Tensor
    """float32 scalar, the weight in use; 0 before there is one."""
    gradients: Tensor
    """float32 [2, weights of the layer], of the present step, on this rank alone; not saved, as it is empty between steps."""

    def __init__(self, layer: Tensor) -> None:
        super().__init__()
        self.register_buffer("factor", torch.zeros(()))
        self.register_buffer("gradients", torch.zeros(2, layer.numel()), persistent=False)

    def note(self, reconstruction: Tensor, adversarial: Tensor, layer: Tensor) -> None:
        """Add the gradients of a micro-batch.

        Args:
            reconstruction: its summed loss, a scalar whose graph is kept.
            adversarial: likewise, a scalar.
            layer: weight of the decoder's last layer, `[3, C, k, k]`.
        """
        for place, loss in enumerate((reconstruction, adversarial)):
            (gradient,) = torch.autograd.grad(loss, layer, retain_graph=True)
            self.gradients[place] += gradient.detach().flatten().float()

    @torch.no_grad()
    def settle(self, ranks: Ranks) -> None:
        """Turn what was noted in this step, on all ranks, into the weight of the next one; nothing noted changes nothing."""
        reconstruction, adversarial = ranks.sum(self.gradients).norm(dim=1)
        measured = (reconstruction / (adversarial + DELTA)).clamp(max=LARGEST)
        self.factor.copy_(torch.where(adversarial > 0, measured, self.factor))
        self.gradients.zero_()
