"""Opening the folder of a run."""

import pytest

from air.config.parsing import parse_config
from air.errors import CheckpointError, RunFolderError
from air.runs.folder import read_config, write_config
from air.runs.trained import open_run


def test_a_run_comes_with_its_model_its_configuration_and_its_prior(smoke_run):
    run = open_run(smoke_run)
    assert run.config == parse_config(read_config(smoke_run))
    assert run.iteration == run.config.train.num_iterations
    assert not run.air.training
    prior = run.config.prior.build(run.air.num_steps)(run.iteration)
    assert [run.z_pres_prior_p(t) for t in range(3)] == [prior(t) for t in range(3)]


def test_a_folder_without_a_run_or_a_checkpoint_is_refused(tmp_path, smoke_run):
    with pytest.raises(RunFolderError, match=r"^run: must be .* has no config\.yaml$"):
        open_run(tmp_path)
    write_config(tmp_path, read_config(smoke_run), [])
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        open_run(tmp_path)
