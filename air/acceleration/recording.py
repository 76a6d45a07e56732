"""The gradient of one batch, recorded once and played back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyro
import torch
from torch import Tensor, nn

from air.acceleration.black_pixels import is_mostly_black, skip_black_pixels
from air.acceleration.compiling import compile_recording
from air.acceleration.simplifying import bind, simplify
from air.inference.objective import Objective
from air.model.air import AIR


class RecordedGradients:
    """Records the tensor operations of an eager gradient on the first batch, and plays them back.

    Which operations run depends on the shape of the batch only, so neither Pyro's handlers nor
    autograd need to work them out again: what is left of a step is arithmetic. Playing back draws
    the same random numbers and gives the same gradients: bit for bit or, compiled or where black
    pixels are skipped, but for rounding.

    Args:
        objective: what is differentiated.
        air: whose parameters get gradients.
        images: (N, x_size, x_size), some of those to come, of any type: on the CPU, products with
            pixels skip what is black if most of it is.
        compiled: whether a recording is compiled before it is played back.
    """

    def __init__(
        self, objective: Objective, air: AIR, images: Tensor | None = None, compiled: bool = False
    ) -> None:
        self.objective = objective
        self.air = air
        self.skips_black = (
            images is not None and air.device.type == "cpu" and is_mostly_black(images)
        )
        self.compiled = compiled
        self.parameters: list[nn.Parameter] = list(air.parameters())
        self._metric_names: list[str] = []
        self._recordings: dict[torch.Size, Callable[..., Any]] = {}

    def __call__(self, batch: Tensor, *settings: Tensor) -> dict[str, Tensor]:
        """Set the gradients of a batch; return the metrics."""
        gradients, metrics = self.play(batch, *settings)
        return self.hand_out(gradients, metrics)

    def hand_out(
        self, gradients: Sequence[Tensor | None], metrics: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """Give each parameter its gradient, and each metric its name."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        return dict(zip(self._metric_names, metrics, strict=True))

    def play(self, batch: Tensor, *settings: Tensor) -> tuple[list[Tensor | None], list[Tensor]]:
        """Return the gradient of every parameter, and the metrics in the order of their names."""
        recording = self._recordings.get(batch.shape)
        if recording is None:
            recording = self.record(batch, *settings)
            self._recordings[batch.shape] = recording
        with torch.no_grad():
            gradients, metrics = recording(self.parameters, batch, *settings)
        return gradients, metrics

    def record(self, batch: Tensor, *settings: Tensor) -> Callable[..., Any]:
        """Run once, leaving parameters and random state alone, and return what was run."""
        from torch._guards import TracingContext, tracing
        from torch._subclasses import FakeTensorMode
        from torch.fx.experimental.proxy_tensor import make_fx  # slow to import

        def program(
            parameters: list[Tensor], batch: Tensor, *settings: Tensor
        ) -> tuple[tuple[Tensor | None, ...], list[Tensor]]:
            # The recorder knows tensors by identity: the model's parameters are these very ones.
            estimate = self.objective(self.air, batch, *settings)
            found = torch.autograd.grad(estimate.loss, parameters, allow_unused=True)
            gradients = tuple(map(_laid_out_as, found, parameters))
            self._metric_names = list(estimate.metrics)
            return gradients, list(estimate.metrics.values())

        devices = [batch.device] if batch.device.type == "cuda" else []
        # What says how large each result is. Without one the recorder makes one for each result,
        # which is a quarter of its time.
        shapes = tracing(TracingContext(FakeTensorMode(allow_fallback_kernels=True)))
        # Validation asks for values, which a recording does not have.
        with torch.random.fork_rng(devices=devices), pyro.validation_enabled(False), shapes:
            recording = make_fx(program)(self.parameters, batch, *settings)
        recording.graph.eliminate_dead_code()
        if self.skips_black:
            skip_black_pixels(recording, batch_position=len(self.parameters))
        simplify(recording)  # which has pixels found once, however many products there are
        if self.compiled:
            return self._compile(recording, batch, *settings)
        _write_in_place(recording, self.parameters)
        bind(recording)
        recording.recompile()
        return recording

    def _compile(self, recording: Any, batch: Tensor, *settings: Tensor) -> Callable[..., Any]:
        step = compile_recording(recording, [*self.parameters, batch, *settings])

        def compiled(
            parameters: list[Tensor], batch: Tensor, *settings: Tensor
        ) -> tuple[list[Tensor | None], list[Tensor | None]]:
            results = step([*parameters, batch, *settings])
            return results[: len(parameters)], results[len(parameters) :]

        return compiled


def _laid_out_as(gradient: Tensor | None, parameter: Tensor) -> Tensor | None:
    """Return a gradient in the order of its parameter in memory, as `backward` leaves it.

    The fused Adam reads both from their beginnings to their ends, whatever their strides.
    """
    if gradient is None or gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def _write_in_place(recording: Any, parameters: list[nn.Parameter]) -> None:
    """Let the products that end in a gradient write into a tensor that every step uses again.

    Gradients of weights are a step's largest tensors, and new memory costs more than the product.
    """
    (output,) = recording.graph.find_nodes(op="output")
    gradients = output.args[0][: len(parameters)]  # before the metrics
    for position, (node, parameter) in enumerate(zip(gradients, parameters, strict=True)):
        if node is None or node.target is not torch.ops.aten.mm.default or len(node.users) > 1:
            continue
        name = f"gradient_{position}"
        recording.register_buffer(name, torch.empty_like(parameter, requires_grad=False))
        with recording.graph.inserting_before(node):
            node.update_kwarg("out", recording.graph.get_attr(name))
        node.target = torch.ops.aten.mm.out


class CudaGraphGradients:
    """A recording as one CUDA graph: a batch is one launch, and nothing waits for the host.

    The graph reads its batch from and leaves its gradients in tensors of its own.

    Args:
        recorded: of a model on a GPU; several graphs may share it.
    """

    def __init__(self, recorded: RecordedGradients) -> None:
        self.recorded = recorded
        self._graphs: dict[torch.Size, Any] = {}

    def __call__(self, batch: Tensor, *settings: Tensor) -> dict[str, Tensor]:
        """Set the gradients of a batch; return the metrics."""
        if batch.shape not in self._graphs:
            self._graphs[batch.shape] = self._capture(batch, *settings)
        graph, inputs, (gradients, metrics) = self._graphs[batch.shape]
        for held, given in zip(inputs, (batch, *settings), strict=True):
            held.copy_(given, non_blocking=True)
        graph.replay()
        return self.recorded.hand_out(gradients, [metric.clone() for metric in metrics])

    def _capture(self, *given: Tensor) -> Any:
        batch = given[0]
        inputs = [each.to(batch.device, copy=True) for each in given]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.random.fork_rng(devices=[batch.device]), torch.cuda.stream(side):
            for _ in range(3):  # libraries choose their kernels and workspaces before capture
                self.recorded.play(*inputs)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.random.fork_rng(devices=[batch.device]), torch.cuda.graph(graph):
            outputs = self.recorded.play(*inputs)
        return graph, inputs, outputs
