"""The tiny job of ar-kernels: a loss from hidden states and its gradients, held against torch."""

import torch
from ar_kernels import nearest_code, selected_cross_entropy

generator = torch.Generator().manual_seed(0)
hidden = torch.randn(20, 64, generator=generator, requires_grad=True)
head = torch.randn(1000, 64, generator=generator, requires_grad=True)
rows, labels = torch.tensor([3, 17]), torch.tensor([41, 5])
loss = selected_cross_entropy(hidden, head, rows, labels)
expected = torch.nn.functional.cross_entropy(hidden[rows] @ head.T, labels, reduction="sum")
torch.testing.assert_close(loss, expected)
torch.testing.assert_close(torch.autograd.grad(loss, hidden), torch.autograd.grad(expected, hidden))
codes = torch.randn(512, 32, generator=generator)
assert nearest_code(codes, codes).tolist() == list(range(512))
print(f"loss {loss.item():.2f} as torch's, 512 nearest codes")
