"""Real programs as the tests' peers; README.md in this folder says which, and how they are run."""
