"""What noise says by itself: a first guess of every code vector, and a start for the logits, of students that are fed like their teacher.

B images, n tokens, C width, Cv code dimension, V codes. None of this is in the paper.
"""

import torch
import torch.nn.functional as F
from ar_core.linear_head import LinearHead
from torch import Generator, Tensor, nn

__all__ = ["GUESS_PULL", "LAW", "PULL", "FirstGuess", "NoiseLogits"]

LAW = 2.5
"""What the log of a law is multiplied by where noise is added to it. This number and the next two were chosen once, near log-linear fits;
which are best depends on the laws and the codes, and a test holds them against the best three of some."""
PULL = 7.0
"""What <noise, code> is multiplied by, for codes of length 1."""
GUESS_PULL = 4.0
"""The same under a law that knows the condition alone, by which noise decides less."""
HALF = 0.7
"""What a code's squared distance from the mean code takes away, as a share of the pull."""


class NoiseLogits(nn.Module):
    """What a token's own noise adds to its logits: <noise, r_c> + q_c, with a learned vector and number for each code.

    Noise flows to a code that is probable and lies its way: to first order, the code of the largest a log p_c + b <noise, c> - q |c|²,
    codes counted from their mean. A student begins there, so that its layers need not first learn where its own noise flows to.

    Args:
        vocab_size: V.
        code_dim: Cv.
    """

    def __init__(self, vocab_size: int, code_dim: int) -> None:
        super().__init__()
        self.pull = nn.Parameter(torch.zeros(vocab_size, code_dim))
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    @property
    def width(self) -> int:
        """Columns of :meth:`columns`."""
        return self.pull.shape[1] + 1

    def columns(self, inputs: Tensor, clean: Tensor) -> Tensor:
        """Return what travels beside the hidden states of a token, [B, n, Cv + 1]: its noise and a one, or zeros where it is data.

        Args:
            inputs: noise, or data where it is clean, [B, n, Cv].
            clean: bool [B, n].
        """
        return F.pad(inputs, (0, 1), value=1.0).masked_fill(clean[..., None], 0)

    def matrix(self) -> Tensor:
        """Return what multiplies the columns, [V, Cv + 1]."""
        return torch.cat([self.pull, self.bias[:, None]], dim=1)

    def apart(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return hidden states [B, m, C] and columns [B, m, Cv + 1] of both side by side, [B, m, C + Cv + 1]."""
        return states[..., : -self.width], states[..., -self.width :]

    def joined(self, columns: Tensor, states: Tensor, head: LinearHead) -> tuple[Tensor, LinearHead]:
        """Return states [B, m, C + Cv + 1] and matrix [V, C + Cv + 1] of a head with this term in it.

        Args:
            columns: of :meth:`columns`, [B, m, Cv + 1].
            states: what the head takes, [B, m, C].
            head: whose matrix is [V, C].
        """
        weight = torch.cat([head.weight, self.matrix().to(head.weight.dtype)], dim=1)
        return torch.cat([states, columns.to(states.dtype)], dim=-1), LinearHead(weight)

    @torch.no_grad()
    def initialize(self, codebook: Tensor, pull: float) -> None:
        """Begin at the first order of the flow, for codes [V, Cv]; the pull is that of codes of length 1."""
        centred = (codebook - codebook.mean(0)) / codebook.square().sum(1).mean().sqrt()
        self.pull.copy_(pull * centred)
        self.bias.copy_(-HALF * pull * centred.square().sum(1))


class FirstGuess(nn.Module):
    """The mean of the code that a noise vector flows to, under the law that condition and place alone give: [B, n, Cv].

    Two layers on condition and place give the law, own noise is added as `NoiseLogits` does, and the vectors of all codes are averaged:
    attention of the tokens over the codebook, so that there is no tensor of tokens and codes.

    Args:
        tokens: n.
        width: C.
        vocab_size: V.
        code_dim: Cv.
    """

    def __init__(self, tokens: int, width: int, vocab_size: int, code_dim: int) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(tokens, width))
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.law = nn.Parameter(torch.zeros(vocab_size, width))
        self.noise = NoiseLogits(vocab_size, code_dim)
        self.vectors = nn.Parameter(torch.zeros(vocab_size, code_dim))

    def matrix_head(self, condition: Tensor, inputs: Tensor, clean: Tensor) -> tuple[Tensor, LinearHead]:
        """Return states [B, n, C + Cv + 1] and matrix of the logits, float32 or better.

        Args:
            condition: [B, C].
            inputs: noise, or data where it is clean, [B, n, Cv].
            clean: bool [B, n].
        """
        with torch.autocast(inputs.device.type, enabled=False):
            wide = torch.promote_types(self.law.dtype, torch.float32)
            x = F.layer_norm((condition[:, None] + self.place).to(wide), self.place.shape[1:])
            for number, layer in enumerate((self.fc1, self.fc2)):
                x = F.linear(F.gelu(x) if number else x, layer.weight.to(wide), layer.bias.to(wide))
            return self.noise.joined(self.noise.columns(inputs, clean), x, LinearHead(self.law.to(wide)))

    def forward(self, condition: Tensor, inputs: Tensor, clean: Tensor) -> Tensor:
        """Return the guess, and data where it is clean, bit by bit, [B, n, Cv].

        Args:
            condition: [B, C].
            inputs: noise, or data where it is clean, [B, n, Cv].
            clean: bool [B, n].
        """
        with torch.autocast(inputs.device.type, enabled=False):
            states, head = self.matrix_head(condition, inputs, clean)
            one = states[:, None]
            shape = (len(states), 1, -1, -1)
            vectors = self.vectors.to(states.dtype).expand(shape)
            mean = F.scaled_dot_product_attention(one, head.weight.expand(shape), vectors, scale=1.0)[:, 0]
            return torch.where(clean[..., None], inputs.to(mean.dtype), mean)

    @torch.no_grad()
    def initialize(self, codebook: Tensor, std: float, generator: Generator) -> None:
        """Draw fresh layers; vectors begin as those of the codebook [V, Cv], and noise without a say."""
        for parameter in (self.place, self.fc1.weight, self.fc2.weight, self.law):
            nn.init.trunc_normal_(parameter, std=std, generator=generator)
        for layer in (self.fc1, self.fc2):
            nn.init.zeros_(layer.bias)
        self.vectors.copy_(codebook)
