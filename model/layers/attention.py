"""Attention between a voice and a face, after TalkNet (Tao et al., 2021), section 3.2."""

from torch import Tensor, nn
from torch.nn import functional


class AttentionLayer(nn.Module):
    """Let one sequence look for what explains it in another.

    Kept: the queries come from `other` but the residual from `own`, the reverse of a decoder
    block; the released weights were trained this way.
    """

    def __init__(self, dim: int, num_heads: int = 8, dropout: float = 0.1) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, num_heads, dropout, batch_first=True)
        self.linear1 = nn.Linear(dim, 4 * dim)
        self.linear2 = nn.Linear(4 * dim, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, own: Tensor, other: Tensor) -> Tensor:
        """Map two (B, T, dim) sequences to one (B, T, dim)."""
        found, _ = self.self_attn(query=other, key=own, value=own, need_weights=False)
        own = self.norm1(own + self.dropout(found))
        hidden = self.dropout(functional.relu(self.linear1(own)))
        return self.norm2(own + self.dropout(self.linear2(hidden)))  # type: ignore[no-any-return]
