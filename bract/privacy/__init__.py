"""What both sides compute of privacy: mechanism, noise, epsilon."""
