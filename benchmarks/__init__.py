"""Each file measures one thing and prints it."""
