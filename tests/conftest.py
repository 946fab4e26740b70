"""What several tests share."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"


def pytest_addoption(parser):
    parser.addoption("--write-golden", action="store_true", help="rewrite tests/golden/*.csv from the code as it is")


@pytest.fixture
def write_golden(request):
    return request.config.getoption("--write-golden")


@pytest.fixture(scope="session")
def root():
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data():
    """Real patients, beside the repository; never inside it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no real patients: ../shared/data is absent")
    return SHARED_DATA
