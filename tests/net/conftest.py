import pytest

from .rogue import Certificates
from .sites import site  # noqa: F401 - a fixture


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A CA of the tests' own, made once."""
    return Certificates(tmp_path_factory.mktemp("certificates"))
