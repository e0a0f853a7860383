"""A client's turn: tokenizer and model from their files, PEFT around it, batches padded to their longest, a loop."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch


def turn(
    place: str,
    texts: Sequence[str],
    labels: Sequence[int],
    classes: int,
    shared: Mapping[str, torch.Tensor] | None,
    steps: int,
    batch: int,
    lr: float,
) -> dict[str, torch.Tensor]:
    """Train the adapter and the head for so many steps, from what was received (None: from PEFT's first values)."""
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
    from torch.utils.data import DataLoader
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding

    tokenizer = AutoTokenizer.from_pretrained(place)  # nosec B615 # a folder of this machine
    model = AutoModelForSequenceClassification.from_pretrained(place, num_labels=classes)  # nosec B615 # the same
    config = LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"], task_type="SEQ_CLS")
    model = get_peft_model(model, config)
    if shared is not None:
        set_peft_model_state_dict(model, shared)
    items: Any = [
        {**tokenizer(text, truncation=True, max_length=64), "labels": label}
        for text, label in zip(texts, labels, strict=True)
    ]
    loader = DataLoader(items, batch, shuffle=True, collate_fn=DataCollatorWithPadding(tokenizer))
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    model.train()
    left = steps
    while left:
        for padded in loader:
            model(**padded).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            left -= 1
            if not left:
                break
    found: dict[str, torch.Tensor] = get_peft_model_state_dict(model)
    return found
