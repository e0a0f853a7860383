"""What a device spends and has spent of its data's privacy."""
