"""Choices that more than the settings know: one definition each, as types."""

from typing import Literal

Accountant = Literal["prv", "rdp"]
Codec = Literal["float32", "float16", "int8"]
Head = Literal["frozen", "shared", "local"]
HeadInit = Literal["random", "labels"]
Pooling = Literal["native", "mean", "cls"]
Score = Literal["product", "magnitude", "sensitivity", "released"]
Variant = Literal["lora", "rslora", "vera"]
