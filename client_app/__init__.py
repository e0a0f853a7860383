"""What runs on a device: base model, data, training, the client's own state."""
