"""Run folders, exported adapters, reports, and what a terminal shows."""
