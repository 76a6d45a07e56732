"""The gradient of one batch: by Pyro's handlers each time, or recorded once and played back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pyro
import torch
from torch import Tensor, nn

from air.acceleration.compiling import compile_recording
from air.acceleration.simplifying import bind, simplify
from air.inference.objective import Objective
from air.model.air import AIR

log = logging.getLogger(__name__)

# (batch, trial probabilities (num_steps,)) -> the objective's parts, summed over images; every
# parameter's `grad` is set on the way.
Gradients = Callable[[Tensor, Tensor], dict[str, Tensor]]


class HandlerGradients:
    """Runs model and guide under Pyro's handlers and differentiates, for every batch anew.

    Args:
        objective: what is differentiated.
        model: whose parameters get gradients.
    """

    def __init__(self, objective: Objective, model: AIR) -> None:
        self.objective = objective
        self.model = model

    def __call__(self, batch: Tensor, trial_probabilities: Tensor) -> dict[str, Tensor]:
        """Set the gradients of a batch (N, x_size, x_size); return the parts."""
        self.model.zero_grad(set_to_none=True)
        loss, parts = self.objective(self.model, batch, trial_probabilities)
        loss.backward()
        return parts


class RecordedGradients:
    """Records the tensor operations of `HandlerGradients` on the first batch, and plays them back.

    Which operations run depends on the shape of the batch only, so neither Pyro's handlers nor
    autograd need to work them out again: what is left of a step is arithmetic. Playing back draws
    the same random numbers and gives the same gradients: bit for bit, or, compiled, but for
    rounding.

    Args:
        objective: what is differentiated.
        model: whose parameters get gradients.
        compiled: whether a recording is compiled before it is played back.
    """

    def __init__(self, objective: Objective, model: AIR, compiled: bool = False) -> None:
        self.objective = objective
        self.model = model
        self.compiled = compiled
        self.parameters: list[nn.Parameter] = list(model.parameters())
        self._recordings: dict[torch.Size, Callable[..., Any]] = {}

    def __call__(self, batch: Tensor, trial_probabilities: Tensor) -> dict[str, Tensor]:
        """Set the gradients of a batch (N, x_size, x_size); return the parts."""
        gradients, parts = self.play(batch, trial_probabilities)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        return dict(zip(self.objective.part_names, parts, strict=True))

    def play(
        self, batch: Tensor, trial_probabilities: Tensor
    ) -> tuple[list[Tensor | None], list[Tensor]]:
        """Return the gradient of every parameter, and the parts in the order of their names."""
        recording = self._recordings.get(batch.shape)
        if recording is None:
            recording = self.record(batch, trial_probabilities)
            self._recordings[batch.shape] = recording
        with torch.no_grad():
            gradients, parts = recording(self.parameters, batch, trial_probabilities)
        return gradients, parts

    def record(self, batch: Tensor, trial_probabilities: Tensor) -> Callable[..., Any]:
        """Run once, leaving parameters and random state alone, and return what was run."""
        from torch.fx.experimental.proxy_tensor import make_fx  # slow to import

        def program(
            parameters: list[Tensor], batch: Tensor, trial_probabilities: Tensor
        ) -> tuple[tuple[Tensor | None, ...], list[Tensor]]:
            # The recorder knows tensors by identity: the model's parameters are these very ones.
            loss, parts = self.objective(self.model, batch, trial_probabilities)
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            return gradients, [parts[name] for name in self.objective.part_names]

        devices = [batch.device] if batch.device.type == "cuda" else []
        # Validation asks for values, which a recording does not have.
        with torch.random.fork_rng(devices=devices), pyro.validation_enabled(False):
            recording = make_fx(program)(self.parameters, batch, trial_probabilities)
        recording.graph.eliminate_dead_code()
        simplify(recording)
        if self.compiled:
            return compile_recording(recording)
        _write_in_place(recording, self.parameters)
        bind(recording)
        recording.recompile()
        return recording


def _write_in_place(recording: Any, parameters: list[nn.Parameter]) -> None:
    """Let the products that end in a gradient write into a tensor that every step uses again.

    Gradients of weights are a step's largest tensors, and new memory costs more than the product.
    """
    (output,) = recording.graph.find_nodes(op="output")
    gradients = output.args[0][: len(parameters)]  # before the parts
    for position, (node, parameter) in enumerate(zip(gradients, parameters, strict=True)):
        if node is None or node.target is not torch.ops.aten.mm.default or len(node.users) > 1:
            continue
        name = f"gradient_{position}"
        recording.register_buffer(name, torch.empty_like(parameter, requires_grad=False))
        with recording.graph.inserting_before(node):
            node.update_kwarg("out", recording.graph.get_attr(name))
        node.target = torch.ops.aten.mm.out


class CudaGraphGradients(RecordedGradients):
    """`RecordedGradients` as one CUDA graph: a batch is one launch, and nothing waits for the host.

    The graph reads its batch from and leaves its gradients in tensors of its own.
    """

    def __init__(self, objective: Objective, model: AIR) -> None:
        super().__init__(objective, model)
        self._graphs: dict[torch.Size, Any] = {}

    def __call__(self, batch: Tensor, trial_probabilities: Tensor) -> dict[str, Tensor]:
        """Set the gradients of a batch (N, x_size, x_size); return the parts."""
        if batch.shape not in self._graphs:
            self._graphs[batch.shape] = self._capture(batch, trial_probabilities)
        graph, inputs, (gradients, parts) = self._graphs[batch.shape]
        inputs[0].copy_(batch, non_blocking=True)
        inputs[1].copy_(trial_probabilities, non_blocking=True)
        graph.replay()
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        names = self.objective.part_names
        return {name: part.clone() for name, part in zip(names, parts, strict=True)}

    def _capture(self, batch: Tensor, trial_probabilities: Tensor) -> Any:
        inputs = batch.clone(), trial_probabilities.to(batch.device, copy=True)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.random.fork_rng(devices=[batch.device]), torch.cuda.stream(side):
            for _ in range(3):  # libraries choose their kernels and workspaces before capture
                self.play(*inputs)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.random.fork_rng(devices=[batch.device]), torch.cuda.graph(graph):
            outputs = self.play(*inputs)
        return graph, inputs, outputs


def build_gradients(
    objective: Objective,
    model: AIR,
    device: torch.device,
    recorded: bool,
    compiled: bool = False,
) -> Gradients:
    """Return how the gradient of a batch is computed.

    Args:
        objective: what is differentiated.
        model: on its device.
        device: on a GPU a recording becomes a CUDA graph.
        recorded: record the first batch and play it back, or run Pyro's handlers every time.
        compiled: compile the recording.

    Raises:
        ValueError: nothing is recorded that could be compiled, or it becomes a CUDA graph.
    """
    if recorded and model.baseline_decay is not None:
        # Pyro keeps the average in its parameter store, where no recording can follow it.
        log.info("a decaying-average baseline is not recorded: Pyro's handlers run at every step")
        recorded = False
    if compiled and (not recorded or device.type == "cuda"):
        raise ValueError("compiled must be False where nothing is recorded, and on a GPU")
    if not recorded:
        return HandlerGradients(objective, model)
    if device.type == "cuda":
        return CudaGraphGradients(objective, model)
    return RecordedGradients(objective, model, compiled)
