"""Every setting, what it may be, and what must fit together."""
