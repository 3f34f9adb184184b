"""The settings that say where things are: one that is set wrong is not taken for unset."""

import pytest

from ncbook import files


def test_an_empty_root_is_not_the_working_folder(monkeypatch, root):
    monkeypatch.chdir(root)
    monkeypatch.setenv("NCBOOK_ROOT", "")
    with pytest.raises(FileNotFoundError, match=r"NCBOOK_ROOT is ''.* or unset it"):
        files.root()
    monkeypatch.delenv("NCBOOK_ROOT")
    assert files.root() == root


def test_an_empty_output_folder_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("NCBOOK_OUT", "")
    with pytest.raises(files.UsageError, match="NCBOOK_OUT is empty: set it to a folder"):
        files.output_dir()
    monkeypatch.setenv("NCBOOK_OUT", str(tmp_path))
    assert files.output_dir() == tmp_path
