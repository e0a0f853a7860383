"""What travels between server and client: plans, payloads, messages."""
