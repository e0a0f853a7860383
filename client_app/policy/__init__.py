"""What a node's operator says, and no server can change."""
