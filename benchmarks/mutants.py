"""``python -m benchmarks.mutants``: plants small bugs one at a time and says which of them the tests notice.

A bug is a text of a file and what takes its place, with the tests that have to fail then. It is planted in a copy in a
temporary folder, never in the checkout, so an interruption leaves nothing behind. First all named tests run on the
unchanged copy. The list is not exhaustive: it holds bugs that once went unnoticed and their likes, in what measures.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("resbench", "benchmarks", "tests", "pyproject.toml")
"""What tests need of a checkout."""
TIMEOUT_S = 300
"""A mutant whose tests take longer hangs, which is noticed too."""


@dataclass(frozen=True)
class Mutant:
    """A planted bug."""

    name: str
    file: str
    """Below ``resbench/``."""
    old: str
    """Occurs exactly once in the file."""
    new: str
    tests: tuple[str, ...]
    """pytest's ids below ``tests/``; one of them must fail."""


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant."""

    mutant: Mutant
    verdict: str
    """``killed``, ``survived``, ``stale`` (the old text does not occur exactly once) or ``broken`` (no test ran)."""
    detail: str = ""


def is_stale(mutant: Mutant, root: Path = ROOT) -> bool:
    """Returns whether the mutant's old text does not occur exactly once in its file."""
    path = root / "resbench" / mutant.file
    return not path.is_file() or path.read_text(encoding="utf-8").count(mutant.old) != 1


def run_tests(tree: Path, tests: Sequence[str], *, timeout_s: float | None = TIMEOUT_S) -> tuple[int | None, str]:
    """Runs tests of a copy until one fails.

    Returns:
        pytest's exit code, None if it took longer than ``timeout_s``; and the first failed test, or the last line.
    """
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        *(f"tests/{test}" for test in tests),
    ]
    # No test here needs a plugin, and to import them takes a fifth of the time.
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    try:
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return None, f"no end within {timeout_s} s"
    failed = re.search(r"^(?:FAILED|ERROR) tests/(.+?)(?: - .*)?$", done.stdout, flags=re.MULTILINE)
    return done.returncode, failed[1] if failed else (done.stdout + done.stderr).strip().rpartition("\n")[2]


def try_mutant(tree: Path, mutant: Mutant) -> Outcome:
    """Plants a bug in a copy, runs its tests, and takes it out again."""
    path = tree / "resbench" / mutant.file
    before, times = path.read_bytes(), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    path.write_text(before.decode().replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        code, said = run_tests(tree, mutant.tests)
    finally:
        path.write_bytes(before)
        os.utime(path, ns=times)  # so that compiled code of the unchanged file is still that of this one
    verdict = {None: "killed", 0: "survived", 1: "killed"}.get(code, "broken")
    return Outcome(mutant, verdict, "" if verdict == "survived" else said)


def try_mutants(mutants: Sequence[Mutant], *, root: Path = ROOT, jobs: int = 2) -> Iterator[Outcome]:
    """Yields what becomes of each mutant, in their order.

    Args:
        mutants: Which.
        root: The checkout; not touched.
        jobs: How many at a time, each in a copy of its own.

    Raises:
        RuntimeError: A named test does not pass on the unchanged code.
    """
    fresh = [mutant for mutant in mutants if not is_stale(mutant, root)]
    with tempfile.TemporaryDirectory(prefix="resbench-mutants-") as scratch:
        trees = [Path(scratch) / str(number) for number in range(jobs)]
        for name in COPIED:
            if (root / name).is_dir():
                shutil.copytree(root / name, trees[0] / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif (root / name).is_file():
                trees[0].mkdir(exist_ok=True)
                shutil.copy2(root / name, trees[0] / name)
        if fresh:
            code, said = run_tests(trees[0], [*dict.fromkeys(t for m in fresh for t in m.tests)], timeout_s=None)
            if code != 0:
                raise RuntimeError(f"the tests do not pass on the unchanged code: {said}")
        for tree in trees[1:]:
            shutil.copytree(trees[0], tree)
        free: SimpleQueue[Path] = SimpleQueue()
        for tree in trees:
            free.put(tree)

        def judge(mutant: Mutant) -> Outcome:
            if mutant not in fresh:
                return Outcome(mutant, "stale", f"the old text is not in {mutant.file} exactly once")
            tree = free.get()
            try:
                return try_mutant(tree, mutant)
            finally:
                free.put(tree)

        pool = ThreadPoolExecutor(jobs)
        try:
            yield from pool.map(judge, mutants)
        finally:
            pool.shutdown(cancel_futures=True)


def main(
    only: Annotated[str, typer.Option(help="Those with this text in their name or file. Default: all.")] = "",
    jobs: Annotated[int, typer.Option(min=1, help="How many at a time.")] = 2,
) -> None:
    """Plants each bug and runs its tests; exit code 1 if one survives, is stale, or tests fail without any."""
    chosen = [mutant for mutant in MUTANTS if only in mutant.name or only in mutant.file]
    if not chosen:
        typer.echo(f"no mutant has {only!r} in its name or file.", err=True)
        raise typer.Exit(2)
    killed = 0
    try:
        for outcome in try_mutants(chosen, root=ROOT, jobs=jobs):
            typer.echo(f"{outcome.verdict:8} {outcome.mutant.file}: {outcome.mutant.name}  [{outcome.detail}]")
            killed += outcome.verdict == "killed"
    except RuntimeError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{killed} of {len(chosen)} mutants killed: {killed / len(chosen):.0%}")
    if killed < len(chosen):
        raise typer.Exit(1)


def _in(file: str, *bugs: tuple[str, str, str, str]) -> list[Mutant]:
    """Bugs of one file: name, old text, new text, tests."""
    return [Mutant(name, file, old, new, tuple(tests.split())) for name, old, new, tests in bugs]


# What kills more than one of them.
LOWERING = "training/test_lowering.py"
PRECISION = "planning/test_precision_choice.py"
PROFILE = "measure/test_profile.py::TestProfile::test_every_figure_is_that_of_its_instrument"
LATENCY = "measure/test_latency.py::TestMeasureLatency"
MEMORY = "measure/test_memory.py::test_each_pass_has_a_window_of_its_own_and_is_counted_from_the_level"
COUNTS = "measure/test_flops.py::test_every_count_of_a_small_network_equals_its_closed_form"
TRIAL = "test_trial.py::test_every_figure_of_a_training_that_is_known_beforehand"
SEEDED = "test_trial_engine.py::TestRestart"
LOOP, ENGINE = "training/test_loop.py", "training/test_engine.py"
ORDER, CROPS = "data/test_pipeline.py::TestOrder", "data/test_augment.py::TestGatherCrops"
ARMS = "planning/test_arms.py::test_images_of_mixed_sizes_are_decoded_as_large_as_the_largest_that_an_arm_crops_from"
CNN = "models/test_model_reference.py::test_cnn_equals_its_formula"
CALIBRATION = "test_run.py::test_nothing_runs_where_an_instrument_misreads_what_is_known"
AGAIN = "test_noise.py::test_all_that_a_trial_measured_is_measured_again"
GOLDEN = "compare/test_compare_golden.py::test_golden"
FAILED = "compare/test_compare_cells.py::test_what_a_trial_measured_before_it_failed_is_compared_with_nothing"
MEANS = "stats/test_stats_cells.py::test_seeds_that_differ_in_anything_else_are_no_mean"
GROUPS = "stats/test_stats_cells.py::test_models_that_were_measured_otherwise_share_no_table"
WELCH = "stats/test_stats_differences.py::test_welch_tests_agree_with_scipy"
HOLM = "stats/test_stats_differences.py::test_holm_of_a_worked_example"
PAIRS = "stats/test_stats_pairwise.py::test_a_row_a_pair_the_better_first"
TABLE = "report/test_report_tables.py::test_of_each_figure_the_right_end_is_the_best"
LEDGER = "report/test_report_tables.py::test_the_ledger_has_every_part_and_its_mean_over_what_ended_well"
HEADINGS = "report/test_report_profiles.py::test_every_figure_stands_below_its_own_heading"
TELEMETRY = "measure/test_telemetry.py::test_a_window_shorter_than_the_period_is_sampled_at_both_ends"

# fmt: off
MUTANTS = (
    *_in(
        "measure/profile.py",
        ("p90 of latency is p50", "latency.single.ms(0.9)", "latency.single.ms()", PROFILE),
        ("p90 of inference is p50", "latency.inference.ms(0.9)", "latency.inference.ms()", PROFILE),
        ("latency is a batch's", "p50=latency.single.ms()", "p50=latency.inference.ms()", PROFILE),
        ("forward is backward", "forward_ms=latency.forward.ms()", "forward_ms=latency.backward.ms()", PROFILE),
        ("backward is forward", "backward_ms=latency.backward.ms()", "backward_ms=latency.forward.ms()", PROFILE),
        ("training memory is inference's", "=memory.training_allocated_mib", "=memory.inference_mib", PROFILE),
        ("inference memory is training's", "=memory.inference_mib", "=memory.training_allocated_mib", PROFILE),
        ("reserved is allocated", "=memory.training_reserved_mib", "=memory.training_allocated_mib", PROFILE),
        ("parameters without frozen ones", " params=complexity.params", " params=complexity.trainable_params",
         PROFILE),
        ("frozen parameters are trained", "=complexity.trainable_params", "=complexity.params", PROFILE),
        ("passes of the whole batch", "batch_size=subject.pass_size", "batch_size=subject.batch_size", PROFILE),
        ("inference of the whole batch", "per_second(subject.pass_size)", "per_second(subject.batch_size)", PROFILE),
        ("a step is of one pass", "per_second(subject.batch_size)", "per_second(subject.pass_size)", PROFILE),
    ),
    *_in(
        "measure/latency.py",
        ("the median is the mean", "float(np.quantile(self.seconds, quantile))", "float(np.mean(self.seconds))",
         PROFILE),
        ("halves exchanged", "    return forward, backward\n", "    return backward, forward\n", LATENCY),
        ("warm-up counts", "measured = halves[WARM_UP_CALLS:]", "measured = halves", LATENCY),
        ("one image is a batch", "return images[:1].clone(", "return images.clone(", LATENCY),
        ("inference in train mode", "    engine.model.eval()\n", "", LATENCY),
        ("no warm-up", "for _ in range(WARM_UP_CALLS)", "for _ in range(0)",
         "measure/test_latency.py::TestTimeCalls::test_number_of_calls"),
    ),
    *_in(
        "measure/memory.py",
        ("training is counted from nothing", "training_allocated_mib=training.allocated_mib - level_mib",
         "training_allocated_mib=training.allocated_mib", MEMORY),
        ("one step, before there is momentum", "for _ in range(2):", "for _ in range(1):", MEMORY),
    ),
    *_in(
        "training/lowering.py",
        ("a product of all taps, a pixel each", "if 1 < pixels <= 4 and images >= 64:", "if False:", LOWERING),
        ("each kernel tap of a pixel is its neighbour's", "slice(begin - first, end - first)", "slice(0, end - begin)",
         LOWERING),
        ("gradients of shared inputs replace each other", "total[place] += part", "total[place] = part", LOWERING),
        ("a kept matrix is another plan's", "key = id(weight), id(plan)", "key = id(plan), id(plan)", LOWERING),
        ("groups are lowered", "module.groups == 1 and ", "", LOWERING),
        ("means in the other layout", "input.permute(0, 2, 3, 1).mean((1, 2), keepdim=True)",
         "super().forward(input).permute(0, 2, 3, 1)", LOWERING),
    ),
    *_in(
        "planning/precision_choice.py",
        ("the arithmetic mean decides", "statistics.geometric_mean(", "statistics.fmean(", PRECISION),
        ("a busy machine's reading counts", 'and data["doubts"]:', "and False:", PRECISION),
        ("a reading is of any batch", ", f\"batch {subject.batch_size}\"", "", PRECISION),
    ),
    *_in(
        "measure/flops.py",
        ("MACs are FLOPs", "forward // 2", "forward // 1", COUNTS),
        ("training of two images", "training.get_total_flops() // 2", "training.get_total_flops()",
         COUNTS),
        ("gradients nobody asks for", "bool(output_mask[0]) + bool(output_mask[1])", "2", COUNTS),
    ),
    *_in(
        "recorder.py",
        ("p50 and p90 of a step exchanged", "result.step_ms(0.5), result.step_ms(0.9)",
         "result.step_ms(0.9), result.step_ms(0.5)", TRIAL),
        ("train accuracy is test's", "record.train_accuracy = report.train.accuracy",
         "record.train_accuracy = report.test.accuracy", TRIAL),
        ("test loss is train's", "report.test.accuracy, report.test.mean_loss",
         "report.test.accuracy, report.train.mean_loss", TRIAL),
        ("an epoch's train loss is test's", "train_loss=report.train.mean_loss", "train_loss=report.test.mean_loss",
         TRIAL),
        ("an epoch's test loss is train's", " test_loss=report.test.mean_loss", " test_loss=report.train.mean_loss",
         TRIAL),
        ("an epoch's train accuracy is test's", " train_accuracy=report.train.accuracy",
         " train_accuracy=report.test.accuracy", TRIAL),
        ("an epoch's test accuracy is train's", " test_accuracy=report.test.accuracy",
         " test_accuracy=report.train.accuracy", TRIAL),
        ("FLOPs spent are forward's", "images_seen * self.flops_per_image",
         "images_seen * (self.record.forward_flops or 0)", TRIAL),
        ("MFU is upside down", "/ result.train_clock_s /", "* result.train_clock_s /", TRIAL),
        ("clock and temperature exchanged", "report.clock_mhz_mean, report.temperature_c_max",
         "report.temperature_c_max, report.clock_mhz_mean", TRIAL),
        ("power and load exchanged", "report.power_w_mean, report.other_load",
         "report.other_load, report.power_w_mean", TRIAL),
        ("the best is the last", "max(record.best_test_accuracy or 0.0, report.test.accuracy)",
         "report.test.accuracy",
         "test_trial.py::TestRecord::test_tells_the_last_epoch_from_the_best_where_they_differ"),
    ),
    *_in(
        "training/clock.py",
        ("seconds of data and steps exchanged", 'self.ledger.add("data", data)', 'self.ledger.add("data", step)',
         TRIAL),
        ("a step is timed without its data", "elapsed_s(start, end) for start, _, end in marks",
         "elapsed_s(ready, end) for _, ready, end in marks", TRIAL),
    ),
    *_in(
        "training/loop.py",
        ("an epoch's rate is of all images", "images = result.images_seen - (last.images_seen if last else 0)",
         "images = result.images_seen", TRIAL),
        ("hits in reverse", "in_order.flatten()[", "in_order.flatten().flip(0)[", TRIAL),
        ("tested in train mode", "            self.engine.model.eval()\n", "", TRIAL),
        ("trained in eval mode", "        self.engine.train_mode()\n", "", f"{LOOP}::TestListeners"),
        ("no schedule", "self.peak * self.schedule(self._spent)", "self.peak", f"{LOOP}::TestSchedule"),
        ("the schedule is a step ahead", "self.schedule(self._spent)", "self.schedule(self._spent + 1 / 24)",
         f"{LOOP}::TestSchedule"),
        ("going on begins the epochs anew", '        self.pipeline.load(state["pipeline"])\n', "",
         "training/test_checkpoint.py::TestGoingOn::test_ends_with_the_same_bits"),
        ("an evaluation's seconds are all so far", 'return totals, self.ledger["eval"] - before',
         'return totals, self.ledger["eval"]', f"{LOOP}::TestClock"),
    ),
    *_in(
        "training/engine.py",
        ("smoothed test loss", 'ignore_index=PADDING, reduction="sum"',
         'ignore_index=PADDING, reduction="sum", label_smoothing=self.label_smoothing', f"{ENGINE}::TestTotals"),
        ("padding is counted", "counted = (their_labels != PADDING).sum()",
         "counted = (their_labels == their_labels).sum()", f"{ENGINE}::TestTotals"),
        ("a loss without smoothing", "F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)",
         "F.cross_entropy(logits, labels)", f"{ENGINE}::test_label_smoothing_equals_its_definition"),
        ("parts weigh the same", "len(their_labels) / len(labels)", "1 / len(passes)", ENGINE),
    ),
    *_in(
        "training/optimizer.py",
        ("Adam without weight decay", "lr=learning_rate, weight_decay=recipe.weight_decay,", "lr=learning_rate,",
         f"{ENGINE}::test_training_steps_equal_a_plain_reference"),
        ("SGD without weight decay", "        weight_decay=recipe.weight_decay,\n", "",
         f"{ENGINE}::test_training_steps_equal_a_plain_reference"),
        ("always the same momentum", "momentum=recipe.momentum", "momentum=0.9",
         f"{ENGINE}::test_training_steps_equal_a_plain_reference"),
        ("never Nesterov", "nesterov=recipe.nesterov", "nesterov=False",
         f"{ENGINE}::test_training_steps_equal_a_plain_reference"),
    ),
    *_in(
        "recipes.py",
        ("one learning rate for all batch sizes", "self.learning_rate * batch_size / self.reference_batch_size",
         "self.learning_rate", "test_recipes.py::test_the_common_peak_scales_linearly_with_the_batch_size"),
        ("milestones a step late", "spent >= milestone - 1e-9", "spent > milestone + 1e-9", "test_recipes.py"),
        ("the triangle's peak is cut", "return (1 - spent) / (1 - self.warmup)", "return 1 - spent",
         "test_recipes.py"),
    ),
    *_in(
        "budget.py",
        ("a step too few", "return math.ceil(", "return math.floor(", "test_budget.py"),
        ("minutes are seconds", "amount * 60", "amount * 1", "test_budget.py"),
        ("overshoot has lost its sign", "else spent - self.budget.amount", "else self.budget.amount - spent",
         "test_budget.py"),
    ),
    *_in(
        "trial.py",
        ("the same weights for every seed", "(self.trial.seed)", "(0)", SEEDED),
        ("the same batches for every seed", "                seed=trial.seed,", "                seed=0,", SEEDED),
        ("energy has lost its sign", "energy_after - energy", "energy - energy_after", TRIAL),
        ("a FLOP budget of forward passes", "flops = self.recorder.flops_per_image",
         "flops = self.recorder.record.forward_flops", "test_trial.py::TestBudget"),
    ),
    *_in(
        "data/pipeline.py",
        ("every epoch draws the same", "draws = torch.rand(self._draws_per_image, count, generator=self.draws,",
         "draws = torch.rand(self._draws_per_image, count, generator=self.draws.manual_seed(1),", ORDER),
        ("every epoch has one order", "torch.randperm(count, generator=self.order,",
         "torch.randperm(count, generator=self.order.manual_seed(0),", ORDER),
        ("every batch draws the same", "draws[:, window]", "draws[:, : len(order[window])]", ORDER),
        ("every image of a batch draws the same", "draws[:, window]",
         "draws[:, window][:, :1].expand(-1, self.share)", ORDER),
        ("seeds share their draws", "manual_seed(2 * seed + 1)", "manual_seed(1)", ORDER),
        ("seeds share their order", "manual_seed(2 * seed)", "manual_seed(0)", ORDER),
        ("crop and flip share a number", "            used = 2\n", "            used = 0\n",
         "data/test_pipeline_slots.py::TestDraws"),
        ("mean and deviation exchanged", "(normalisation.std, normalisation.mean)",
         "(normalisation.mean, normalisation.std)", ORDER),
    ),
    *_in(
        "data/augment.py",
        ("crops leave out the last offset", "(draw * (2 * padding + 1)).long()", "(draw * (2 * padding)).long()",
         CROPS),
        ("a quarter is mirrored", "chosen, mirrored = draw < 0.5", "chosen, mirrored = draw < 0.25",
         "data/test_augment.py::TestMirror"),
    ),
    *_in(
        "planning/plan.py",
        ("decoded to the smallest size", "ratio = max(arm.recipe", "ratio = min(arm.recipe", ARMS),
        ("height and width exchanged", "return round(shape[1] * max(1.0, ratio)), round(shape[2] *",
         "return round(shape[2] * max(1.0, ratio)), round(shape[1] *", ARMS),
    ),
    *_in(
        "models/cnn.py",
        ("no ReLU before the head", "        relu4=relu(),\n", "", CNN),
        ("no ReLU between", "        relu2=relu(),\n", "", CNN),
        ("average pools", "pool1=nn.MaxPool2d(2)", "pool1=nn.AvgPool2d(2)", CNN),
    ),
    *_in(
        "run.py",
        ("a failed calibration stops nothing", "                ruler.check()\n", "", CALIBRATION),
        ("what an instrument misread is not recorded", '                store.append("ruler", ruler.to_dict())\n', "",
         CALIBRATION),
    ),
    *_in(
        "noise.py",
        ("the first figures again", "figures = {name: again[name] for name in METRICS}", "figures = dict(first)",
         AGAIN),
        ("no training again", "run.recorder.speed(run.train_alone(", "id(run.train_alone(", AGAIN),
    ),
    *_in(
        "compare/metrics.py",
        ("the last noise floor", "max(floors.get(column, 0.0), abs(value))", "abs(value)",
         "test_noise.py::test_the_largest_of_several_floors_counts"),
        ("one floor for all metrics", "floors.get(metric.source)", "max(floors.values(), default=None)",
         "compare/test_compare_output.py::test_json_holds_what_a_verdict_rests_on"),
        ("a change without its sign", "        difference = new - base\n", "        difference = abs(new - base)\n",
         GOLDEN),
    ),
    *_in(
        "compare/cells.py",
        ("failed trials have figures", "            for place in ok\n            if (value",
         "            for place in places\n            if (value", FAILED),
    ),
    *_in(
        "compare/judging.py",
        ("the seven tests are one", "min(1.0, 2 * FALSE_ALARMS / tests)", "SIGNIFICANCE",
         "compare/test_compare_rates.py::test_unchanged_code_is_called_worse_in_less_than_5_of_100_comparisons_of_five_models"),
        ("better is worse", "(change > 0) == metric.higher_is_better", "(change > 0) != metric.higher_is_better",
         GOLDEN),
        ("significance is enough", "    if large:\n", "    if True:\n", GOLDEN),
        ("an effect is enough", "p is not None and p < level else", "True else", GOLDEN),
    ),
    *_in(
        "analysis/metrics.py",
        ("fp32 and bf16 in one table", '"devices", "precision", "tf32"', '"devices", "tf32"', GROUPS),
        ("layouts in one table", '"tf32", "memory_format", "compiled"', '"tf32", "compiled"', GROUPS),
        ("budgets in one table", '"recipe", "budget", "batch_size",', '"recipe", "batch_size",', GROUPS),
        ("datasets in one table", '"dataset", "dataset_fingerprint", "input"', '"dataset", "input"', GROUPS),
        ("devices in one table", '"device_name", "devices", "precision"', '"device_name", "precision"', GROUPS),
    ),
    *_in(
        "schema/rows.py",
        ("codes in one mean",
         'part of the ``trial_id``.",\n        default=None,\n        of="network",\n        known="planned"',
         'part of the ``trial_id``.",\n        default=None,\n        of="network"', MEANS),
        ("the slowest latency is the best", 'label="latency p50",\n        better="min"',
         'label="latency p50",\n        better="max"', TABLE),
        ("the slowest step is the best", 'label="step p50",\n        better="min"',
         'label="step p50",\n        better="max"', TABLE),
        ("the slowest inference is the best", 'label="inference",\n        better="max"',
         'label="inference",\n        better="min"', TABLE),
    ),
    *_in(
        "stats/cells.py",
        ("precisions in one mean", "groupby([*CELL, *SETTINGS]",
         'groupby([*(name for name in CELL if name != "precision"), *SETTINGS]', MEANS),
        ("layouts in one mean", "groupby([*CELL, *SETTINGS]",
         'groupby([*(name for name in CELL if name != "memory_format"), *SETTINGS]', MEANS),
        ("the clock of a shared device", '["step_s"]).mask(shared)', '["step_s"])',
         "stats/test_stats_cells.py::test_the_train_clock_is_data_and_steps_of_a_trial_that_had_its_device_alone"),
        ("the clock without data", '(trials["data_s"] + trials["step_s"])', '(trials["step_s"])',
         "stats/test_stats_cells.py::test_the_train_clock_is_data_and_steps_of_a_trial_that_had_its_device_alone"),
    ),
    *_in(
        "stats/summary.py",
        ("failed trials enter means", "figure[cell[is_ok[cell]]]", "figure[cell]",
         "report/test_report_tables.py::test_failed_trials_enter_no_mean_and_keep_their_row"),
        ("failed trials enter tests", '(trials["status"] == "ok").to_numpy() & ~np.isnan(accuracy)',
         "~np.isnan(accuracy)", "stats/test_stats_summary.py"),
    ),
    *_in(
        "stats/differences.py",
        ("variance by n", "np.where(n > 1, n - 1, np.nan)", "np.where(n > 1, n, np.nan)", WELCH),
        ("one-sided p", "p = 2 * stdtr(freedom, -np.abs(difference) / error)\n        without",
         "p = stdtr(freedom, -np.abs(difference) / error)\n        without", WELCH),
        ("differences without their sign",
         'mean1 - mean2\n    with np.errstate(invalid="ignore", divide="ignore"):\n        squares',
         'abs(mean1 - mean2)\n    with np.errstate(invalid="ignore", divide="ignore"):\n        squares', WELCH),
        ("Holm may fall", "np.maximum.accumulate(ascending, axis=-1)", "ascending", HOLM),
        ("Bonferroni for Holm", "known - np.arange(p.shape[-1])", "known - 0 * np.arange(p.shape[-1])", HOLM),
    ),
    *_in(
        "stats/ranking.py",
        ("separated by p without correction", "= self.p_holm < ALPHA", "= self.tests.p < ALPHA",
         "stats/test_stats_ranking.py::test_what_is_significant_alone_and_not_among_all_tests_is_not_separated"),
    ),
    *_in(
        "stats/basics.py",
        ("normal for t", "stdtrit(len(values) - 1,", "stdtrit(1e9,", "stats/test_stats_basics.py"),
        ("deviation by n", "/ (len(values) - 1))", "/ len(values))", "stats/test_stats_basics.py"),
        ("interval of one run", "* spread / math.sqrt(len(values))", "* spread", "stats/test_stats_basics.py"),
    ),
    *_in(
        "stats/fronts.py",
        ("dearer is better", "((cost, -accuracy, index)", "((-cost, -accuracy, index)", "stats/test_stats_fronts.py"),
    ),
    *_in(
        "stats/tiers.py",
        ("separated models share a tier", "alike[other, members].all()", "alike[other, members].any()",
         "stats/test_stats_tiers.py"),
    ),
    *_in(
        "report/columns.py",
        ("training memory is inference's", 'else f"{metric.column}_mean"',
         'else f"{metric.column}_mean".replace("peak_memory_allocated", "inference_memory")',
         "report/test_report_tables.py::test_a_row_has_costs_and_results"),
        ("p50 of a step is p90", 'else f"{metric.column}_mean"',
         'else f"{metric.column}_mean".replace("step_ms_p50", "step_ms_p90")',
         "report/test_report_tables.py::test_a_row_has_costs_and_results"),
    ),
    *_in(
        "report/tables.py",
        ("data and steps exchanged", '("data", "data_s"),\n    ("step", "step_s"),',
         '("data", "step_s"),\n    ("step", "data_s"),', LEDGER),
        ("the interval is the deviation", "percent(record['test_accuracy_ci95'])",
         "percent(record['test_accuracy_sd'])",
         "report/test_report_tables.py::test_the_interval_of_the_mean_stands_beside_it"),
    ),
    *_in(
        "report/groups.py",
        ("failed trials have figures", 'if columns["status"][place] == "ok"]\n            ok_places',
         'if columns["status"][place]]\n            ok_places', LEDGER),
    ),
    *_in(
        "report/profiles.py",
        ("forward and backward exchanged", '("forward\\nms", "forward_ms", 1),',
         '("forward\\nms", "backward_ms", 1),', HEADINGS),
        ("training memory is inference's", '("training\\nMiB", "peak_memory_allocated_mib", 1)',
         '("training\\nMiB", "inference_memory_mib", 1)', HEADINGS),
        ("forward and backward exchanged on pages", '"forward_ms": "forward (ms)"', '"forward_ms": "backward (ms)"',
         HEADINGS),
        ("fp32 and bf16 in one table", '    "device_name",\n    "precision",\n', '    "device_name",\n',
         "report/test_report_profiles.py::test_what_was_measured_otherwise_stands_in_a_table_of_its_own"),
    ),
    *_in(
        "measure/telemetry.py",
        ("mean power is the largest", "power_w_mean=fmean(powers)", "power_w_mean=max(powers)", TELEMETRY),
        ("least clock is the highest", "clock_mhz_min=min(", "clock_mhz_min=max(", TELEMETRY),
    ),
    *_in(
        "measure/ruler.py",
        ("one right reading is enough", "return all(reading.ok", "return any(reading.ok",
         "measure/test_ruler.py::TestRuler"),
    ),
    *_in(
        "schema/hits.py",
        ("hits in reverse", "np.packbits(correct)", "np.packbits(correct[::-1])", TRIAL),
    ),
    *_in(
        "schema/trial.py",
        ("seeds share an id", "data = asdict(self)", "data = asdict(self) | {'seed': 0}",
         "test_schema.py::test_every_field_changes_the_id"),
    ),
    *_in(
        "frames.py",
        ("epochs of earlier attempts stay", 'while attempt and attempt[-1][_STEPS] >= event["steps"]', "while False",
         "test_store.py::test_the_epochs_of_a_rerun_replace_those_before"),
        ("a profile in bf16 replaces that in fp32", 'if column.role in ("learning", "machine")',
         'if column.role in ("learning", "machine") and name != "precision"',
         "test_store.py::test_profiles_of_one_network_under_other_settings_are_all_kept"),
    ),
    *_in(
        "verdicts.py",
        ("chance is uniform", "chance = max(class_counts) / images", "chance = 1 / len(class_counts)",
         "test_trial_trust.py::TestVerdict::test_chance_is_the_share_of_the_largest_class"),
    ),
    *_in(
        "data/datasets.py",
        ("the mean of test images", "in self.train.images.split(", "in self.test.images.split(",
         "data/test_datasets.py::test_mean_and_std_are_torchs_own"),
        ("labels of training images", "pixels[split:], labels[split:],",
         "pixels[split:], labels[: len(pixels) - split],", "data/test_datasets.py::test_folder"),
    ),
    *_in(
        "data/variants.py",
        ("the first images of a class", "place[(2 * np.arange(share) + 1) * len(place) // (2 * share)]",
         "place[:share]", "data/test_variants.py::TestSubset"),
    ),
    *_in(
        "stats/pairwise.py",
        ("p without correction", "rounded(float(ranking.p_holm[place]))", "rounded(float(tests.p[place]))", PAIRS),
        ("differences without their sign", "rounded(float(tests.difference[place]))",
         "rounded(-float(tests.difference[place]))", PAIRS),
        ("the interval is the error", "rounded(float(tests.half_width[place]))", "rounded(float(tests.error[place]))",
         PAIRS),
    ),
    *_in(
        "training/alone.py",
        ("few steps that learn", "learning_rate=0.0)", "learning_rate=recipe.learning_rate)",
         "training/test_alone.py::test_everything_is_as_before"),
        ("batches are used up", "pipeline.preserved()", "engine.preserved()",
         "training/test_alone.py::test_everything_is_as_before"),
    ),
)
# fmt: on
"""Small bugs in what measures, records and compares."""


if __name__ == "__main__":
    typer.run(main)
