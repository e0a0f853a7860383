"""What a model is trained for: examples, losses, measurements; one file a task."""
