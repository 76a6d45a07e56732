"""Arguments as a shell user means them: what is read literally, and what is refused in one line."""

import random

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from air.cli.arguments import hydra_arguments
from air.cli.overrides import readable_overrides
from air.comparison.config import CompareConfig
from air.config.quoting import literal_override
from air.config.schema import Config
from air.errors import ConfigError
from air.evaluation.config import EvaluateConfig
from tests.helpers.in_process import run_script


def read(word, schema=Config, multirun=False):
    """Return the value, or the values of a sweep's jobs, that Hydra reads in the end."""
    (readable,) = readable_overrides([word], schema, multirun)
    assert readable_overrides([readable], schema, multirun) == [readable]
    parsed = OverridesParser.create().parse_override(readable)
    if not parsed.is_sweep_override():
        return OmegaConf.create([parsed.value()])[0]
    return [str(value).strip("'") for value in parsed.sweep_string_iterator()]


ODD = ("a=b.npz", "scan[1].npz", "my (2).npz", "[x].npz", "{a}", "a,b.npz", "it's #1; é!.npz")
ODD += ("null", "[x]", "12", "1e3", "true", "a${b.npz", "range(3)", "choice(a,b)", "a:b\\c", "-x")


@pytest.mark.parametrize("name", ODD)
def test_a_path_is_what_was_typed(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read(f"data.path={name}") == f"{tmp_path}/{name}"
    for key in ("hydra.run.dir", "hydra.sweep.dir", "data.root"):
        assert read(f"{key}={name}") == name
    assert read(f"run={name}", EvaluateConfig) == name
    assert read(f"++data.path={name}", EvaluateConfig) == f"{tmp_path}/{name}"


def test_the_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for key in ("data.path", "data.test_path", "resume", "hydra.run.dir", "hydra.sweep.dir"):
        assert read(f"{key}=~/x y") == f"{tmp_path}/x y"
    assert read("output=~/x", EvaluateConfig) == f"{tmp_path}/x"
    assert read("runs=[~/a=b,c]", CompareConfig) == [f"{tmp_path}/a=b", "c"]
    assert read("runs=~/a", CompareConfig) == f"{tmp_path}/a"
    assert read("data.root=~/x") == "~/x"  # which is another folder on another machine


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("resume=null", None),
        ("data.test_path=null", None),
        ("tracking.run_name=7", "7"),
        ("tracking.notes=first, second", "first, second"),
        ("tracking.tags=[a=b,c d,1]", ["a=b", "c d", "1"]),
        ("data.path='/a,b.npz'", "/a,b.npz"),
        ('data.path="/a b"', "/a b"),
        ("model.num_steps=3", 3),
        ("model.num_steps=3)", "3)"),  # for the schema to refuse
        ("model.encoder_net=[10,", "[10,"),
        ("model.encoder_net=[10,20]", [10, 20]),
        ("optim.clip_norm=null", None),
        ("seed=", ""),
    ],
)
def test_other_values(word, value):
    assert read(word) == value


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("data.path=/a=1.npz,/b (2).npz", ["/a=1.npz", "/b (2).npz"]),
        ("data.path=/scan[1,2].npz,'/b,c.npz'", ["/scan[1,2].npz", "/b,c.npz"]),
        ("data.path=/a[1,/b", ["/a[1", "/b"]),
        ("data.path=choice(/a,/b)", ["/a", "/b"]),
        ("name=1,2", ["1", "2"]),
        ("seed=1,2)", ["1", "2)"]),
        ("seed=range(3)", ["0", "1", "2"]),
        ("tracking.tags=[1,a],[b=c]", ["['1',a]", "['b=c']"]),
        ("hydra.sweep.dir=a,b", "a,b"),  # no sweep of its own
    ],
)
def test_commas_part_the_values_of_a_sweep(word, values):
    assert read(word, multirun=True) == values


def test_an_interpolation_is_left_to_be_resolved():
    for word in ("data.path=${data.root}/x.npz", "resume=${oc.env:HOME}/run"):
        assert readable_overrides([word]) == [word]
    (readable,) = readable_overrides(["data.path=${oc.env:HOME}/my (2).npz"])
    assert readable == "data.path='${oc.env:HOME}/my (2).npz'"


def test_what_is_printed_is_read_back_whatever_the_name():
    parser, chance = OverridesParser.create(), random.Random(0)
    names = ["".join(chance.choices("ab1_ .,=[](){}'\"\\$~-/:+é", k=k % 6 + 1)) for k in range(500)]
    for name in [*names, "null", "true", "1e3", "nan", "12", "a${b}", "\\${"]:
        value = parser.parse_override(literal_override("resume", name)).value()
        assert OmegaConf.create([value])[0] == name
    assert literal_override("resume", "outputs/runs/a-1") == "resume=outputs/runs/a-1"


BAD = {
    "--experiment smoke": "--experiment: is not an option of this command; write experiment=smoke",
    "--experiment=smoke": "--experiment: is not an option of this command; write experiment=smoke",
    "--model.num_steps=3": "--model.num_steps: is not an option of .*; write model.num_steps=3",
    "-seed 3": "-seed: is not an option of this command; write seed=3",
    "--seed -1": "--seed: is not an option of this command; write seed=-1",
    "--conf job": "--conf: is not an option of this command; did you mean --config-path?",
    "--config-dir --help": "--config-dir: must be followed by a value, got none",
    "tracking.tags=a,b": r"tracking.tags=a,b: has .*; .* write 'tracking.tags=\[a,b\]' for a list",
    "--num-iterations 5": "--num-iterations: .*; write train.num_iterations=5",
    "--mutlirun seed=1": r"--mutlirun: .*; did you mean --multirun\?",
    "--dry-run": "--dry-run: .*; values are given as KEY=VALUE, and the options are --help, --cfg",
    "-x": "-x: is not an option of this command; values are given as KEY=VALUE",
    "--multirun=3": "--multirun: takes no value, got 3",
    "--cfg": "--cfg: must be followed by job, hydra, all, got none",
    "--cfg run": "--cfg: must be followed by job, hydra, all, got run",
    "--package": "--package: must be followed by a value, got none",
    "--cfg job -m": "--cfg: cannot be given together with --multirun",
    "--resolve": "--resolve: must be given together with --cfg, such as --cfg job",
    "smoke": "smoke: is not KEY=VALUE; write experiment=smoke",
    "reinforce": "reinforce: is not KEY=VALUE; write inference=reinforce",
    "model.num_steps 3": "model.num_steps: is not KEY=VALUE; write model.num_steps=3",
    "seed": "seed: is not KEY=VALUE; write seed=VALUE",
    "and so on": "and: is not KEY=VALUE; write KEY=VALUE",
    "model..x=3": "model..x=3: must be KEY=VALUE, with names joined by dots as KEY",
    "=3": "=3: must be KEY=VALUE",
    "a b=3": "a: is not KEY=VALUE",
    "seed=1,2": r"seed=1,2: has several values; add -m \(--multirun\) to run each of them$",
    "seed=range(3)": r"seed=range\(3\): has several values; add -m",
    "model.encoder_net=10,20": r".*, or write 'model.encoder_net=\[10,20\]' for a list",
    "hydra.verbose=a,b": r"hydra.verbose=a,b: has .*; write 'hydra.verbose=\[a,b\]' for a list",
}


@pytest.mark.parametrize("words", list(BAD))
def test_what_is_no_argument_is_one_line_with_the_right_form(words):
    with pytest.raises(ConfigError, match=f"^{BAD[words]}") as caught:
        hydra_arguments(words.split())
    assert "\n" not in str(caught.value)


def test_options_may_stand_anywhere():
    given = hydra_arguments(["seed=1,2", "-m", "prior=linear", "-cn=config"])
    assert given == ["-m", "--config-name=config", "seed=1,2", "prior=linear"]
    assert hydra_arguments(["-c", "job", "seed=1", "--info"][:3]) == ["--cfg=job", "seed=1"]
    assert hydra_arguments(["--info", "seed=1"]) == ["--info=all", "seed=1"]


@pytest.mark.parametrize(
    "name", ["compare", "dashboard", "demo", "evaluate", "make_scenes", "sample", "visualize"]
)
def test_every_command_refuses_an_option_in_one_line(name):
    for words, line in (
        (("--experiment", "smoke"), "error: --experiment: is not an option of this command; "),
        (("smoke=a=b",), "error: smoke: no such key"),
    ):
        result = run_script(name, *words)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.startswith(line)
        assert len(result.stderr.splitlines()) == 1
    if name in ("demo", "evaluate", "sample", "visualize"):
        result = run_script(name, "--run", "my run")
        assert result.stderr == "error: --run: takes no value; write 'run=my run'\n"


def test_the_benchmark_has_options_of_its_own():
    for words, line in (
        (("--experiment", "smoke"), "--experiment: is not an option of this command; write exp"),
        (("--round", "3"), "--round: is not an option of this command; did you mean --rounds?"),
        (("smoke",), "what: must be among steps, "),
        (("steps", "model.num_steps=3)"), "model.num_steps: must be a valid integer, got '3)'"),
    ):
        result = run_script("benchmark", *words)
        assert (result.returncode, result.stdout) == (1, "")
        assert len(result.stderr.splitlines()) == 1
        assert result.stderr.startswith(f"error: {line}")


def test_scenes_that_are_not_drawn_cannot_be_made():
    result = run_script("make_scenes", "out=x", "data=npz")
    kinds = "'multi_mnist', 'multi_mnist_full', 'multi_fashion', 'omniglot', 'sprites'"
    expected = f"error: data.kind: must be {kinds}, got 'npz'\n"
    assert (result.returncode, result.stderr) == (1, expected)


def test_the_sweeper_gets_its_own_parameters_as_they_were_typed():
    for typed, given in (("1,2", "'1,2'"), ('"1,2"', '"1,2"'), ("choice(1,2)", "'choice(1,2)'")):
        (readable,) = readable_overrides([f"hydra.sweeper.params.seed={typed}"], Config, True)
        assert readable == f"hydra.sweeper.params.seed={given}"
