"""Exact duplicates, contradictions, near-duplicates."""

import numpy as np
import pytest

from heliostat.corpus import duplicates, shingles

ENGLISH = (
    "the quick brown fox jumps over the lazy dog near the old stone bridge"
    " while three tired farmers watch from a slow red cart at noon today"
)
CHINESE = "这家酒店的位置非常好，离地铁站只有五分钟，房间很干净，服务员也很热情，早餐种类丰富，下次来还会选择住在这里，推荐给大家。"


def signatures(texts, length=3, permutations=128):
    return shingles.signatures(texts, length, permutations)


def test_the_first_of_equal_rows_stays_and_contradictions_all_go():
    keys = ["a", "b", "a", "c", "b", "a"]
    labels = ["x", "x", "x", "x", "y", "x"]
    assert duplicates.exact(keys, labels) == [None, "conflicting_labels", "exact_duplicate", None, "conflicting_labels", "exact_duplicate"]


def test_a_key_ignores_case_and_white_space_only():
    assert shingles.key("Hello  World\n") == shingles.key("hello world")
    assert shingles.key("hello world") != shingles.key("hello world!")


def test_a_chinese_character_is_a_word():
    assert shingles.words("我用Python 3写code。") == ["我", "用", "python", "3", "写", "code"]


def test_short_and_wordless_texts_have_a_shingle():
    assert shingles.shingles("Good", 3) == {"good"}
    assert shingles.shingles("?!", 3) == {"?!"}


@pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_a_small_change_is_near_and_another_text_is_not(text):
    changed = text.replace("noon", "night").replace("大家", "朋友")
    pairs = duplicates.near(signatures([text, "something else altogether, with other words in it", changed]), 0.7)
    assert [(p.first, p.second) for p in pairs] == [(0, 2)]
    a, b = shingles.shingles(text, 3), shingles.shingles(changed, 3)
    exact = len(a & b) / len(a | b)
    assert pairs[0].similarity == pytest.approx(exact, abs=0.13)  # 3 standard errors of 128 permutations at this similarity


def test_nearly_every_pair_above_the_threshold_is_found():
    rng = np.random.default_rng(5)
    texts = []
    for i in range(300):
        words = [f"v{i}x{k}" for k in range(100)]
        texts.append(" ".join(words))
        words[int(rng.integers(100))] = "changed"
        texts.append(" ".join(words))  # one word of 100 changed: Jaccard of 3-word shingles about 0.94
    found = {(p.first, p.second) for p in duplicates.near(signatures(texts), 0.8)}
    assert found <= {(2 * i, 2 * i + 1) for i in range(300)}
    assert len(found) >= 297


def test_a_thousand_equal_signatures_make_one_cluster():
    same = np.tile(signatures([ENGLISH]), (1000, 1))
    pairs = duplicates.near(same, 0.8)
    assert len(pairs) <= 1000 * duplicates.NEIGHBOURS
    assert set(duplicates.clusters(1000, [(p.first, p.second) for p in pairs])) == {0}


def test_clusters_join_through_others_and_are_named_by_their_first():
    assert duplicates.clusters(7, [(5, 6), (1, 3), (3, 5)]).tolist() == [0, 1, 2, 1, 4, 1, 1]


@pytest.mark.parametrize("threshold", [0.35, 0.5, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("length", [16, 128])
def test_banding_misses_at_most_one_pair_in_a_hundred_at_the_threshold(threshold, length):
    bands, rows = duplicates.banding(length, threshold)
    assert bands * rows <= length
    assert (1 - threshold**rows) ** bands <= 0.01


def test_no_rows_have_no_pairs():
    assert duplicates.near(np.zeros((0, 128), dtype=np.uint32), 0.8) == []
