"""Tables of examples, and how a simulation splits them."""
