"""The configuration: every option composes and builds; everything wrong is one clear line."""

import itertools
from dataclasses import replace

import pytest
import yaml

from air.cli.command import resumed_values
from air.config.parsing import parse_config
from air.errors import ConfigError
from air.fields import config_values
from air.model.baselines import NoBaseline
from tests.helpers.options import CONF, GROUPS, composed, needs


def options():
    for group in GROUPS:
        for path in sorted((CONF / group).glob("*.yaml")):
            yield f"{group}={path.stem}"


@pytest.mark.parametrize("option", list(options()))
def test_every_option_composes_and_builds(option):
    estimator = ["inference=reinforce"] if option.startswith("baseline=") else []
    config = parse_config(composed(*estimator, option, *needs(option)))
    fitted = replace(config, model=config.model.fitted(50, object_size=16.0, spread=0.4))
    air = fitted.build_model(50)
    config.build_objective()
    prior = config.prior.build(air.num_steps)(0)
    assert all(0 < prior(t) < 1 for t in range(air.num_steps))
    assert parse_config(config_values(config)) == config
    assert parse_config(yaml.safe_load(yaml.safe_dump(config_values(config)))) == config


@pytest.mark.parametrize(
    "choice",
    list(
        itertools.product(
            ["prior=constant", "prior=linear", "prior=exponential"],
            ["model.use_masking=true", "model.use_masking=false"],
            ["baseline=none", "baseline=neural", "baseline=moving_average"],
        )
    ),
)
def test_the_choices_of_a_sweep_go_together(choice):
    parse_config(composed("inference=reinforce", *choice)).build_model(50)


def test_every_field_can_be_set_by_name():
    values = composed()

    def leaves(node, prefix=""):
        for key, value in node.items():
            if isinstance(value, dict):
                yield from leaves(value, f"{prefix}{key}.")
            elif key != "kind":
                yield f"{prefix}{key}", value

    def text(value):
        if isinstance(value, bool):
            return str(value).lower()
        return "null" if value is None else value

    given = [f"{key}={text(value)}" for key, value in leaves(values)]
    assert parse_config(composed(*given)) == parse_config(values)


def test_baselines_reach_the_model():
    def baseline(*overrides):
        return parse_config(composed(*overrides)).build_model(50).guide.baseline

    assert type(baseline()) is NoBaseline
    reinforce = ("inference=reinforce",)
    neural = baseline(*reinforce, "baseline=neural", "inference.baseline.scalar=2.0")
    assert neural.scalar == 2.0
    average = baseline(*reinforce, "baseline=moving_average", "inference.baseline.decay=0.7")
    assert average.decay == 0.7


BAD = {
    "+model.nm_steps=3": r"model.nm_steps: no such key; did you mean model.num_steps\? allowed: ",
    "+prior.anneal_to=0.1 prior=constant": "prior.anneal_to: is not a key of the chosen prior.*"
    "; if an experiment sets it, ~prior.anneal_to leaves it out",
    "+extra.thing=1": "extra: no such key",
    "model.num_steps=0": "model.num_steps: must be greater than or equal to 1, got 0",
    "model.num_steps=2.5": "model.num_steps: must be a valid integer",
    "model.num_steps=many": "model.num_steps: must be a valid integer.* got 'many'",
    "model.window_size=51": "model.window_size: must be at most the image's 50 pixels, got 51",
    "model.likelihood_sd=0": "model.likelihood_sd: must be greater than 0, got 0",
    "model.likelihood_sd=nan": "model.likelihood_sd: must be a finite number, got nan",
    "likelihood=normal_learned model.likelihood_sd=0.01": "^model.likelihood_sd: must be .* above "
    "0.01, the least that is learned, got 0.01$",
    "likelihood.sd=2": "likelihood.sd: must be 'fixed', 'learned' or 'learned_per_channel', got 2",
    "likelihood=bernoulli": "^compositing: must be 'over' with likelihood=bernoulli",
    "compositing=over model.decoder_output_use_sigmoid=false": "^model.decoder_output_use_sigmoid:",
    "likelihood=bernoulli compositing=over likelihood.flip_probability=0.5": "^likelihood."
    "flip_probability: must be less than 0.5, got 0.5$",
    "model.scale_prior_mean=inf": "^model.scale_prior_mean: must be a finite .* or auto, got inf$",
    "model.scale_prior_mean=big": "^model.scale_prior_mean: must be .*, or auto, got 'big'$",
    "model.pos_prior_sd=0": "^model.pos_prior_sd: must be a finite number above 0, or auto, got 0$",
    "model.pos_prior_sd=null": "^model.pos_prior_sd: must be a finite .*, or auto, got None$",
    "model.pos_prior_mean=auto": "model.pos_prior_mean: must be a valid number.* got 'auto'",
    "model.use_masking=3": "model.use_masking: must be a valid boolean, got 3",
    "model.use_masking=false": "model.use_masking: must be true with inference=marginal",
    "model.non_linearity=Foo": "model.non_linearity: must be 'ReLU', .*, got 'Foo'",
    "model.embed_net=[]": r"model.embed_net: must not be empty, got \[\]",
    "model.embed_kernels=[3]": r"model.embed_kernels: must have one number for each of the 2 ",
    "model.embed_strides=[2,2,2]": r"model.embed_strides: must have .*, got \[2, 2, 2\]",
    "sleep.weight=0": "sleep.weight: must be greater than 0, got 0",
    "sleep.batch_size=0": "sleep.batch_size: must be greater than or equal to 1, got 0",
    "sleep.max_objects=0": "sleep.max_objects: must be greater than or equal to 1, got 0",
    "sleep.num_places=0": "sleep.num_places: must be greater than or equal to 1, got 0",
    "train.step=fast": "train.step: must be 'eager', 'recorded' or 'compiled', got 'fast'",
    "baseline=neural": "^baseline: must be 'none' with inference=marginal, got 'neural'$",
    "model.encoder_net=[10,0]": "model.encoder_net.1: must be greater than or equal to 1, got 0",
    "prior.success=0": "prior.success: must be greater than 0, got 0",
    "prior.success=1.0": "prior.success: must be less than 1, got 1.0",
    "prior.kind=foo": "prior.kind: must be 'constant', 'linear', 'exponential', got 'foo'",
    "train.batch_size=60001": "train.batch_size: must be at most the 60000 training images",
    "data.min_objects=3": "data.min_objects: must be at most data.max_objects=2, got 3",
    "data.held_out_counts=[0,1,2]": r"data.held_out_counts: must leave .* got \[0, 1, 2\]",
    "data.count_weights=[1,2]": r"data.count_weights: must be 3 numbers, .* got \[1\.0, 2\.0\]",
    "data.count_weights=[0,0,0]": r"data.count_weights: must leave .* got \[0\.0, 0\.0, 0\.0\]",
    "data.count_weights=[1,-1,0]": r"data.count_weights.1: must be greater than or equal to 0",
    "data.canvas_size=20": "data.canvas_size: must be at least 22 pixels.* got 20",
    "optim.lr=-1": "optim.lr: must be greater than 0, got -1",
    "seed=-1": "seed: must be greater than or equal to 0, got -1",
    "name=a/b": r"name: must match .*, got 'a/b'",
    "seed=true": "seed: must be a valid integer, got True",
    "device=tpu": "device: must be 'auto', 'cpu' or 'cuda', got 'tpu'",
    "tracking.mode=sometimes": "tracking.mode: must be 'auto', .*, got 'sometimes'",
    "tracking.tags=a": "tracking.tags: must be a list, got 'a'",
    "~model.num_steps": "model.num_steps: is required, but missing",
    "data=npz": "data.path: is required, but missing",
    "data=images data.path=x data.fit=fill": "data.fit: must be 'pad' or 'crop', got 'fill'",
    "data=images data.path=x data.size=8": "model.window_size: must be at most the image's 8",
}


@pytest.mark.parametrize("override", list(BAD))
def test_bad_values_have_their_own_messages(override):
    with pytest.raises(ConfigError, match=BAD[override]) as caught:
        parse_config(composed(*override.split()))
    assert "\n" not in str(caught.value)


def test_several_bad_values_are_all_named():
    with pytest.raises(ConfigError, match=r"model\.num_steps: .*; optim\.lr: "):
        parse_config(composed("model.num_steps=0", "optim.lr=0"))


def test_a_resumed_run_changes_single_fields_only():
    saved = config_values(parse_config(composed()))
    changed = resumed_values(saved, ["resume=x", "train.num_iterations=7", "optim.clip_norm=2.5"])
    assert changed["train"]["num_iterations"] == 7
    assert changed["optim"]["clip_norm"] == 2.5
    assert changed["model"] == saved["model"]
    for override in ("prior=linear", "experiment=paper"):
        with pytest.raises(ConfigError, match="keeps its own"):
            resumed_values(saved, [override])
    with pytest.raises(ConfigError, match=r"train\.foo: no such key"):
        resumed_values(saved, ["+train.foo=1"])


def test_a_resumed_run_keeps_texts_that_look_like_interpolations():
    saved = config_values(parse_config(composed()))
    saved["tracking"]["notes"] = "costs ${5}, and ${y"
    changed = resumed_values(saved, ["seed=3"])
    assert changed == {**saved, "seed": 3}
