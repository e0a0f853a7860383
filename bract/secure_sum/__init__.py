"""A sum that nobody sees into: keys, masks, shares and integers of the secure sum."""
