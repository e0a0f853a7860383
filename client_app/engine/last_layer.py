"""The last layer of an encoder whose head reads the first position only: nothing is computed for the others there."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from bract.models.lora_model import LoraModel

# By name, as importing transformers' modules for all of them takes seconds. These are built alike.
LAYERS = {"BertLayer", "RobertaLayer", "XLMRobertaLayer", "ElectraLayer"}
# Their own heads read the first position.
MODELS = {f"{name}ForSequenceClassification" for name in ("Bert", "Roberta", "XLMRoberta", "Electra")}


def last_layer(model: LoraModel) -> nn.Module | None:
    """The last layer, where its first position is all that is read of it; None where that is not known."""
    inner: Any = model.model.get_base_model()
    pooling = model.shape.pooling
    if pooling == "mean" or (pooling == "native" and type(inner).__name__ not in MODELS):
        return None
    layers = getattr(getattr(inner.base_model, "encoder", None), "layer", None)
    if not isinstance(layers, nn.ModuleList) or type(layers[-1]).__name__ not in LAYERS or layers[-1].is_decoder:
        return None
    return layers[-1]


def first_position(layer: Any, states: Tensor, mask: Tensor | None) -> Tensor:
    """What the layer gives at the first position: keys and values of all, the rest of one."""
    attention, first = layer.attention.self, states[:, :1]

    def heads(values: Tensor) -> Tensor:
        cut: Tensor = values.unflatten(-1, (-1, attention.attention_head_size))
        return cut.transpose(1, 2)

    query, key, value = heads(attention.query(first)), heads(attention.key(states)), heads(attention.value(states))
    seen = None if mask is None else mask[:, :, :1]
    mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=attention.scaling)
    output: Tensor = layer.feed_forward_chunk(layer.attention.output(mixed.transpose(1, 2).flatten(2), first))
    return output
