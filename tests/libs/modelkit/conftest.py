from pathlib import Path
from typing import Any

import pytest
from tests.libs.modelkit.samples import cancer, declared, shifted, trained

Trained = tuple[dict[str, Any], dict[str, Any]]

BOOSTED = {"estimators": ["hist_gradient_boosting"], "max_trials": 1}


@pytest.fixture(scope="session")
def first_version(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Trained on the first 250 rows."""
    return trained(cancer().slice(0, 250), tmp_path_factory.mktemp("models") / "first", declared())


@pytest.fixture(scope="session")
def second_version(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Trained on 170 later rows, shifted; it has to beat the first by Brier score."""
    gates = {"minimums": {"roc_auc": 0.95}, "beats_champion": {"metric": "brier_score"}}
    table = shifted(cancer().slice(350, 170))
    return trained(table, tmp_path_factory.mktemp("models") / "second", declared(gates=gates))


@pytest.fixture(scope="session")
def boosted_version(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A boosted model on the first 250 rows."""
    directory = tmp_path_factory.mktemp("models") / "boosted"
    return trained(cancer().slice(0, 250), directory, declared(search=BOOSTED))


@pytest.fixture
def data_file(tmp_path: Path) -> Path:
    """Where a test writes its data."""
    return tmp_path / "data.csv"
