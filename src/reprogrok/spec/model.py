"""The shape of a decoder, as `params.yaml` and checkpoints state it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

TIE_QKV = ("none", "shareA_tieKV")
GELU = ("erf", "tanh")


@dataclass(frozen=True)
class ModelSpec:
    """The shape of a decoder, in the field names of the published checkpoints.

    Attributes:
        n_layer: number of blocks.
        d_model: width of the residual stream.
        n_head: attention heads; divides `d_model`.
        d_ff: hidden width of the MLP.
        max_seq_len: number of learned positions.
        vocab_size: number of tokens; the head is tied to their embeddings.
        pos_rank: rank of the position table; here and in the next three, 0 is full rank.
        qkv_rank: rank of the query, key and value projections.
        attn_out_rank: rank of the attention's output projection.
        ffn_rank: rank of both matrices of the MLP.
        use_rmsnorm: RMSNorm (weight only) instead of LayerNorm (weight and bias).
        tie_qkv: "none", or "shareA_tieKV": one shared left factor, keys equal to values; needs `qkv_rank` > 0.
        bias: biases in the linear maps; needs full ranks.
        gelu: "erf", or its approximation "tanh".
    """

    n_layer: int
    d_model: int
    n_head: int
    d_ff: int
    max_seq_len: int
    vocab_size: int
    pos_rank: int = 0
    qkv_rank: int = 0
    attn_out_rank: int = 0
    ffn_rank: int = 0
    use_rmsnorm: bool = False
    tie_qkv: str = "none"
    bias: bool = False
    gelu: str = "erf"

    def as_dict(self) -> dict[str, object]:
        """Return plain data for files and digests; fields that the first files lacked are left out at their default."""
        late = {"bias": False, "gelu": "erf"}
        return {name: value for name, value in asdict(self).items() if late.get(name) != value or name not in late}

    def problem(self) -> tuple[str, str, int | str] | None:
        """Return the first impossible field as (name, expected, found), or None."""
        if self.d_model % self.n_head:
            return "n_head", f"a divisor of d_model = {self.d_model}", self.n_head
        if self.tie_qkv not in TIE_QKV:
            return "tie_qkv", f"one of {', '.join(TIE_QKV)} (no other mode is supported)", self.tie_qkv
        if self.tie_qkv == "shareA_tieKV" and self.qkv_rank == 0:
            return "qkv_rank", "more than 0, which tie_qkv shareA_tieKV needs", 0
        if self.gelu not in GELU:
            return "gelu", f"one of {', '.join(GELU)}", self.gelu
        if self.bias and (self.qkv_rank or self.attn_out_rank or self.ffn_rank):
            return "bias", "false, because a low-rank matrix has none", True
        return None
