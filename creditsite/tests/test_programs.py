import os

import pytest

from creditsite.running import programs


class TestClosedDirectory:
    def test_finds_what_only_its_owner_may_pass(self, tmp_path):
        home = tmp_path / "home"
        (home / "data").mkdir(parents=True)
        home.chmod(0o700)
        assert programs.closed_directory(home / "data") == home

    def test_is_none_where_everybody_may_pass(self):
        assert programs.closed_directory(programs.Path("/")) is None


class TestLendPassage:
    def test_names_the_directory_where_nothing_can_be_lent(self, tmp_path, monkeypatch):
        monkeypatch.setattr(programs.shutil, "which", lambda name: None)
        with pytest.raises(programs.EmbeddedError, match=f"may not pass {tmp_path}"):
            programs.lend_passage(tmp_path)


class TestServerOwner:
    @pytest.mark.parametrize(("user", "owner"), [(0, "nobody"), (1000, None)])
    def test_is_another_for_root_alone(self, monkeypatch, user, owner):
        monkeypatch.setattr(os, "geteuid", lambda: user)
        found = programs.server_owner()
        assert (found and found.pw_name) == owner
