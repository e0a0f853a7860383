"""Slots: where every value of an adapter lies, and its first values."""
