"""One thread's passes through a decoder, written out by hand on buffers that are made once.

The derivation is the usual one, layer by layer backwards; tests hold it to autograd's gradients.
"""

from __future__ import annotations

import torch
from torch import Tensor

from onset.cpu.build import Kernels
from onset.cpu.flat import Flat
from onset.models.transformer import EPSILON, Decoder
from onset.study.cost import LOGITS, PIECE_TOKENS
from onset.study.spec import Shape


def head_of(shape: Shape) -> str:
    """The name of the matrix of the logits."""
    return "embedding" if shape.tied else "head"


def matrix_names(shape: Shape) -> list[str]:
    """All matrices that a pass multiplies by."""
    return [f"blocks.{i}.{part}" for i in range(shape.layers) for part in ("qkv", "out", "gate_up", "down")] + [
        head_of(shape)
    ]


class Matrices:
    """The weights that products are made with, as elements; one for all threads."""

    def __init__(self, master: Flat, used: list[str], *, bfloat16: bool) -> None:
        """``used`` names the matrices."""
        self.dtype = torch.bfloat16 if bfloat16 else torch.float32
        self.floats = master.views(master.values)
        self.elements = {name: self.floats[name].to(self.dtype) for name in used}

    def renew(self) -> None:
        """Take up the master's values; in float32 they are the elements."""
        if self.dtype != torch.float32:
            for name, elements in self.elements.items():
                elements.copy_(self.floats[name])


class Products:
    """Products of one thread; ``sums`` are the gradients, by name."""

    def __init__(self, matrices: Matrices, sums: dict[str, Tensor]) -> None:
        self.matrices, self.sums = matrices, sums
        half = matrices.dtype != torch.float32
        self.parts = {name: torch.zeros_like(one) for name, one in matrices.elements.items()} if half else {}

    def forward(self, name: str, inputs: Tensor, out: Tensor) -> None:
        """out (rows, m) = inputs (rows, n) times the transpose of the matrix (m, n)."""
        torch.mm(inputs, self.matrices.elements[name].t(), out=out)

    def back(self, name: str, gradient: Tensor, out: Tensor) -> None:
        """out (rows, n) = gradient (rows, m) times the matrix (m, n)."""
        torch.mm(gradient, self.matrices.elements[name], out=out)

    def add(self, name: str, gradient: Tensor, inputs: Tensor) -> None:
        """Add gradient^T inputs to the matrix' sum; in bfloat16 a piece's part of it is rounded, not the sum."""
        if not self.parts:
            torch.addmm(self.sums[name], gradient.t(), inputs, out=self.sums[name])
        else:
            self.sums[name].add_(torch.mm(gradient.t(), inputs, out=self.parts[name]))


class Layer:
    """What a block's backward pass needs of its forward pass, for a piece of ``rows`` tokens."""

    def __init__(self, shape: Shape, rows: int, dtype: torch.dtype) -> None:
        width = shape.width
        self.before_attention, self.before_feed = torch.zeros(rows, width), torch.zeros(rows, width)
        self.attention_scales, self.feed_scales = torch.zeros(rows), torch.zeros(rows)
        self.attention_in, self.feed_in = torch.zeros(2, rows, width, dtype=dtype)
        self.qkv = torch.zeros(rows, (shape.heads + 2 * shape.kv_heads) * shape.head_dim, dtype=dtype)
        self.read, self.logs = torch.zeros(rows, width, dtype=dtype), torch.zeros(rows, shape.heads)
        self.both = torch.zeros(rows, 2 * shape.hidden, dtype=dtype)
        self.product = torch.zeros(rows, shape.hidden, dtype=dtype)

    def cut(self, rows: int) -> Layer:
        """The same buffers, for fewer tokens."""
        part = Layer.__new__(Layer)
        part.__dict__ = {name: tensor[:rows] for name, tensor in self.__dict__.items()}
        return part


class Worker:
    """Passes of one thread; ``gradients`` has the master's layout and is made anew by each ``run``."""

    def __init__(
        self,
        model: Decoder,
        master: Flat,
        matrices: Matrices,
        kernels: Kernels,
        gradients: Tensor,
        sequences: int,
        together: int | None = None,
    ) -> None:
        shape = self.shape = model.shape
        self.vocab, self.kernels = model.vocab, kernels
        self.cosine, self.sine = model.cosine.contiguous(), model.sine.contiguous()
        self.floats = matrices.floats
        self.gradients = gradients
        self.sums = master.views(self.gradients)
        self.dtype = matrices.dtype
        self.products = Products(matrices, self.sums)
        self.rows = max(1, min((together or PIECE_TOKENS) // shape.context, sequences)) * shape.context
        self.head = head_of(shape)
        self.layers = [Layer(shape, self.rows, self.dtype) for _ in range(shape.layers)]
        self.stream, self.d_stream = torch.zeros(2, self.rows, shape.width)
        self.change, self.d_normed, self.d_copy, self.d_read = self._elements(4, self.rows, shape.width)
        self.normed = self._elements(self.rows, shape.width)
        self.scales = torch.zeros(self.rows)
        self.d_qkv = torch.zeros_like(self.layers[0].qkv)
        self.d_product = torch.zeros_like(self.layers[0].product)
        self.logit_rows = max(1, min(self.rows, LOGITS // self.vocab))
        self.logits = self._elements(self.logit_rows, self.vocab)
        self.row_buffer = torch.zeros(self.vocab)
        self.scratch = torch.zeros(int(self.kernels.attention_scratch(shape.context, shape.head_dim)))

    def _elements(self, *sizes: int) -> Tensor:
        return torch.zeros(*sizes, dtype=self.dtype)

    def run(self, tokens: Tensor, targets: Tensor, scale: float) -> float:
        """Sum of losses of ids (sequences, context), in nats; ``gradients`` are those of ``scale`` times that sum."""
        self.gradients.zero_()
        total = 0.0
        together = self.rows // self.shape.context
        for ids, right in zip(tokens.split(together), targets.split(together), strict=True):
            ids, right = ids.contiguous(), right.contiguous()
            layers = self.layers if ids.numel() == self.rows else [layer.cut(ids.numel()) for layer in self.layers]
            self._forward(ids, layers)
            total += self._head(right.view(-1), scale)
            self._backward(ids, layers)
        return total

    def _forward(self, ids: Tensor, layers: list[Layer]) -> None:
        """Fill the layers' buffers, and ``normed`` with the input of the head."""
        rows, shape, call = ids.numel(), self.shape, self.kernels
        change, stream = self.change[:rows], layers[0].before_attention
        call.embed(ids, self.floats["embedding"], stream, rows, shape.width)
        first = True
        for index, layer in enumerate(layers):
            at = f"blocks.{index}."
            self._norm(stream, None if first else change, at + "attention_gain", layer.before_attention,
                       layer.attention_in, layer.attention_scales)  # fmt: skip
            self.products.forward(at + "qkv", layer.attention_in, layer.qkv)
            call.attention_forward(layer.qkv, layer.read, layer.logs, self.cosine, self.sine, self.scratch,
                                   *self._sequences(rows))  # fmt: skip
            self.products.forward(at + "out", layer.read, change)
            self._norm(layer.before_attention, change, at + "feed_gain", layer.before_feed, layer.feed_in,
                       layer.feed_scales)  # fmt: skip
            self.products.forward(at + "gate_up", layer.feed_in, layer.both)
            call.swiglu_forward(layer.both, layer.product, rows, shape.hidden)
            self.products.forward(at + "down", layer.product, change)
            stream, first = layer.before_feed, False
        self._norm(stream, change, "gain", self.stream, self.normed, self.scales)

    def _head(self, targets: Tensor, scale: float) -> float:
        """Logits, loss and their gradients, so many rows at once; fills ``d_normed``.

        Rows whose target is below 0 do not count, and are left out of the products.
        """
        counted = (targets >= 0).nonzero().flatten()
        if len(counted) < len(targets):
            return self._head_of(targets[counted], self.normed[counted], counted, len(targets), scale)
        total = 0.0
        for begin in range(0, len(targets), self.logit_rows):
            right = targets[begin : begin + self.logit_rows]
            place = slice(begin, begin + len(right))
            logits = self.logits[: len(right)]
            self.products.forward(self.head, self.normed[place], logits)
            total += self.kernels.cross_entropy(logits, right, self.row_buffer, len(right), self.vocab, scale)
            self.products.back(self.head, logits, self.d_normed[place])
            self.products.add(self.head, logits, self.normed[place])
        return total

    def _head_of(self, targets: Tensor, normed: Tensor, places: Tensor, rows: int, scale: float) -> float:
        """The same of some rows of a piece, whose ``places`` are given."""
        self.d_normed[:rows].zero_()
        total = 0.0
        for begin in range(0, len(targets), self.logit_rows):
            part = slice(begin, begin + self.logit_rows)
            right, inputs = targets[part].contiguous(), normed[part]
            logits, back = self.logits[: len(right)], torch.empty_like(inputs)
            self.products.forward(self.head, inputs, logits)
            total += self.kernels.cross_entropy(logits, right, self.row_buffer, len(right), self.vocab, scale)
            self.products.back(self.head, logits, back)
            self.products.add(self.head, logits, inputs)
            self.d_normed[places[part]] = back
        return total

    def _backward(self, ids: Tensor, layers: list[Layer]) -> None:
        """Add this piece's gradients to the sums."""
        rows, shape, call = ids.numel(), self.shape, self.kernels
        d_normed, d_copy, d_read = self.d_normed[:rows], self.d_copy[:rows], self.d_read[:rows]
        d_qkv, d_product = self.d_qkv[:rows], self.d_product[:rows]
        self._norm_back(self.stream, self.scales, "gain", rows, first=True)
        for index in reversed(range(len(layers))):
            layer, at = layers[index], f"blocks.{index}."
            self.products.add(at + "down", d_copy, layer.product)
            self.products.back(at + "down", d_copy, d_product)
            call.swiglu_backward(layer.both, d_product, rows, shape.hidden)
            self.products.add(at + "gate_up", layer.both, layer.feed_in)
            self.products.back(at + "gate_up", layer.both, d_normed)
            self._norm_back(layer.before_feed, layer.feed_scales, at + "feed_gain", rows)
            self.products.add(at + "out", d_copy, layer.read)
            self.products.back(at + "out", d_copy, d_read)
            call.attention_backward(layer.qkv, layer.read, d_read, layer.logs, d_qkv, self.cosine, self.sine,
                                    self.scratch, *self._sequences(rows))  # fmt: skip
            self.products.add(at + "qkv", d_qkv, layer.attention_in)
            self.products.back(at + "qkv", d_qkv, d_normed)
            self._norm_back(layer.before_attention, layer.attention_scales, at + "attention_gain", rows)
        call.embed_backward(ids, self.d_stream, self.sums["embedding"], rows, shape.width)

    def _norm(
        self, before: Tensor, change: Tensor | None, gain: str, after: Tensor, normed: Tensor, scales: Tensor
    ) -> None:
        self.kernels.norm_forward(
            before, change, self.floats[gain], after, normed, scales, len(before), self.shape.width, EPSILON
        )

    def _norm_back(self, stream: Tensor, scales: Tensor, gain: str, rows: int, *, first: bool = False) -> None:
        """From ``d_normed``, add to the stream's gradient and copy it as elements to ``d_copy``."""
        self.kernels.norm_backward(
            self.d_normed, stream, scales, self.floats[gain], self.d_stream, self.d_copy, self.sums[gain],
            rows, self.shape.width, int(first),
        )  # fmt: skip

    def _sequences(self, rows: int) -> tuple[int, int, int, int, int]:
        shape = self.shape
        return rows // shape.context, shape.context, shape.heads, shape.kv_heads, shape.head_dim
