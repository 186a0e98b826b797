"""Every check, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from resbench.audit import arithmetic, building, capturing, learning, modes, outputs, parameters, states
from resbench.audit.case import Case
from resbench.audit.findings import Outcome, failed
from resbench.audit.places import describe

BUILDS, FORWARD, TRAINS = "builds", "logits", "training output"


@dataclass(frozen=True)
class Check:
    """One check."""

    name: str
    theme: str
    run: Callable[[Case], Outcome]
    needs: tuple[str, ...] = (BUILDS, FORWARD, TRAINS)
    """Checks without which this one says nothing: where one of them failed it is skipped."""

    @property
    def proves(self) -> str:
        """What a pass means: the first sentences of the function's docstring."""
        return " ".join((self.run.__doc__ or "").split())


CHECKS = (
    Check(BUILDS, "builder", building.builds, ()),
    Check("initial weights", "builder", building.weights, (BUILDS,)),
    Check(FORWARD, "output", outputs.logits, (BUILDS,)),
    Check(TRAINS, "output", outputs.train_output, (BUILDS, FORWARD)),
    Check("number of classes", "builder", building.other_classes, (BUILDS, FORWARD)),
    Check("channels", "builder", building.channels, (BUILDS, FORWARD)),
    Check("stems", "builder", building.stems, (BUILDS, FORWARD)),
    Check("input size", "builder", building.other_size, (BUILDS, FORWARD)),
    Check("batch of one", "output", outputs.batch_of_one),
    Check("input untouched", "output", outputs.input_untouched),
    Check("tells images apart", "output", outputs.tells_apart),
    Check("gradients", "parameters", parameters.gradients),
    Check("unused parameters", "parameters", parameters.unused_parameters),
    Check("unused modules", "parameters", parameters.unused_modules),
    Check("frozen and trained", "parameters", parameters.frozen),
    Check("shared parameters", "parameters", parameters.shared),
    Check("registered", "parameters", parameters.registered),
    Check("modes reach all", "modes", modes.modes_reach, (BUILDS,)),
    Check("eval repeats", "modes", modes.eval_repeats),
    Check("neighbours", "modes", modes.neighbours),
    Check("training changes", "modes", modes.train_changes),
    Check("random layers", "modes", modes.train_repeats),
    Check("train against eval", "modes", modes.mode_difference),
    Check("seeds", "state", states.seeds, (BUILDS,)),
    Check("first loss", "state", states.first_loss),
    Check("same steps", "state", states.step_repeats),
    Check("state dict", "state", states.state_dict),
    Check("deep copy", "state", states.deep_copy),
    Check("memory", "state", states.memory),
    Check("FLOPs counters", "arithmetic", arithmetic.flops),
    Check("backward FLOPs", "arithmetic", arithmetic.backward_flops),
    Check("channels_last", "arithmetic", arithmetic.channels_last),
    Check("bf16", "arithmetic", arithmetic.bf16),
    Check("no waiting", "speed", capturing.no_waiting),
    Check("graph breaks", "speed", capturing.graph_breaks),
    Check("recompilation", "speed", capturing.recompilation),
    Check("compiled", "speed", capturing.compiled),
    Check("CUDA graph", "speed", capturing.cuda_graph),
    Check("on the device", "training", learning.on_device),
    Check("learns", "training", learning.learns),
)
"""The cheap and the decisive first."""

THEMES = tuple(dict.fromkeys(check.theme for check in CHECKS))


def run_check(check: Check, case: Case) -> Outcome:
    """Runs a check. One that raises has failed, and the finding says what was raised and where in the network."""
    try:
        return check.run(case)
    except Exception as error:  # a network can fail in as many ways as networks can be written
        return failed(describe(error))
