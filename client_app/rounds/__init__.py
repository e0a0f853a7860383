"""What a client does in a round: trains by a plan, measures, and sends it as it is or as a masked part of a sum."""
