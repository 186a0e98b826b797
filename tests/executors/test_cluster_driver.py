from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from fake_cluster import FakeCluster, Scene, finish_all, make_node, row_of, steps

from resbench.conduct import Conduct
from resbench.errors import StorageError
from resbench.executors.process import Exit
from resbench.executors.ray_cluster.messages import Begun, Ended, Said


def test_trials_fill_the_nodes_and_each_row_names_its_own(tmp_path: Path) -> None:
    scene = Scene(tmp_path, trials=5)

    def two_each(cluster: FakeCluster) -> None:
        assert Counter(name for _, name, _ in cluster.open()) == {"a": 1, "b": 2}
        finish_all(cluster)

    cluster = FakeCluster(steps(lambda c: c.join(make_node("a"), make_node("b", slots=2)), two_each, finish_all))
    scene.run(cluster)
    scene.assert_one_ok_row_each()
    where = {work.name: name for _, name, work in cluster.begun}
    assert {row["trial_id"]: row["node"] for row in scene.rows} == where
    assert [work.name for _, _, work in cluster.begun] == [trial.trial_id for trial in scene.trials]  # as planned


def test_a_trial_whose_worker_dies_runs_again_on_the_node_that_holds_its_checkpoint(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    def die(cluster: FakeCluster) -> None:
        cluster.say(1, ("phase", {"phase": "train"}), log=b"first\n")
        cluster.lose(1)

    cluster = FakeCluster(
        steps(lambda c: c.join(make_node("a"), make_node("b")), die, lambda c: (c.say(2, log=b"second\n"), c.finish(2)))
    )
    scene.run(cluster)
    scene.assert_one_ok_row_each()
    assert [name for _, name, _ in cluster.begun] == ["a", "a"]
    assert scene.rows[0]["notes"] == ["attempt 1 was lost on a (its worker died): run again"]
    assert scene.notices == ["lost on a (its worker died): attempt 2 of 3"]
    assert (tmp_path / "out" / "logs" / f"{scene.trials[0].trial_id}.log").read_bytes() == b"first\nsecond\n"


def test_trials_that_run_out_of_memory_leave_rows_and_say_nothing_of_their_node(tmp_path: Path) -> None:
    scene = Scene(tmp_path, trials=5)

    def lose(cluster: FakeCluster) -> None:
        ((attempt, _, _),) = cluster.open()
        cluster.say(attempt, ("phase", {"phase": "train"}))
        cluster.lose(attempt, "Ray ended its worker", out_of_memory=True)

    cluster = FakeCluster(steps(lambda c: c.join(make_node("a")), *[lose] * 4, finish_all))
    scene.run(cluster)
    assert [row["status"] for row in scene.rows] == ["oom"] * 4 + ["ok"]


def test_a_trial_whose_node_dies_runs_again_on_another_and_what_comes_late_is_not_heard(tmp_path: Path) -> None:
    scene = Scene(tmp_path, trials=2)
    late = row_of(scene.trials[0], "diverged")

    def late_words(cluster: FakeCluster) -> None:
        attempts = {name: attempt for attempt, name, _ in cluster.begun[:2]}
        cluster.events += [Said(attempts["a"], [("trial", late)], b""), Ended(attempts["a"], Exit(0, ""))]
        cluster.finish(attempts["b"])

    cluster = FakeCluster(
        steps(
            lambda c: c.join(make_node("a"), make_node("b")),
            lambda c: (c.say(1, ("phase", {"phase": "train"})), c.kill("a")),
            late_words,
            lambda c: c.finish(3),
        )
    )
    scene.run(cluster)
    scene.assert_one_ok_row_each()
    assert [name for _, name, _ in cluster.begun] == ["a", "b", "b"]
    assert {row["node"] for row in scene.rows} == {"b"}
    assert "a is gone: it died" in scene.said


def test_a_trial_whose_row_came_before_its_node_died_is_done(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    def die_after_the_row(cluster: FakeCluster) -> None:
        cluster.say(1, ("trial", row_of(scene.trials[0])))
        cluster.kill("a")

    scene.run(cluster := FakeCluster(steps(lambda c: c.join(make_node("a")), die_after_the_row)))
    scene.assert_one_ok_row_each()
    assert len(cluster.begun) == 1


def test_a_trial_that_is_lost_too_often_says_so_in_its_row(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    cluster = FakeCluster(
        steps(
            lambda c: c.join(make_node("a"), make_node("b")),
            lambda c: (c.say(1, ("facts", {"device_name": "a processor"})), c.lose(1)),
            lambda c: (c.say(2, ("phase", {"phase": "train"})), c.lose(2)),
        )
    )
    scene.run(cluster, Conduct(calibrate=False, retries=1))
    (row,) = scene.rows
    assert (row["status"], row["phase"], row["node"]) == ("crashed", "train", "a")
    assert row["error"] == "lost on a, attempt 2 of 2: its worker died"
    assert row["device_name"] is None  # of an attempt that does not count


def test_a_trial_that_fails_by_itself_fails_as_on_one_machine(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    def segfault(cluster: FakeCluster) -> None:
        cluster.say(1, ("phase", {"phase": "train"}))
        cluster.end_with(1, Exit(-11, "last words"))

    scene.run(cluster := FakeCluster(steps(lambda c: c.join(make_node("a")), segfault)))
    (row,) = scene.rows
    assert (row["status"], row["signal"], len(cluster.begun)) == ("crashed", "SIGSEGV", 1)
    assert row["error"] == "the process was killed by SIGSEGV: last words"


@pytest.mark.parametrize("by_ray", [True, False], ids=["worker ended by Ray", "said by the trial"])
def test_a_trial_that_runs_out_of_memory_runs_again_in_halves(tmp_path: Path, by_ray: bool) -> None:
    scene = Scene(tmp_path)

    def starve(cluster: FakeCluster) -> None:
        if by_ray:
            cluster.lose(1, "Ray ended its worker", out_of_memory=True)
        else:
            cluster.finish(1, "oom")

    cluster = FakeCluster(steps(lambda c: c.join(make_node("a")), starve, lambda c: c.finish(2)))
    scene.run(cluster, Conduct(calibrate=False, accumulate=True))
    scene.assert_one_ok_row_each()
    assert [work.arguments[2].micro_batch_size for _, _, work in cluster.begun] == [None, 4]


def test_an_attempt_that_falls_silent_is_given_up_and_one_that_waits_for_room_is_not(tmp_path: Path) -> None:
    scene = Scene(tmp_path, trials=2)

    def let_time_pass(cluster: FakeCluster) -> None:
        scene.clock += 200

    cluster = FakeCluster(
        steps(
            lambda c: c.join(make_node("a", slots=2)),
            lambda c: c.events.append(Begun(1)),
            let_time_pass,
            lambda c: (c.finish(2), c.finish(3)),
        )
    )
    scene.run(cluster)
    scene.assert_one_ok_row_each()
    assert cluster.ended == [1]
    assert cluster.begun[2][2].name == cluster.begun[0][2].name
    assert scene.notices == ["lost on a (nothing was heard of it for 120 s): attempt 2 of 3"]


def test_an_attempt_that_never_began_does_not_count(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    def refuse(cluster: FakeCluster) -> None:
        cluster.lose(cluster.begun[-1][0], "its node died")  # it is dead, and nobody has noticed yet

    cluster = FakeCluster(steps(lambda c: c.join(make_node("a"), make_node("b", slots=9)), *[refuse] * 2, finish_all))
    scene.run(cluster, Conduct(calibrate=False, retries=0))
    scene.assert_one_ok_row_each()
    assert (len(cluster.begun), scene.rows[0]["notes"], scene.notices) == (3, [], [])


def test_an_interrupt_records_what_runs_and_ends_it_and_nothing_of_what_waits(tmp_path: Path) -> None:
    scene = Scene(tmp_path, trials=3)

    def interrupt(cluster: FakeCluster) -> None:
        raise KeyboardInterrupt

    cluster = FakeCluster(
        steps(
            lambda c: c.join(make_node("a", slots=2)),
            lambda c: c.say(1, ("phase", {"phase": "eval"})),  # the second waits for room
            interrupt,
        )
    )
    with pytest.raises(KeyboardInterrupt):
        scene.run(cluster)
    (row,) = scene.rows
    assert (row["trial_id"], row["status"], row["phase"]) == (scene.trials[0].trial_id, "interrupted", "eval")
    assert row["error"] == "interrupted by the user"
    assert sorted(cluster.ended) == [1, 2]


def test_a_log_that_cannot_be_written_ends_the_run_and_what_runs(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    (tmp_path / "out" / "logs").write_text("in the way")
    cluster = FakeCluster(steps(lambda c: c.join(make_node("a")), lambda c: c.say(1, log=b"words")))
    with pytest.raises(StorageError, match=r"cannot write to .*logs"):
        scene.run(cluster)
    assert cluster.ended == [1]
