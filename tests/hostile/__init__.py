"""What a server, or whoever reads what leaves, may try: each attack is written out, and must fail."""
