"""What a client does beyond training the parts of its plan: one file a directive."""
