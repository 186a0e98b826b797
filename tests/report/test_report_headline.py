from __future__ import annotations

from few_records import accuracies, group_of
from records import make_record, make_trial

from resbench.report.headline import cost_sentence, headline
from resbench.report.pairs import front_table
from resbench.report.pareto import costs_of


def said_of(folder, *records) -> str:
    return headline(group_of(folder, *records))


def test_one_seed_claims_no_rank(tmp_path):
    said = said_of(tmp_path, *accuracies("a", 0.95), *accuracies("b", 0.94))
    assert said.startswith(
        "On shapes10 with the budget 26ep on NVIDIA H200, a reaches a test accuracy of 95.00 % (one seed), the highest "
        "of 2 models and 1.00 points above b."
    )
    assert "not a ranking" in said
    assert "most accurate" not in said


def test_models_that_are_not_separated_are_not_ordered(tmp_path):
    said = said_of(tmp_path, *accuracies("a", 0.95, 0.94), *accuracies("b", 0.94, 0.945))
    assert "no model can be named the most accurate" in said
    assert "2 seeds, 95 % interval ± 6.35 points" in said  # 12.706 * 0.7071 / sqrt(2)
    assert "these runs do not separate it from b." in said
    assert "above" not in said


def test_a_model_that_is_separated_from_all_is_named(tmp_path):
    said = said_of(
        tmp_path,
        *accuracies("a", 0.950, 0.951, 0.949),
        *accuracies("b", 0.9, 0.902, 0.8985),
        *accuracies("c", 0.7, 0.702, 0.6995),
    )
    assert "a is the most accurate: a reaches a mean test accuracy of 95.00 % (3 seeds" in said
    assert "4.98 points above b" in said
    assert "separate it from all 2 others that were judged" in said


def test_those_below_the_top_tier_are_named_apart(tmp_path):
    said = said_of(
        tmp_path,
        *accuracies("a", 0.950, 0.951, 0.949),
        *accuracies("b", 0.949, 0.9515, 0.9488),
        *accuracies("c", 0.7, 0.702, 0.6995),
    )
    assert "do not separate it from b. They do separate it from c." in said


def test_a_rival_without_a_tier_is_named_and_not_ranked(tmp_path):
    said = said_of(
        tmp_path,
        *accuracies("a", 0.950, 0.951),
        *accuracies("b", 0.949, 0.9511),
        *accuracies("c", 0.99),
        *accuracies("d", 0.98, None),
    )
    assert "a and b" not in said
    assert "c and d have no tier: not ranked." in said
    assert "99.00" not in said


def test_too_few_seeds_for_a_tier_are_no_ranking(tmp_path):
    said = said_of(tmp_path, *accuracies("a", 0.950, 0.951), *accuracies("b", 0.949))
    assert "the highest of 2 models and 0.15 points above b" in said
    assert "not a ranking: fewer than two models" in said


def test_without_rivals_and_without_results(tmp_path):
    assert "no other model" in said_of(tmp_path / "one", *accuracies("a", 0.95))
    assert "no trial ended ok" in said_of(tmp_path / "none", make_record(make_trial(), status="oom"))


class TestCost:
    def cost_of(self, folder, *records) -> str:
        return " ".join(cost_sentence(group_of(folder, *records)))

    def test_a_cheaper_model_is_set_against_the_most_accurate(self, tmp_path):
        said = self.cost_of(
            tmp_path,
            *accuracies("best", 0.950, 0.951, 0.949, data_s=2.0, step_s=38.0),
            *accuracies("cheap", 0.9, 0.902, 0.8985, data_s=1.0, step_s=9.0),
        )
        assert said == "cheap takes 25 % of the training time of best, and is 4.98 points below it."

    def test_no_gap_is_claimed_where_the_runs_do_not_separate_the_two(self, tmp_path):
        said = self.cost_of(
            tmp_path,
            *accuracies("best", 0.95, 0.94, data_s=2.0, step_s=38.0),
            *accuracies("cheap", 0.94, 0.945, data_s=1.0, step_s=9.0),
        )
        assert said == "cheap takes 25 % of the training time of best, and these runs do not separate its accuracy."

    def test_the_most_accurate_may_be_the_cheapest(self, tmp_path):
        rows = [*accuracies("a", 0.95, data_s=0.0, step_s=10.0), *accuracies("b", 0.9, data_s=0.0, step_s=40.0)]
        said = self.cost_of(tmp_path, *rows, *accuracies("c", 0.8, data_s=0.0, step_s=20.0))
        assert said == "a is also the cheapest to train, at 50 % of the training time of c, the next."

    def test_times_that_cannot_be_compared_are_not(self, tmp_path):
        assert self.cost_of(tmp_path, *accuracies("a", 0.95)) == ""
        apart = accuracies("b", 0.9, data_s=0.0, step_s=1.0, micro_batch_size=64)
        assert self.cost_of(tmp_path / "parts", *accuracies("a", 0.95), *apart) == ""

    def test_a_model_without_a_tier_does_not_lead_where_others_have_one(self, tmp_path):
        said = self.cost_of(
            tmp_path,
            *accuracies("ranked", 0.950, 0.951, 0.949, data_s=0.0, step_s=40.0),
            *accuracies("cheap", 0.9, 0.902, 0.8985, data_s=0.0, step_s=10.0),
            *accuracies("failed on one", 0.99, 0.99, None, data_s=0.0, step_s=80.0),
        )
        assert said == "cheap takes 25 % of the training time of ranked, and is 4.98 points below it."

    def test_in_equal_time_the_images_are_told_of(self, tmp_path):
        same = {"data_s": 1.0, "step_s": 59.0, "budget": "1min"}
        fast = accuracies("fast", 0.8, 0.82, images_seen=40_000, **same)
        slow = accuracies("slow", 0.9, 0.91, images_seen=10_000, **same)
        said = self.cost_of(tmp_path, *fast, *slow)
        assert said == "In the same time slow learns from 25 % of the images that fast learns from."

    def test_in_equal_time_equal_images_are_not_worth_a_sentence(self, tmp_path):
        same = {"data_s": 1.0, "step_s": 59.0, "budget": "90s", "images_seen": 10}
        assert self.cost_of(tmp_path, *accuracies("a", 0.8, **same), *accuracies("b", 0.9, **same)) == ""


def test_a_time_that_the_budget_gave_is_no_cost(tmp_path):
    for budget, expected in (("26ep", True), ("2min", False), ("1e16flop", True)):
        models = {"a": (0.95, 0.94), "b": (0.90, 0.91)}
        trials = [
            make_record(make_trial(model, seed, budget=budget), test_accuracy=value)
            for model, values in models.items()
            for seed, value in enumerate(values)
        ]
        group = group_of(tmp_path / budget, *trials)
        assert ("train_time" in {cost.name for cost in costs_of(group)}) is expected
        assert ("training time" in front_table(group).headers) is expected
