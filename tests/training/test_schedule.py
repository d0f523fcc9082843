"""The course of a run: phases, feedback, learning rate."""

from unpairaug.training.schedule import Schedule


def test_phases_follow_each_other():
    schedule = Schedule(steps=9, translator_warmup=3, head_warmup=2, head_finish=2)
    expected = ["translator_warmup"] * 3 + ["head_warmup"] * 2 + ["joint"] * 2 + ["head_finish"] * 2
    assert [schedule.phase(s) for s in range(9)] == expected
    starts = (
        "translator warm-up from step 1, head warm-up from step 4, joint training from step 6, head finish from step 8"
    )
    assert schedule.describe_phases() == f"phases: {starts}"
    assert Schedule(steps=9).describe_phases() == ""


def test_feedback_is_0_before_the_joint_phase_and_ramps_up_in_it():
    schedule = Schedule(steps=20, translator_warmup=2, feedback=4.0, feedback_ramp=3)
    assert [schedule.feedback_at(s) for s in range(7)] == [0, 0, 1, 2, 3, 4, 4]


def test_feedback_without_a_ramp_is_whole_from_the_first_joint_step():
    assert Schedule(steps=5, feedback=2.0).feedback_at(0) == 2.0


def test_learning_rate_falls_in_a_line_and_the_last_step_still_learns():
    schedule = Schedule(steps=6, lr_decay=3)
    assert [schedule.lr_factor(s, schedule.steps) for s in range(6)] == [1, 1, 1, 0.75, 0.5, 0.25]


def test_a_translator_that_ends_earlier_slows_down_earlier():
    schedule = Schedule(steps=6, head_finish=2, lr_decay=1)
    assert [schedule.lr_factor(s, schedule.translator_end) for s in range(6)] == [1, 1, 1, 0.5, 0, 0]
