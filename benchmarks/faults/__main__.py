"""``python -m benchmarks.faults``: does every fault to a small suite, lets it go on, and counts what it survived."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.faults.catalogue import BROKEN, Inject, Scene, kills
from benchmarks.faults.cluster import cluster_faults
from benchmarks.faults.runs import Workplace, target_models
from benchmarks.faults.same import differences
from resbench.console import complain, count, say

WHERE = ("machine", "cluster")


def main(
    where: Annotated[str, typer.Argument(help="machine, or cluster: worker, node and driver killed.")] = "machine",
    kill: Annotated[int, typer.Option("--kills", min=0, help="kill -9 at so many random moments.")] = 20,
    others: Annotated[bool, typer.Option(help="The other faults too: signals, a full disk, broken trials.")] = True,
    models: Annotated[int, typer.Option(min=1, max=3, help="Networks of the suite.")] = 2,
    epochs: Annotated[int, typer.Option(min=2, help="Each trains for so long.")] = 60,
    seed: Annotated[int, typer.Option(help="Of the random moments.")] = 0,
) -> None:
    """Kill, starve and break a small suite; exit code 1 where its records were not the same after it went on."""
    if where not in WHERE:
        complain(f"unknown {where!r}. Accepted: {', '.join(WHERE)}.", label="error")
        raise typer.Exit(2)
    if where == "cluster":
        with tempfile.TemporaryDirectory(prefix="resbench-faults-", ignore_cleanup_errors=True) as scratch:
            if not cluster_faults(Path(scratch), epochs=epochs):
                raise typer.Exit(1)
        return
    faults = [*kills(kill), *(BROKEN.items() if others else ())]
    with tempfile.TemporaryDirectory(prefix="resbench-faults-") as scratch:
        place = Workplace(Path(scratch), target_models(models), epochs)
        place.prepare()
        began = time.monotonic()
        clean = place.start(place.scratch / "clean")
        if clean.wait() != 0:
            complain(f"the undisturbed run failed:\n{clean.said()}", label="error")
            raise typer.Exit(2)
        clean_s = time.monotonic() - began
        say(f"undisturbed: {count(models, 'trial')} in {clean_s:.1f} s; seed {seed}")
        survived = 0
        for number, (name, inject) in enumerate(faults, start=1):
            scene = Scene(place, place.scratch / f"fault{number}", clean_s, random.Random(f"{seed} {number}"))
            survived += survives(scene, clean.out, f"[{number}/{len(faults)}] {name}", inject)
    say(f"{survived} of {count(len(faults), 'fault')} survived: after each the records equal the undisturbed run's.")
    if survived < len(faults):
        raise typer.Exit(1)


def survives(scene: Scene, clean: Path, title: str, inject: Inject) -> bool:
    """Does one fault, lets the run go on, and says what came of it."""
    inject(scene)
    after = scene.place.start(scene.out, "--retry-failed")
    code = after.wait()
    scene.expect(code == 0, f"going on ended with exit code {code}: {after.said()[-500:]}")
    if code == 0:
        scene.wrong += differences(clean, scene.out)
    say(f"{title}: {scene.happened}: {'the same records' if not scene.wrong else 'WRONG'}")
    for wrong in scene.wrong:
        complain(f"  {wrong}", label="failed")
    shutil.rmtree(scene.out, ignore_errors=True)
    return not scene.wrong


if __name__ == "__main__":
    typer.run(main)
