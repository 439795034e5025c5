"""The README does what it says.

In each of its sections, the blocks of Python and of shell commands are run one after
the other in a directory of their own, and those of Python print what the blocks of text
show, where dots stand for anything.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
SECTIONS = {}
for section in re.split("^## ", README, flags=re.MULTILINE):
    blocks = re.findall("^```(python|sh|text)\n(.*?)^```", section, re.DOTALL | re.M)
    if {language for language, _ in blocks} & {"python", "sh"}:
        SECTIONS[section.partition("\n")[0]] = blocks
SECTIONS.pop("More than one computer", None)  # its recipes are run with their engines


def run(language, source, directory, earlier):
    """Run a block; one of Python goes on after those in front of it."""
    if sys.version_info[:3] == (3, 13, 0):  # whose debugger takes options for its own
        source = source.replace(
            "-c continue -m runforrest", "-c continue -m runforrest --"
        )
    command = ["bash", "-c", source]
    if language == "python":
        command = [sys.executable, directory / "script.py"]
        names = re.findall("^(?:from .*|import .*)$", "".join(earlier), re.MULTILINE)
        (directory / "script.py").write_text("\n".join([*names, source]))
    process = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, timeout=60, check=False
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.parametrize("title", SECTIONS)
def test_the_examples_of_a_section_print_what_it_says(title, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    printed, shown, earlier = "", "", []
    for language, source in SECTIONS[title]:
        if language == "text":
            shown += source
        else:
            output = run(language, source, tmp_path, earlier)
            printed += output if language == "python" else ""
            earlier.append(source if language == "python" else "")
    if shown:
        assert re.fullmatch(re.escape(shown).replace(r"\.\.\.", ".*"), printed)


def test_there_are_examples_in_most_sections():
    assert len(SECTIONS) >= 7
