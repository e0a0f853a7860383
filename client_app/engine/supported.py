"""What the fused engine does not train, because it could not do it exactly."""

from peft.tuners.lora.layer import Linear as LoraLinear
from torch import nn

from bract.models.lora_model import LoraModel
from client_app.engine.flat_buffer import FlatBuffer


def why_unsupported(model: LoraModel, flat: FlatBuffer) -> str | None:
    """Why the fused engine cannot train this exactly, or None if it can."""
    for name, layer in model.layers.items():
        if fault := _layer_fault(name, layer):
            return fault
    return _stray_parameter(model, flat) or _shared_parameter(model, flat)


def _layer_fault(name: str, layer: nn.Module) -> str | None:
    adapters = list(getattr(layer, "lora_A", {}))
    if type(layer) is not LoraLinear or adapters != ["default"]:
        return f"{name} is adapted by {type(layer).__name__}, not by one plain LoRA"
    base = layer.get_base_layer()
    if type(base) is not nn.Linear and type(base).__name__ != "Conv1D":
        return f"{name} is a {type(base).__name__}, which may compute more than a linear layer"
    if layer.lora_variant or layer.lora_bias["default"] or not isinstance(layer.lora_dropout["default"], nn.Identity):
        return f"{name} has more than two factors: a variant of LoRA, a bias or dropout"
    if layer.merged or layer.disable_adapters:
        return f"{name} has its adapter merged or switched off"
    return None


def _stray_parameter(model: LoraModel, flat: FlatBuffer) -> str | None:
    """A parameter that trains and is neither a factor nor of a linear layer of the head."""
    ours = {id(factor["default"].weight) for layer in model.layers.values() for factor in (layer.lora_A, layer.lora_B)}
    head = {id(parameter) for parameter in model.head.values()}
    linears = [module for module in model.modules() if type(module) is nn.Linear]
    ours |= {id(parameter) for linear in linears for parameter in linear.parameters()} & head
    for view in flat.views:
        if id(view.parameter) not in ours:
            name = next(name for name, parameter in model.named_parameters() if parameter is view.parameter)
            return f"{name} is neither a factor nor of a linear layer"
    return None


def _shared_parameter(model: LoraModel, flat: FlatBuffer) -> str | None:
    owners: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    if any(owners[id(view.parameter)] > 1 for view in flat.views):
        return "a trained parameter is shared by two modules"
    return None
