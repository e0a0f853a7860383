"""Made-up methods and a made-up task, each added as a newcomer would: by its own file and its line in a list."""
