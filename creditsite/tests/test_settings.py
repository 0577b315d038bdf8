import subprocess
import sys

import pytest

from creditsite.running.environment import ROOT

PRODUCTION = {
    "SECRET_KEY": "a" * 25 + "bcdefghijklmnopqrstuvwxyz" * 2,
    "IDENTITY_KEY": "i" * 50,
    "JWT_SIGNING_KEY": "j" * 50,
    "API_KEY_HASH_KEY": "k" * 50,
    "ALLOWED_HOSTS": "credits.example.com",
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "REDIS_URL": "redis://127.0.0.1:1/0",
}


def manage(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run manage.py with nothing in the environment but ``variables``."""
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)


class TestProduction:
    def test_is_clean(self):
        checked = manage("check", "--deploy", "--fail-level", "WARNING", **PRODUCTION)
        assert (checked.returncode, checked.stderr) == (0, "")

    @pytest.mark.parametrize("name", sorted(PRODUCTION.keys() - {"REDIS_URL", "DATABASE_URL"}))
    def test_does_not_start_without(self, name):
        given = {key: value for key, value in PRODUCTION.items() if key != name}
        checked = manage("check", **given)
        assert checked.returncode != 0
        assert f"Not set: {name}. " in checked.stderr

    def test_does_not_start_without_a_database(self):
        checked = manage("check", DEMO="0", **{**PRODUCTION, "DATABASE_URL": ""})
        assert "Not set: DATABASE_URL. " in checked.stderr

    def test_redirects_to_https_but_for_probes(self, client, settings):
        settings.SECURE_SSL_REDIRECT = True
        assert client.get("/admin/").status_code == 301
        assert client.get("/healthz").status_code == 200
