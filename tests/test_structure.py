"""The structure of the package, read off its imports: data flows one way."""

import ast
import configparser
import subprocess
import sys

import pytest

from tests.helpers.repository import REPOSITORY

MODULES = {
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in ("air", "scripts")
    for path in (REPOSITORY / folder).rglob("*.py")
}
LEAVES = (
    "air.annotation",
    "air.benchmark",
    "air.demo",
    "air.reproduction",
)  # nothing else imports them


def is_in(name, package):
    return name == package or name.startswith(f"{package}.")


def imports(tree, aside=()):
    """Yield the full names that a syntax tree imports, wherever in it but in some kinds of node."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, aside):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imports(node, aside)


TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}
IMPORTS = {name: set(imports(tree)) for name, tree in TREES.items()}


def is_schema(name):
    return name.endswith(".config") and name != "air.config"


# A schema's methods, such as `build`, import what it describes when they are called. The package
# itself is a front, whose names are imported on first use.
EDGES = {
    name: {
        imported
        for imported in imports(tree, aside=ast.FunctionDef if is_schema(name) else ())
        if imported in MODULES
    }
    for name, tree in TREES.items()
    if name != "air"
}


def importers(package):
    return {name for name in MODULES if any(is_in(each, package) for each in IMPORTS[name])}


def reached(name, seen=None):
    """Return all modules that a module imports, and those that they import."""
    seen = set() if seen is None else seen
    for imported in EDGES.get(name, ()):
        if imported not in seen:
            seen.add(imported)
            reached(imported, seen)
    return seen


def test_there_is_no_circle():
    assert not [name for name in MODULES if name in reached(name)]


@pytest.mark.parametrize("leaf", LEAVES)
def test_nothing_imports_a_leaf(leaf):
    others = {name for name in importers(leaf) if not is_in(name, leaf)}
    assert all(name.startswith("scripts.") for name in others), others


ORDER = {  # what each package may import of the others
    "air.errors": set(),
    "air.runs.files": {"air.errors"},
    "air.runs.lock": {"air.errors"},
    "air.runs.made_once": {"air.errors", "air.runs.files"},
    "air.fields": {"air.errors"},
    "air.model": {"air.errors"},
    "air.data": {
        "air.errors",
        "air.fields",
        "air.model.images",
        "air.model.sizes",
        "air.runs.files",
        "air.runs.lock",
        "air.runs.made_once",
    },
    "air.inference": {"air.errors", "air.model"},
    "air.acceleration": {
        "air.errors",
        "air.model",
        "air.inference",
        "air.runs.files",
        "air.runs.made_once",
    },
    "air.runs": {"air.errors", "air.fields", "air.model", "air.config"},
    "air.tracking": {"air.errors", "air.fields", "air.runs", "air.pictures.colours"},
    "air.comparison": {
        "air.errors",
        "air.fields",
        "air.config",
        "air.runs",
        "air.tracking",
        "air.pictures",
        "air.cli",
    },
    # It names what it builds; nothing of it is imported before.
    "air.config": {
        "air.errors",
        "air.fields",
        "air.data.ground",
        "air.data.objects",
        "air.data.scenes",
        "air.model.air",
        "air.inference.objective",
    },
}


@pytest.mark.parametrize("package", ORDER)
def test_data_flows_one_way(package):
    for name in MODULES:
        if is_in(name, package) and not name.endswith(".config"):
            for imported in EDGES[name]:
                schema = imported.endswith(".config") and package != "air.model"
                allowed = schema or any(
                    is_in(imported, each) for each in (package, *ORDER[package])
                )
                assert allowed, f"{name} imports {imported}"


def test_a_schema_knows_other_schemas_only():
    for name in filter(is_schema, MODULES):
        when_loaded = imports(TREES[name], aside=(ast.FunctionDef, ast.If))  # If: TYPE_CHECKING
        for imported in MODULES.keys() & set(when_loaded) - {"air.errors", "air.fields"}:
            assert is_schema(imported), f"{name} imports {imported}"


def test_only_the_command_line_knows_hydra():
    knows = importers("hydra") | importers("omegaconf")
    assert {name for name in knows if not is_in(name, "air.cli")} == {
        f"scripts.{name}"
        for name in ("train", "evaluate", "infer", "visualize", "sample", "demo", "dashboard")
    } | {"scripts.compare", "scripts.gradients", "scripts.make_scenes"}
    assert not importers("hydra._internal")


def test_only_its_own_module_knows_a_service():
    names = ("wandb_session", "wandb_tracker", "workspace")
    assert importers("wandb") == {f"air.tracking.{name}" for name in names}
    assert importers("wandb_workspaces") == {"air.tracking.workspace"}
    assert importers("trackio") == {"air.tracking.trackio_tracker"}


def test_only_the_demo_imports_its_extra():
    assert importers("starlette") == {"air.demo.server"}
    assert importers("uvicorn") == {"air.demo.serving"}


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("air.config.parsing", "torch pyro hydra omegaconf numpy"),
        ("air.tracking.trackers", "torch pyro wandb wandb_workspaces trackio"),
        ("air.tracking.workspace", "torch pyro wandb wandb_workspaces trackio"),
        ("air.comparison.compare_runs", "torch pyro"),
        ("air.cli.command", "torch pyro"),
        ("air.reproduction.reproduce", "torch pyro"),
    ],
)
def test_what_is_slow_is_imported_late(module, absent):
    code = f"import sys, {module}; print(*(set({absent.split()}) & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not found.stdout.split()


def test_whatever_the_code_reads_is_installed_with_it():
    """A package that is not installed in place has of data files what setup.cfg names alone."""
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    patterns = [
        f"{package.replace('.', '/')}/{pattern}"
        for package, line in setup["options.package_data"].items()
        for pattern in line.split(", ")
    ]
    for path in (REPOSITORY / "air").rglob("*"):
        if path.is_file() and path.suffix not in (".py", ".pyc", ".md"):
            name = path.relative_to(REPOSITORY)
            assert any(name.match(pattern) for pattern in patterns), name


def test_no_experiment_lacks_its_command():
    for path in (REPOSITORY / "conf" / "experiment").glob("*.yaml"):
        assert "command:  python scripts/train.py" in path.read_text(), path


# --- the tests themselves -------------------------------------------------------------------------

TESTS = {
    str(path.relative_to(REPOSITORY)): ast.parse(path.read_text(encoding="utf-8"))
    for path in (REPOSITORY / "tests").rglob("*.py")
}
PUBLIC = {"_exit", "_replace"}  # of `os` and of named tuples, by their documentation


def is_private(name):
    return name.startswith("_") and not name.endswith("_") and name not in PUBLIC


def test_no_test_module_imports_another():
    for path, tree in TESTS.items():
        shared = [name for name in imports(tree) if name.startswith("tests.") and ".test_" in name]
        assert not shared, f"{path} imports {shared}; what is shared belongs in tests/helpers"


def own_names(tree):
    """Yield the private names that a module or its classes define for themselves."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
    stored = [node for node in ast.walk(tree) if isinstance(getattr(node, "ctx", None), ast.Store)]
    for node in stored:
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self":
            yield node.attr


def private_names_used(tree):
    """Yield the private names of other modules that are imported, read or patched."""
    own = set(own_names(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = [*node.module.split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Attribute):
            names = [node.attr]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("setattr", "getattr", "delattr", "patch", "patch.object")
        ):
            given = [each.value for each in node.args if isinstance(each, ast.Constant)]
            names = [part for each in given if isinstance(each, str) for part in each.split(".")]
        else:
            continue
        yield from (name for name in names if is_private(name) and name not in own)


def test_no_test_uses_a_private_name():
    """What a module keeps to itself may change: tests hold what it promises to others."""
    used = {path: set(private_names_used(tree)) for path, tree in TESTS.items()}
    assert not {path: names for path, names in used.items() if names}
