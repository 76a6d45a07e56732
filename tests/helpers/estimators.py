"""One of each estimator, by the name of its preset."""

from air.inference.dreg import DoublyReparameterizedELBO
from air.inference.iwae import ImportanceWeightedELBO
from air.inference.marginal import MarginalELBO
from air.inference.mvd import MeasureValuedELBO
from air.inference.rebar import RebarELBO
from air.inference.reinforce import ReinforceELBO
from air.inference.relaxed import RelaxedELBO
from air.inference.rws import ReweightedWakeSleep
from air.inference.vimco import VIMCO

ESTIMATORS = {
    "marginal": MarginalELBO,
    "reinforce": ReinforceELBO,
    "iwae": lambda: ImportanceWeightedELBO(2),
    "dreg": lambda: DoublyReparameterizedELBO(2),
    "vimco": lambda: VIMCO(2),
    "rws": lambda: ReweightedWakeSleep(2, wake_share=0.5),
    "relaxed": lambda: RelaxedELBO(0.5),
    "rebar": lambda: RebarELBO(0.5),
    "mvd": MeasureValuedELBO,
}
# Those of the ELBO that draw the count and claim to have no bias.
UNBIASED = ("reinforce", "rebar", "mvd")
