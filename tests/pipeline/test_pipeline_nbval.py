"""What nbval compares of an executed chapter, and what it leaves aside."""

import subprocess
import sys
from pathlib import Path

import nbformat

SETTINGS = Path(__file__).resolve().parents[1] / "nbval-sanitize.cfg"

PAGE = """\
from IPython.display import HTML
HTML('''<div><svg viewBox="0 0 {size} 1">
<path d="M 0 0
L 1 {size}"/>
</svg><script>Scene.draw("a", [{size}])
</script><img src="data:image/png;base64,{code}"/>
<table><tr><td>{number}</td></tr></table></div>''')
"""


def notebook(path: Path, shown: dict, stored: dict) -> Path:
    """A notebook whose cell shows one thing, and in which another thing is stored."""
    cell = nbformat.v4.new_code_cell(PAGE.format(**shown), execution_count=1)
    html = PAGE.format(**stored).partition("'''")[2].rpartition("'''")[0]
    data = {"text/html": html, "text/plain": "<IPython.core.display.HTML object>"}
    cell.outputs = [nbformat.v4.new_output("execute_result", data, execution_count=1)]
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    return path


def test_numbers_are_compared_and_drawings_are_not(tmp_path):
    shown = {"size": 1, "code": "A" * 400, "number": "3.14"}
    notebook(tmp_path / "other-drawing.ipynb", shown, shown | {"size": 2, "code": "B" * 400})
    notebook(tmp_path / "other-number.ipynb", shown, shown | {"number": "3.15"})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env",
         "--nbval-sanitize-with", str(SETTINGS), "-rA", "-p", "no:cacheprovider",
         "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert "PASSED other-drawing.ipynb::Cell 0" in done.stdout
    assert "FAILED other-number.ipynb::Cell 0" in done.stdout
