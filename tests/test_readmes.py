"""The READMEs name every field and every command, and their links lead somewhere."""

import re

import pytest

from air.annotation.config import InferConfig
from air.benchmark.config import GradientsConfig
from air.comparison.config import CompareConfig
from air.config.keys import schema_keys
from air.config.schema import Config
from air.data.config import MakeScenesConfig
from air.demo.config import DemoConfig
from air.evaluation.config import EvaluateConfig
from air.pictures.config import SampleConfig, VisualizeConfig
from air.tracking.config import DashboardConfig
from tests.helpers.repository import REPOSITORY

PAGES = sorted(
    page
    for folder in (".", "air", "conf", "outputs", "scripts", "tests")
    for page in (REPOSITORY / folder).glob("*.md")
)
OF_OTHER_COMMANDS = {
    "compare": CompareConfig,
    "dashboard": DashboardConfig,
    "demo": DemoConfig,
    "evaluate": EvaluateConfig,
    "gradients": GradientsConfig,
    "infer": InferConfig,
    "make_scenes": MakeScenesConfig,
    "sample": SampleConfig,
    "visualize": VisualizeConfig,
}


def text_of(folder):
    return (REPOSITORY / folder / "README.md").read_text(encoding="utf-8")


def first_cells(text):
    """Return what stands in backticks in the first cells of tables: the keys they explain."""
    return {key for row in re.findall(r"^\|([^|]*)", text, re.M) for key in in_code(row)}


def in_code(text):
    return set(re.findall(r"`([^`]+)`", text))


def leaves(schema):
    """Return the dotted keys that hold values; `kind` is what a group's option sets."""
    keys = schema_keys(schema)
    inner = {key.rpartition(".")[0] for key in keys}
    return {key for key in keys if key not in inner and not key.endswith("kind")}


def test_every_field_of_a_run_is_explained():
    assert leaves(Config) <= first_cells(text_of("conf"))


@pytest.mark.parametrize("command", OF_OTHER_COMMANDS)
def test_every_field_of_another_command_is_explained(command):
    table = text_of("conf").partition(f"| `{command}.yaml` |")[2].partition("\n\n")[0]
    explained = first_cells(table)
    keys = {key for key in leaves(OF_OTHER_COMMANDS[command]) if not key.startswith("data.")}
    assert keys <= explained


def groups():
    """Return the options of each group, by the group's name."""
    found = {}
    for file in sorted((REPOSITORY / "conf").rglob("*/*.yaml")):
        if not {"hydra", "reproduction", "wandb_sweep"} & set(file.relative_to(REPOSITORY).parts):
            found.setdefault(file.parent.name, set()).add(file.stem)
    return found


@pytest.mark.parametrize(("group", "options"), groups().items(), ids=groups())
def test_every_option_stands_in_the_row_of_its_group(group, options):
    row = re.search(rf"^\| `{group}` \|([^|]*)\|", text_of("conf"), re.M)
    assert row is not None
    assert options == in_code(row[1])


def test_every_command_has_a_section_and_an_example():
    text = text_of("scripts")
    for script in (REPOSITORY / "scripts").glob("*.py"):
        assert re.search(rf"^#+ `{script.name}`$", text, re.M), script.name
        assert f"python scripts/{script.name}" in text, script.name


def anchors(page):
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_relative_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r'\]\(([^)\s]+)\)|src="([^"]+)"', text):
        target, _, anchor = "".join(link).partition("#")
        if "://" in target:
            continue
        path = page.parent / target if target else page
        assert path.exists(), link
        if anchor:
            assert anchor in anchors(path), link


def test_readme_has_one_test_command():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert len(re.findall(r"^python3 -m venv .*&& pytest$", text, re.M)) == 1  # .ci/run takes it
