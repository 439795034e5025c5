"""The README does what it says.

In each of its sections, the blocks of Python and of shell commands are run one after
the other in a directory of their own, and those of Python print what the blocks of text
show, and what follows `# ->` in those of Python; dots stand for anything.
"""

import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import runforrest
from runforrest import TaskList

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SECTIONS = {}
for section in re.split("^## ", README, flags=re.MULTILINE):
    blocks = re.findall("^```(python|sh|text)\n(.*?)^```", section, re.DOTALL | re.M)
    if {language for language, _ in blocks} & {"python", "sh"}:
        SECTIONS[section.partition("\n")[0]] = blocks
SECTIONS.pop("More than one computer", None)  # its recipes are run with their engines


def run(language, source, directory, earlier):
    """Run a block; one of Python goes on after those in front of it.

    Of those, it has only what they import: it is another script, in the same directory.
    """
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
        command,
        input="p reason\nq\n",  # for the debugger
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
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
            shown += "".join(re.findall("# -> (.*\n)", source))
            earlier.append(source if language == "python" else "")
    if shown:
        assert re.fullmatch(re.escape(shown).replace(r"\.\.\.", ".*"), printed), printed


def test_there_are_examples_in_most_sections():
    assert len(SECTIONS) >= 7


def test_the_debugger_stops_where_the_error_was_raised(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    (_, script), (_, commands) = SECTIONS["Debug them, and run them again"]
    run("python", script, tmp_path, [])
    by_hand, in_debugger, *others = commands.splitlines()
    assert "failed as before" in run("sh", by_hand, tmp_path, [])
    assert "'for a reason'" in run("sh", in_debugger, tmp_path, [])
    assert not others


@pytest.mark.parametrize(
    "section, function", [("Schedule them", TaskList), ("Run them", TaskList.run)]
)
def test_the_tables_tell_of_all_arguments(section, function):
    section_alone = README.split(f"\n## {section}\n")[1].partition("\n## ")[0]
    assert section_alone.count("\n|---") == 1
    arguments = set(inspect.signature(function).parameters) - {"self", "directory"}
    table = re.findall(r"^\| (`.*?) \|", section_alone, re.MULTILINE)
    assert set(re.findall(r"(\w+)=", " ".join(table))) == arguments


def test_links_lead_to_sections_and_files_that_exist():
    titles = re.findall(
        "^#+ (.*)$", re.sub("```.*?```", "", README, flags=re.DOTALL), re.M
    )
    anchors = {re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles}
    links = re.findall(r"\]\((?!https:)(.*?)\)", README)
    assert links
    for link in links:
        assert link[1:] in anchors if link[0] == "#" else (ROOT / link).is_file(), link


def test_the_set_up_installs_what_the_project_offers():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    offered = set(project["optional-dependencies"])
    wanted = set(re.findall(r"\.\[(\w+)\]", README))
    assert "test" in wanted <= offered


def test_the_changelog_begins_with_this_version():
    changelog = README.split("\n## Changelog\n")[1].strip()
    assert changelog.startswith(f"**{runforrest.__version__}**")
