"""The server's part in sums that it does not see into: the set-up, a round's words, and how the masks come off."""
