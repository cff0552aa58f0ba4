from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.labeling_sync.choosing import Answer, choose, is_drawn, window

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def answer(seq: int, image: int, *probabilities: float) -> Answer:
    return Answer(seq, f"{image:064x}", probabilities or (0.6, 0.4), NOON + timedelta(seconds=seq))


def test_a_window_has_so_many_different_images() -> None:
    waiting = [answer(1, 1), answer(2, 1), answer(3, 2), answer(4, 3)]
    chosen = window(waiting, every=2, quiet_s=60, now=NOON)
    assert chosen is not None
    assert [one.seq for one in chosen] == [1, 2, 3]


def test_fewer_are_a_window_once_it_is_quiet() -> None:
    waiting = [answer(1, 1), answer(2, 2)]
    assert window(waiting, every=3, quiet_s=60, now=NOON + timedelta(seconds=61)) is None
    assert window(waiting, every=3, quiet_s=60, now=NOON + timedelta(seconds=62)) == waiting
    assert window([], every=3, quiet_s=60, now=NOON) is None


def test_the_least_certain_are_chosen_by_their_margin() -> None:
    answers = [answer(1, 1, 0.9, 0.1), answer(2, 2, 0.5, 0.49, 0.01), answer(3, 3, 0.45, 0.3, 0.25), answer(4, 4, 1.0)]
    assert choose(answers, uncertain=2, random_share=0, known=(), budget=9) == [(2, "uncertain"), (3, "uncertain")]


def test_images_asked_about_before_are_not_chosen_and_the_last_answer_counts() -> None:
    answers = [answer(1, 1, 0.5, 0.5), answer(2, 2, 0.6, 0.4), answer(3, 2, 0.9, 0.1), answer(4, 3, 0.8, 0.2)]
    picks = choose(answers, uncertain=2, random_share=0, known={f"{1:064x}"}, budget=9)
    assert picks == [(4, "uncertain"), (3, "uncertain")]


@given(st.lists(st.integers(0, 40), min_size=1), st.integers(0, 10), st.floats(0, 1), st.integers(0, 20))
def test_no_image_is_asked_about_twice_and_no_budget_is_exceeded(
    images: list[int], uncertain: int, share: float, budget: int
) -> None:
    answers = [answer(seq, image, (image % 7) / 7, 1 - (image % 7) / 7) for seq, image in enumerate(images)]
    picks = choose(answers, uncertain=uncertain, random_share=share, known={f"{3:064x}"}, budget=budget)
    asked = [answers[seq].sha256 for seq, _ in picks]
    assert len(set(asked)) == len(asked) <= budget
    assert f"{3:064x}" not in asked
    assert all(is_drawn(answers[seq].sha256, share) == (chosen == "random") for seq, chosen in picks)
    assert sum(chosen == "uncertain" for _, chosen in picks) <= uncertain


def test_chance_takes_its_share_whatever_the_model_says() -> None:
    certain = [answer(n, n, 1.0, 0.0) for n in range(2_000)]
    unsure = [answer(n, n, 0.5, 0.5) for n in range(2_000)]
    drawn = [choose(some, uncertain=0, random_share=0.1, known=(), budget=9_999) for some in (certain, unsure)]
    assert drawn[0] == drawn[1]
    assert 140 < len(drawn[0]) < 260
