"""An architecture of one's own in a study: gated causal convolutions (Dauphin et al. 2017, arXiv 1612.08083).

    shape = { kind = "huggingface", model_type = "own_architecture.py:GatedConvForCausalLM", context = 128,
              hidden_size = 64, num_hidden_layers = 4 }

It is a model of transformers: a configuration whose ``model_type`` is its own, a body, and a linear head without a
bias. Checkpoints hold this file, and load with ``AutoModelForCausalLM.from_pretrained(..., trust_remote_code=True)``.
"""

from typing import Any

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput


class GatedConvConfig(PretrainedConfig):
    model_type = "gated_conv"

    def __init__(
        self, vocab_size: int = 512, hidden_size: int = 64, num_hidden_layers: int = 4, kernel_size: int = 8,
        initializer_range: float = 0.02, **others: Any,
    ) -> None:  # fmt: skip
        self.vocab_size, self.hidden_size, self.num_hidden_layers = vocab_size, hidden_size, num_hidden_layers
        self.kernel_size, self.initializer_range = kernel_size, initializer_range
        super().__init__(**{"tie_word_embeddings": False} | others)


class GatedConv(GradientCheckpointingLayer):
    """Mixes each token with the few before it, by channel, under a gate that it opens itself."""

    def __init__(self, config: GatedConvConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Conv1d(width, width, config.kernel_size, padding=config.kernel_size - 1, groups=width)
        self.gate = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        mixed = self.mix(self.norm(states).mT)[..., : states.shape[1]].mT  # no token sees a later one
        values, gates = self.gate(mixed).chunk(2, dim=-1)
        return states + self.out(values * gates.sigmoid())


class GatedConvModel(PreTrainedModel):
    config_class = GatedConvConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True

    def __init__(self, config: GatedConvConfig) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(GatedConv(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def forward(self, input_ids: Tensor, **others: Any) -> BaseModelOutput:
        states = self.embedding(input_ids)
        for layer in self.layers:
            states = layer(states)
        return BaseModelOutput(last_hidden_state=self.norm(states))


class GatedConvForCausalLM(PreTrainedModel):
    config_class = GatedConvConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True

    def __init__(self, config: GatedConvConfig) -> None:
        super().__init__(config)
        self.model = GatedConvModel(config)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.embedding

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def forward(self, input_ids: Tensor, **others: Any) -> CausalLMOutput:
        return CausalLMOutput(logits=self.head(self.model(input_ids).last_hidden_state))
