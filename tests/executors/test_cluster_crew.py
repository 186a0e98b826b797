"""Which node gets which trial, and what becomes of a run whose nodes go, come back or are unfit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from fake_cluster import FakeCluster, Scene, finish_all, make_node, steps

from resbench.conduct import Conduct
from resbench.errors import ClusterError
from resbench.executors.ray_cluster.messages import Left


def test_a_node_whose_workers_die_again_and_again_gets_nothing_more(tmp_path: Path) -> None:
    scene = Scene(tmp_path, trials=4)

    def die_on_a(cluster: FakeCluster) -> None:
        for attempt, name, _ in cluster.open():
            if name == "a":
                cluster.say(attempt)
                cluster.lose(attempt)

    cluster = FakeCluster(steps(lambda c: c.join(make_node("a"), make_node("b")), *[die_on_a] * 3, *[finish_all] * 4))
    scene.run(cluster, Conduct(calibrate=False, retries=5))
    scene.assert_one_ok_row_each()
    assert Counter(name for _, name, _ in cluster.begun) == {"a": 3, "b": 4}
    assert "a is not used: its workers die again and again (its worker died)" in scene.said


def test_no_node_at_all_ends_the_run_after_some_patience_with_what_was_wrong(tmp_path: Path) -> None:
    scene = Scene(tmp_path, trials=3)

    def let_time_pass(cluster: FakeCluster) -> None:
        scene.clock += 50

    cluster = FakeCluster(
        steps(
            lambda c: c.join(make_node("a")),
            lambda c: (c.finish(1), c.kill("a")),
            let_time_pass,
            let_time_pass,
        )
    )
    with pytest.raises(ClusterError, match="no node of the cluster is left to run 2 planned trials on"):
        scene.run(cluster)
    assert [row["status"] for row in scene.rows] == ["ok"]
    assert cluster.waits == 4  # it joined, it was gone, and 50 s twice


def test_a_node_that_comes_back_is_waited_for(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    def let_time_pass(cluster: FakeCluster) -> None:
        scene.clock += 50

    cluster = FakeCluster(
        steps(
            lambda c: c.join(make_node("a")),
            lambda c: c.kill("a"),
            let_time_pass,
            lambda c: c.join(make_node("a again")),
            lambda c: c.finish(2),
        )
    )
    scene.run(cluster)
    scene.assert_one_ok_row_each()


def test_where_every_node_is_unfit_the_run_ends_at_once_and_names_each(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    unfit = [Left(name, f"{name} has another torch", name, died=False) for name in ("a", "b")]
    cluster = FakeCluster(steps(lambda c: c.events.extend(unfit)))
    with pytest.raises(ClusterError, match=r"a: a has another torch; b: b has another torch"):
        scene.run(cluster)


def test_nodes_that_are_on_their_way_are_waited_for(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    def arrive_late(cluster: FakeCluster) -> None:
        scene.clock += 500
        if cluster.waits == 4:
            cluster.on_way = 0
            cluster.join(make_node("a"))
        if cluster.open():
            finish_all(cluster)

    cluster = FakeCluster(arrive_late, on_way=1)
    scene.run(cluster)
    scene.assert_one_ok_row_each()


def test_a_trial_goes_to_the_node_that_holds_its_checkpoint_even_where_another_has_room(tmp_path: Path) -> None:
    scene = Scene(tmp_path, trials=3)
    last = scene.trials[2].trial_id
    nodes = (make_node("a", slots=3), make_node("b", checkpoints=[last]))
    cluster = FakeCluster(steps(lambda c: c.join(*nodes), finish_all))
    scene.run(cluster)
    scene.assert_one_ok_row_each()
    assert {work.name: name for _, name, work in cluster.begun}[last] == "b"
