import re

from services.trainer.plan import claim_key, plan_hash

DATASET = "0123456789abcdef"


def test_the_order_of_parameters_is_no_other_plan() -> None:
    one = plan_hash(DATASET, "frozen-features", {"l2": 0.1, "image_px": 64}, 0)
    assert one == plan_hash(DATASET, "frozen-features", {"image_px": 64, "l2": 0.1}, 0)
    assert re.fullmatch(r"[0-9a-f]{16}", one)


def test_another_dataset_recipe_parameter_or_seed_is_another_plan() -> None:
    hashes = {
        plan_hash(DATASET, "frozen-features", {"l2": 0.1}, 0),
        plan_hash("f" * 16, "frozen-features", {"l2": 0.1}, 0),
        plan_hash(DATASET, "other", {"l2": 0.1}, 0),
        plan_hash(DATASET, "frozen-features", {"l2": 0.2}, 0),
        plan_hash(DATASET, "frozen-features", {"l2": 0.1}, 1),
    }
    assert len(hashes) == 5


def test_whoever_wants_it_again_gets_a_claim_of_its_own_whatever_its_id() -> None:
    usual = claim_key("solar", "ab" * 8)
    again = claim_key("solar", "ab" * 8, "an id/with * what a key must not have")
    assert again not in (usual, claim_key("solar", "ab" * 8, "another id"))
    assert re.fullmatch(r"[A-Za-z0-9._=/-]+", again)
