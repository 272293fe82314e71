"""Cross-entropy of an LM head on selected rows, without a [rows, V] tensor."""

from ar_kernels.selected_cross_entropy.hard import selected_cross_entropy
from ar_kernels.selected_cross_entropy.sharded import sharded_selected_cross_entropy
from ar_kernels.selected_cross_entropy.soft import selected_soft_cross_entropy

__all__ = ["selected_cross_entropy", "selected_soft_cross_entropy", "sharded_selected_cross_entropy"]
