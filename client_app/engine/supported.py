"""What the fused engine does not train, because it could not do it exactly."""

from peft.tuners.lora.layer import Linear as LoraLinear
from torch import nn

from bract.models.lora_model import Classifier
from client_app.engine.flat_buffer import Flat


def refusal(model: Classifier, flat: Flat) -> str | None:
    """Why the engine cannot train this exactly, or None if it can."""
    ours: set[int] = set()
    for name, layer in model.layers.items():
        adapters = list(getattr(layer, "lora_A", {}))
        if type(layer) is not LoraLinear or adapters != ["default"]:
            return f"{name} is adapted by {type(layer).__name__}, not by one plain LoRA"
        base = layer.get_base_layer()
        if type(base) is not nn.Linear and type(base).__name__ != "Conv1D":
            return f"{name} is a {type(base).__name__}, which may compute more than a linear map"
        if (
            layer.lora_variant
            or layer.lora_bias["default"]
            or not isinstance(layer.lora_dropout["default"], nn.Identity)
        ):
            return f"{name} has more than two factors: a variant of LoRA, a bias or dropout"
        if layer.merged or layer.disable_adapters:
            return f"{name} has its adapter merged or switched off"
        ours |= {id(layer.lora_A["default"].weight), id(layer.lora_B["default"].weight)}
    linears = [m for m in model.modules() if type(m) is nn.Linear]
    ours |= {id(p) for head in linears for p in head.parameters() if any(p is q for q in model.head.values())}
    for piece in flat.pieces:
        if id(piece.parameter) not in ours:
            name = next(n for n, p in model.named_parameters() if p is piece.parameter)
            return f"{name} is neither a factor nor of a linear map"
    owners: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    if any(owners[id(piece.parameter)] > 1 for piece in flat.pieces):
        return "a trained parameter is shared by two modules"
    return None
