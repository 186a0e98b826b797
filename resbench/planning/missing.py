"""Networks that a suite names and that are not there, since the code that was to register them is at fault.

Where all of the user's code could be imported, a name that is not known is a mistake and stops the suite; where some
could not, the others run on, and what is missing is told before, after, and by the exit code.
"""

from __future__ import annotations

from resbench.errors import InputError
from resbench.planning.arms import expand_models
from resbench.registry import faults
from resbench.suite import Suite


def leave_out_missing(suite: Suite) -> tuple[Suite, dict[str, str]]:
    """Returns a suite without the networks and arms whose code could not be imported.

    Args:
        suite: Its code has been imported.

    Returns:
        The suite, itself where nothing is missing; and why each name is left out.

    Raises:
        InputError: Nothing is left to run.
    """
    if not faults():
        return suite, {}
    missing = []
    for name in dict.fromkeys([*suite.models, *(arm.model for arm in suite.arms)]):
        try:
            expand_models([name])
        except InputError:
            missing.append(name)
    if not missing:
        return suite, {}
    models = [name for name in suite.models if name not in missing]
    arms = [arm for arm in suite.arms if arm.model not in missing]
    if not arms if suite.arms else not models:
        told = "; ".join(map(str, faults()))
        raise InputError(f"none of the suite's networks is there: {', '.join(missing)}. What went wrong: {told}")
    names = {arm.name for arm in arms} if suite.arms else {*expand_models(models)}
    source = suite.source and suite.source.model_copy(
        update={"claims": [claim for claim in suite.source.claims if claim.arm in names]}
    )
    compare = [pair for pair in suite.compare if {pair.arm, pair.against} <= names]
    changed = suite.model_copy(update={"models": models, "arms": arms, "source": source, "compare": compare})
    why = "nothing that could be imported registers it"
    return changed, dict.fromkeys(missing, why)
