"""README.md promises nothing that is not there: its example runs, its flags, codes, names and settings exist."""

from __future__ import annotations

import io
import re
import tomllib
from contextlib import redirect_stdout
from pathlib import Path

import click
import pytest
from datasets import load_dataset

from harvester.cli.commands import group
from harvester.config import Config
from harvester.report.summary import EXIT_CODES
from tests.integration.commands import QUICK, Commands

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced code blocks of that language ("" = none named)."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    """The text below a heading of the second level."""
    return re.split(r"^## ", README.split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]


def example() -> str:
    """The Python block that is marked as the one to be run."""
    match = re.search(r"<!-- example[^>]*-->\n```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert match is not None
    return match[1]


def paths_of_tree(tree: str) -> list[str]:
    """First words of the lines of a drawn tree, several where a comma or a wide gap parts them."""
    lines = (re.split(r"\s{2,}", line.strip()) for line in tree.splitlines())
    return [name for first, *rest in lines for name in first.split(", ")]


def test_the_example_runs_as_it_stands(
    default_commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = default_commands.server
    settings = tomllib.loads(default_commands.config.read_text())
    variables = {
        f"HARVESTER_{section.upper()}_{key.upper()}": str(value)
        for section, keys in settings.items()
        for key, value in keys.items()
    }
    for name, value in (variables | QUICK | server.environ).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(example(), "README.md", "exec"), {})
    lines = printed.getvalue().splitlines()
    assert len(lines) == 3
    assert all(re.fullmatch(r"SuperTuxKart [0-9.]+ \(720, 1280, 3\)", line) for line in lines)
    assert {entry.path.split("/")[1] for entry in server.log.entries()} >= {"helix", "gql", "cdn"}


def test_the_dataset_opens_as_it_says(made: Path, tmp_path: Path) -> None:
    (block,) = [text for text in blocks("python") if "load_dataset" in text]
    (call,) = re.findall(r"load_dataset\((.*)\)", block)
    assert call == '"imagefolder", data_dir="DIR"'
    loaded = load_dataset("imagefolder", data_dir=str(made), cache_dir=str(tmp_path))
    assert sum(split.num_rows for split in loaded.values()) == 2
    columns = next(iter(loaded.values())).column_names
    told = re.findall(r"`([a-z0-9_]+)`", section("The dataset").split("```")[-1])
    assert set(told) <= set(columns)
    assert len(told) > 5


def test_the_layout_of_a_dataset_is_the_drawn_one(made: Path) -> None:
    tree = next(text for text in blocks("") if text.startswith("DIR/"))
    top = {path.split("/")[1] for path in paths_of_tree(tree)}
    assert top == {path.name for path in made.iterdir()}
    image, metadata = paths_of_tree(tree)[:2]
    assert re.fullmatch(r"DIR/data/\{(.*)\}/<category>/<vod\|clip>-<source>-<offset in ms>\.jpg", image)
    splits = re.findall(r"\{(.*)\}", metadata)[0].split(",")
    assert {path.parent.name for path in made.glob("data/*/metadata.parquet")} <= set(splits)
    assert splits == ["train", "validation", "test"]


def options_of(command: click.Command) -> set[str]:
    """Its long options, as ``--help`` lists them."""
    return set(re.findall(r"--[a-z-]+", command.get_help(click.Context(command))))


def test_every_command_and_flag_exists() -> None:
    table = re.findall(r"^\| `harvester ([a-z]+)([^`]*)` \|", README, re.MULTILINE)
    assert {name for name, _ in table} == set(group.commands)
    for name, rest in table:
        assert set(re.findall(r"--[a-z-]+", rest)) <= options_of(group.commands[name])
    prose = section("Commands").split("\n\n", 2)[2]
    assert set(re.findall(r"`(--[a-z-]+)", prose)) <= options_of(group.commands["run"])
    for line in re.findall(r"^scripts/run (--.*)$", README, re.MULTILINE):
        assert set(re.findall(r"--[a-z-]+", line)) <= options_of(group.commands["run"])


def test_every_option_of_run_is_told() -> None:
    told = set(re.findall(r"--[a-z-]+", README)) | {"--quiet", "--verbose", "--config", "--help"}
    assert options_of(group.commands["run"]) <= told


def test_the_exit_codes_are_those_of_the_program() -> None:
    (line,) = re.findall(r"^Exit codes: (.*?)\.$", README, re.MULTILINE | re.DOTALL)
    told = {int(number) for number in re.findall(r"(?:^|· |, )(\d+)", line)}
    assert told == frozenset().union(*EXIT_CODES.values())
    in_help = re.findall(r"Exit codes: (.*)\.$", group.help or "", re.MULTILINE | re.DOTALL)[0]
    assert {int(number) for number in re.findall(r"\b\d+\b", in_help)} == told - {1}


def test_the_code_is_laid_out_as_drawn() -> None:
    tree = next(text for text in blocks("") if text.startswith("harvester/"))
    names = set(re.findall(r"(?:^  |, |  )([a-z_]+(?:\.py|/))", tree, re.MULTILINE))
    there = {path.name + "/" * path.is_dir() for path in (PROJECT / "harvester").iterdir() if path.name[0] != "_"}
    assert names == there - {"py.typed"}


def test_settings_files_and_links_exist() -> None:
    for name in re.findall(
        r"`(?:\[)?(rights|run|discover|sample|fetch|decode|filter|dedupe|dataset|retention)[\]. ]+(\w+)`", README
    ):
        assert name[1] in getattr(Config(), name[0]).model_fields_set | set(
            type(getattr(Config(), name[0])).model_fields
        )
    known = {
        f"HARVESTER_{section}_{key}".upper() for section, value in Config() for key in type(value).model_fields
    }
    assert set(re.findall(r"HARVESTER_[A-Z_]+", README)) - {"HARVESTER_SECTION_KEY"} <= known
    for path in re.findall(r"\]\((?!https?:)([^)]+)\)", README) + re.findall(r"`?(scripts/[\w.-]+)", README):
        assert (PROJECT / path).exists(), path


def test_the_extras_exist() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    told = set(re.findall(r"\[(gpu-\w+)\]", README))
    assert told == {name for name in project["optional-dependencies"] if name.startswith("gpu-")}
    for name in told:
        assert any(text.startswith("cupy-") and "[ctk]" in text for text in project["optional-dependencies"][name])
