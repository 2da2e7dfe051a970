"""The analysts' notebook runs as it stands, and says what it says in the repository."""

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs" / "analyst.ipynb"


@pytest.fixture
def analyst(settings, monkeypatch):
    """The environment of an analyst: Scarp's commands on the path, and a world of their own."""
    monkeypatch.setenv("SCARP_HOME", str(settings.home))
    monkeypatch.setenv("SCARP_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")


def said(notebook):
    """What the cells printed or showed as text, pictures left out."""
    shown = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            text = output.get("text") or output["data"].get("text/plain", "")
            shown.append(text if "image/png" not in output.get("data", {}) else "a picture")
    return shown


def test_the_notebook_runs_and_says_the_same(analyst):
    stored = nbformat.read(NOTEBOOK, as_version=4)
    expected = said(stored)
    place = {"metadata": {"path": str(NOTEBOOK.parent)}}
    run = NotebookClient(stored, timeout=300, kernel_name="python3", resources=place).execute()
    assert said(run) == expected
    assert expected.count("a picture") == 1
