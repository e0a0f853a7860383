"""LoRA in Flower as its public examples are written: what Bract is measured against."""
