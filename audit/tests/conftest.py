from pathlib import Path
from typing import Any

import pytest

from audit.checkpoints import make_key


@pytest.fixture
def sealing(tmp_path: Path, settings: Any) -> Path:
    """Give the sealer and the verifier a directory of the test's own, with a key in it."""
    settings.AUDIT_SIGNING_KEY_FILE = str(tmp_path / "key.pem")
    settings.AUDIT_CHECKPOINT_FILE = str(tmp_path / "checkpoints.jsonl")
    settings.AUDIT_STATE_FILE = str(tmp_path / "state.json")
    make_key(tmp_path / "key.pem")
    return tmp_path
