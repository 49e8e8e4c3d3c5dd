"""Coverage-guided fuzzing; not part of the test suite, as it never ends by itself."""
