"""The frozen base model and the adapter in it."""
