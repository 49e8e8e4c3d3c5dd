"""Changes of the code that some test must notice; ``__main__`` is the command."""
