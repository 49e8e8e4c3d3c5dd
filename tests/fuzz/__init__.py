"""Coverage-guided fuzzing; ``__main__`` is the command."""
