"""The structure of the package, read off its imports: data flows one way."""

import ast
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

MODULES = {
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in ("air", "scripts")
    for path in (REPOSITORY / folder).rglob("*.py")
}


def imports(path, of_type_checking=False):
    """Names of all modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
    return found


def importers(package):
    return {
        name
        for name, path in MODULES.items()
        if any(module.split(".")[0] == package for module in imports(path))
    }


def test_only_scripts_and_the_config_modules_know_hydra():
    names = (
        *("train", "evaluate", "visualize", "sample", "demo", "dashboard"),
        *("compare", "make_scenes"),
    )
    scripts = {f"scripts.{name}" for name in names}
    names = ("command", "compose", "overrides", "sweep")
    known = scripts | {f"air.config.{name}" for name in names}
    assert importers("omegaconf") == known
    assert importers("hydra") == known | {"air.config.jobs"}


def test_only_its_own_module_knows_a_service():
    names = ("wandb_session", "wandb_tracker", "workspace")
    assert importers("wandb") == {f"air.tracking.{name}" for name in names}
    assert importers("wandb_workspaces") == {"air.tracking.workspace"}
    assert importers("trackio") == {"air.tracking.trackio_tracker"}


def test_no_service_is_imported_before_it_is_used():
    code = (
        "import sys, air.tracking, air.tracking.workspace\n"
        "sys.exit(bool({'wandb', 'wandb_workspaces', 'trackio', 'torch'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_runs_are_compared_without_torch():
    code = "import sys, air.comparison.report; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_only_the_demo_imports_its_extra():
    assert importers("starlette") == {"air.demo.server"}
    assert importers("uvicorn") == {"air.demo.serving"}


@pytest.mark.parametrize(
    ("module", "later"),
    [
        ("air.config", ["air.data", "air.model", "air.inference", "air.trainer", "air.tracking"]),
        ("air.data", ["air.model", "air.inference", "air.trainer", "air.tracking"]),
        ("air.functions", ["air"]),
        ("air.geometry", [name for name in MODULES if name not in ("air", "air.functions")]),
        ("air.sparse", ["air"]),
        ("air.networks", [name for name in MODULES if name not in ("air", "air.sparse")]),
        ("air.generative", ["air.guide", "air.posterior"]),
        ("air.guide", ["air.generative", "air.posterior"]),
        ("air.model", ["air.config", "air.data", "air.inference", "air.trainer", "air.tracking"]),
        ("air.inference", ["air.data", "air.trainer", "air.tracking", "air.run"]),
        ("air.trainer", ["air.run", "air.run_folder", "air.evaluators", "wandb"]),
        ("air.run", ["air.evaluators", "air.demo"]),
        ("air.comparison", ["air.model", "air.data", "air.trainer", "air.pictures", "hydra"]),
        ("air.demo", ["air.evaluators", "air.inference", "air.run", "air.trainer", "hydra"]),
        ("air.tracking", ["air.model", "air.data", "air.trainer", "torch", "pyro"]),
    ],
)
def test_data_flows_one_way(module, later):
    for name, path in MODULES.items():
        if name == module or name.startswith(f"{module}."):
            for imported in imports(path):
                inside = imported == module or imported.startswith(f"{module}.")
                wrong = [x for x in later if imported == x or imported.startswith(f"{x}.")]
                assert inside or not wrong, f"{name} imports {imported}"


def test_no_experiment_lacks_its_command():
    for path in (REPOSITORY / "conf" / "experiment").glob("*.yaml"):
        assert "command:  python scripts/train.py" in path.read_text(), path
