from .sites import site  # noqa: F401 - a fixture
