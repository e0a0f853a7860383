"""A member's part in sums that nobody sees into: what it keeps, its masked contribution, and how it helps to unmask."""
