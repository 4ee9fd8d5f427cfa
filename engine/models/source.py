"""Source: an open file with its keys, and the weights that every architecture has."""

from dataclasses import dataclass

from ktd.engine.errors import LoadRefused
from ktd.engine.gguf import Gguf
from ktd.engine.models.keys import Keys
from ktd.engine.spec import Weight


@dataclass(frozen=True, slots=True)
class Source:
    gguf: Gguf
    keys: Keys
    context: int | None = None  # tokens that a text will have at most; None: all the model was trained for

    @property
    def dim(self) -> int:
        return self.keys.count("embedding_length")

    @property
    def eps(self) -> float:
        plain, rms = "attention.layer_norm_epsilon", "attention.layer_norm_rms_epsilon"
        return self.keys.number(plain if self.keys.has(plain) else rms, least=1e-20, most=1.0)

    @property
    def vocab(self) -> int:
        """Rows of the embedding; the key is missing in old files, and the tokens may be fewer."""
        table = self.gguf.tensors.get("token_embd.weight")
        if table is None or len(table.shape) != 2:
            raise LoadRefused("bad_file", "tensor 'token_embd.weight' is missing or is no matrix")
        return self.keys.count("vocab_size", table.shape[1])

    @property
    def table(self) -> Weight:
        """The embedding."""
        return Weight("token_embd.weight", (self.dim, self.vocab))

    @property
    def output(self) -> Weight:
        """What makes logits; tied heads are the embedding."""
        return Weight("output.weight", self.table.shape) if self.has("output.weight") else self.table

    @property
    def layers(self) -> int:
        """Blocks of the model itself: those for predicting further tokens come last and are left out.

        They count among the blocks even of files that lack them.
        """
        layers = self.keys.count("block_count", most=len(self.gguf.tensors))
        spare = self.keys.count("nextn_predict_layers", 0, least=0)
        lacking = spare and spare < layers and not self.in_block(layers - spare, "attn_norm.weight")
        while layers and self.in_block(layers - 1, "nextn.eh_proj.weight"):
            layers -= 1
        return layers - spare if lacking else layers

    @property
    def rotates(self) -> bool:
        """Positions are told by rope, not by a table of theirs."""
        return not self.has("position_embd.weight")

    def has(self, tensor: str) -> bool:
        return tensor in self.gguf.tensors

    def in_block(self, layer: int, part: str) -> bool:
        return self.has(f"blk.{layer}.{part}")

    def weight(self, layer: int, part: str, *shape: int) -> Weight:
        return Weight(f"blk.{layer}.{part}", shape)

    def optional(self, layer: int, part: str, *shape: int) -> Weight | None:
        return self.weight(layer, part, *shape) if self.in_block(layer, part) else None
