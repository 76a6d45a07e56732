"""Every experiment goes with every option of every group, or says in one line why it does not."""

import pytest
import yaml
from hydra import compose

from air.cli.compose import hydra_on_conf
from air.config.parsing import parse_config
from air.errors import ConfigError
from tests.helpers.options import CONF, GROUPS, composed, needs

CONTENTS = {path.stem: yaml.safe_load(path.read_text()) for path in CONF.glob("experiment/*.yaml")}
# The quickstart changes nothing: tests/config/test_config.py has every option with it.
EXPERIMENTS = sorted(CONTENTS.keys() - {"quickstart"})
# Of these only the data are their own; what they extend has been tried with all options.
EXTENDING = [
    name for name in EXPERIMENTS if CONTENTS.keys() & set(map(str, CONTENTS[name]["defaults"]))
]
OPTIONS = [
    (group, path.stem)
    for group in GROUPS
    if group != "experiment"
    for path in sorted((CONF / group).glob("*.yaml"))
]
WITHOUT_BASELINE = [
    option for group, option in OPTIONS if group == "inference" and option != "reinforce"
]
BASELINES = [option for group, option in OPTIONS if group == "baseline" and option != "none"]


def without_meaning(chosen, has_sigmoid):
    """Return the options that are no run beside an experiment's own choices, and why."""
    refused = {}
    sigmoid = "model.decoder_output_use_sigmoid: must be true with compositing=over"
    if chosen["compositing"] == "over":
        refused["model", "pixels"] = sigmoid
    elif not has_sigmoid:
        refused["compositing", "over"] = sigmoid
    if chosen["compositing"] == "sum":
        refused["likelihood", "bernoulli"] = "compositing: must be 'over' with likelihood=bernoulli"
    why = "baseline: must be 'none' with inference="
    if chosen["inference"] in WITHOUT_BASELINE:
        return refused | {("baseline", each): why for each in BASELINES}
    if chosen["baseline"] != "none":
        return refused | {("inference", each): why for each in WITHOUT_BASELINE}
    return refused


@pytest.fixture(scope="module")
def of_options():
    """What each option is beside the quickstart's, by group and option."""
    found = {}
    for group, option in OPTIONS:
        choice = f"{group}={option}"
        values = composed(choice, *needs(choice))
        found[group, option] = values["inference" if group == "baseline" else group]
    return found


def assembled(of_options, chosen, own):
    """Return the values of options and of an experiment, without Hydra, which takes far longer."""
    values = {key: own[key] for key in own if key not in GROUPS}
    for group in GROUPS:
        if group not in ("experiment", "baseline"):
            changed = CONTENTS[own["name"]].get(group, {})
            values[group] = {**of_options[group, chosen[group]], **changed}
    baseline = of_options["baseline", chosen["baseline"]]["baseline"]
    return {**values, "inference": {**values["inference"], "baseline": baseline}}


def test_an_experiment_goes_with_every_option_or_says_why_not(of_options):
    for experiment in sorted(set(EXPERIMENTS) - set(EXTENDING)):
        refused = {}
        words = [f"experiment={experiment}", *needs(f"experiment={experiment}")]
        with hydra_on_conf():
            chosen = compose("config", words, return_hydra_config=True).hydra.runtime.choices
        own = composed(*words)
        assert own == assembled(of_options, chosen, own) | {"tracking": own["tracking"]}
        for group, option in OPTIONS:
            try:
                parse_config(assembled(of_options, {**chosen, group: option}, own))
            except ConfigError as error:
                refused[group, option] = str(error)
        expected = without_meaning(chosen, own["model"]["decoder_output_use_sigmoid"])
        assert refused.keys() == expected.keys()
        for pair, line in refused.items():
            assert line.startswith(expected[pair])
            assert "\n" not in line


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_sets_only_what_all_options_of_a_group_have(experiment):
    """What one option alone has is a preset of that group, so that another choice replaces it."""
    assert CONTENTS[experiment].keys() <= {"defaults", "name", "model", "optim", "train"}


@pytest.mark.parametrize("experiment", EXTENDING)
def test_an_experiment_that_extends_another_changes_only_the_data_and_the_model(experiment):
    """What is the same for all images is found for all at once."""
    (base,) = CONTENTS.keys() & set(map(str, CONTENTS[experiment]["defaults"]))
    own, other = (
        composed(f"experiment={name}", *needs(f"experiment={name}")) for name in (experiment, base)
    )
    parse_config(own)
    changed = {key for key in own if own[key] != other[key]} - {"tracking"}  # named after it
    assert changed <= {"name", "data", "model"}
