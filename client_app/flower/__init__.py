"""The trainer beside a SuperNode, which speaks Flower's runtime protocol."""
