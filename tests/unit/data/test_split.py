"""The split: a given one as it is, a drawn one by content, copies and groups on one side."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.base.errors import DataError, UsageError
from headstart.data.dataset import Dataset, Example, Split
from headstart.data.split import clusters, hold_out, split


def dataset(examples: Sequence[Example]) -> Dataset:
    classes = tuple(sorted({example.label for example in examples}))
    return Dataset("toy", "image", tuple(examples), classes, read=lambda position: b"")


def plain(counts: dict[str, int]) -> tuple[Dataset, list[str]]:
    examples = [Example(f"{label}/{n}.jpg", label) for label, count in counts.items() for n in range(count)]
    return dataset(examples), [content(example.id) for example in examples]


def content(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def given_parts(*rows: tuple[str, str], hashes: Sequence[str] | None = None) -> tuple[Dataset, list[str]]:
    examples = [Example(f"{n}.jpg", label, part) for n, (part, label) in enumerate(rows)]
    return dataset(examples), list(hashes or [content(example.id) for example in examples])


def test_a_drawn_test_part_is_30_percent_of_each_class():
    data, hashes = plain({"a": 100, "b": 10, "c": 5, "d": 2})
    parts = split(data, hashes, seed=0)
    counts = Counter(data.examples[at].label for at in parts.test)
    assert counts == {"a": 30, "b": 3, "c": 2, "d": 1}
    assert parts.validation == ()
    assert sorted((*parts.train, *parts.test)) == list(range(len(data)))
    assert parts.train == tuple(sorted(parts.train))


def test_seeds_differ_and_repeat():
    data, hashes = plain({"a": 50, "b": 50})
    assert split(data, hashes, seed=1) == split(data, hashes, seed=1)
    assert split(data, hashes, seed=1).test != split(data, hashes, seed=2).test


def test_names_do_not_matter_but_content_does():
    data, hashes = plain({"a": 50, "b": 50})
    renamed = dataset([Example(f"new/{n}", example.label) for n, example in enumerate(data.examples)])
    assert split(renamed, hashes, seed=0).test == split(data, hashes, seed=0).test


@pytest.mark.parametrize("change", ["add", "remove"])
def test_one_photo_more_or_less_moves_at_most_one_other(change):
    data, hashes = plain({"a": 40, "b": 40})
    before = {hashes[at] for at in split(data, hashes, seed=0).test}
    for number in range(20):
        if change == "add":
            more = dataset([*data.examples, Example("z/new.jpg", "a")])
            after_hashes = [*hashes, content(f"new {number}")]
        else:
            more = dataset([example for at, example in enumerate(data.examples) if at != number])
            after_hashes = [digest for at, digest in enumerate(hashes) if at != number]
        after = {after_hashes[at] for at in split(more, after_hashes, seed=0).test}
        shared = set(after_hashes) & set(hashes)
        assert len((before ^ after) & shared) <= 1


def test_a_given_split_is_kept_as_it_is():
    data, hashes = given_parts(("test", "a"), ("train", "a"), ("validation", "b"), ("train", "b"), ("test", "b"))
    parts = split(data, hashes, seed=0)
    assert (parts.train, parts.validation, parts.test) == ((1, 3), (2,), (0, 4))


def test_validation_stands_in_for_a_missing_test_part():
    data, hashes = given_parts(("train", "a"), ("train", "b"), ("validation", "a"), ("validation", "b"))
    parts = split(data, hashes, seed=0)
    assert (parts.train, parts.validation, parts.test) == ((0, 1), (), (2, 3))
    assert "no test part" in parts.notes[0]


def test_a_train_part_alone_is_split_and_said():
    data, hashes = given_parts(*[("train", label) for label in "ab" * 10])
    parts = split(data, hashes, seed=0)
    assert (len(parts.train), len(parts.test)) == (14, 6)
    assert "a train part only: 30%" in parts.notes[0]


def test_no_train_part_is_an_error():
    data, hashes = given_parts(("test", "a"), ("test", "b"))
    with pytest.raises(DataError, match="must have a train part"):
        split(data, hashes, seed=0)


@pytest.mark.parametrize("part", ["test", "validation"])
def test_a_label_that_train_lacks_is_named__TAB_06(part):
    data, hashes = given_parts(("train", "a"), ("train", "b"), ("test", "a"), (part, "lynx"))
    with pytest.raises(DataError, match="'lynx'"):
        split(data, hashes, seed=0)


def test_a_single_train_example_is_used_with_a_warning__TAB_05():
    data, hashes = given_parts(("train", "a"), ("train", "a"), ("train", "rare"), ("test", "a"))
    parts = split(data, hashes, seed=0)
    assert parts.train == (0, 1, 2)
    assert any("single train example" in note and "'rare'" in note for note in parts.notes)
    assert any("does not hold: 'rare'" in note for note in parts.notes)


def test_a_single_example_without_a_given_split_names_the_class__TAB_05():
    data, hashes = plain({"a": 10, "rare": 1})
    with pytest.raises(DataError, match=r"at least 2 examples.*a single one of 'rare'"):
        split(data, hashes, seed=0)


def test_copies_stay_on_one_side__IMG_20():
    data, hashes = plain({"a": 40, "b": 40})
    for start in (0, 4, 8, 40, 44):
        hashes[start : start + 4] = [hashes[start]] * 4
    for seed in range(20):
        parts = split(data, hashes, seed=seed)
        assert not {hashes[at] for at in parts.train} & {hashes[at] for at in parts.test}
        assert len(parts.test) == 24


def test_a_class_of_copies_only_is_named__IMG_20():
    data, hashes = plain({"a": 10, "b": 3})
    hashes[10:] = [hashes[10]] * 3
    with pytest.raises(DataError, match="3 of 'b', all copies of one or of one group"):
        split(data, hashes, seed=0)


def test_groups_stay_on_one_side_and_every_class_is_tested():
    examples = [Example(f"{n}.jpg", "ab"[n % 2], group=f"patient {n // 10}") for n in range(60)]
    for seed in range(20):
        parts = split(dataset(examples), [content(example.id) for example in examples], seed=seed)
        groups = [{examples[at].group for at in part} for part in (parts.train, parts.test)]
        assert not groups[0] & groups[1]
        assert len(groups[1]) == 2


def test_copies_join_groups_however_indirectly():
    examples = [Example(str(n), "a", group=group) for n, group in enumerate(["g", "g", "h", "h", None, None])]
    examples += [Example(f"b{n}", "b") for n in range(4)]
    hashes = [content(example.id) for example in examples]
    hashes[2] = hashes[1]
    hashes[4] = hashes[3]
    for seed in range(10):
        parts = split(dataset(examples), hashes, seed=seed)
        assert len({0, 1, 2, 3, 4} & set(parts.test)) in (0, 5)


def test_two_large_groups_give_one_to_each_side():
    examples = [Example(f"{n}", "ab"[n % 2], group=str(n // 10)) for n in range(20)]
    parts = split(dataset(examples), [content(example.id) for example in examples], seed=0)
    assert (len(parts.train), len(parts.test)) == (10, 10)


def test_copies_across_a_given_split_are_counted_and_not_moved__IMG_20():
    data, hashes = given_parts(
        ("train", "a"), ("train", "b"), ("test", "a"), ("test", "b"), hashes=["x", "y", "x", "z"]
    )
    parts = split(data, hashes, seed=0)
    assert parts.test == (2, 3)
    assert any(note.startswith("1 example of other parts is an exact copy") for note in parts.notes)


def test_groups_across_a_given_split_are_counted():
    examples = [Example("1", "a", "train", "g"), Example("2", "b", "train"), Example("3", "a", "test", "g")]
    assert any(
        "1 example of other parts shares a group" in note
        for note in split(dataset(examples), ["1", "2", "3"], seed=0).notes
    )


def test_labels_per_class_are_nested_and_seeded():
    data, hashes = plain({"a": 60, "b": 60})
    draws = {n: split(data, hashes, seed=0, labels_per_class=n) for n in (1, 5, 10, 20)}
    full = split(data, hashes, seed=0)
    for few, many in ((1, 5), (5, 10), (10, 20)):
        assert set(draws[few].train) < set(draws[many].train) < set(full.train)
        assert draws[few].test == full.test
    assert Counter(data.examples[at].label for at in draws[5].train) == {"a": 5, "b": 5}
    assert draws[5].train != split(data, hashes, seed=1, labels_per_class=5).train


def test_too_few_labels_are_said():
    data, hashes = plain({"a": 60, "b": 10})
    parts = split(data, hashes, seed=0, labels_per_class=10)
    assert len(parts.train) == 17
    assert any("Fewer than 10 train examples" in note and "'b' 7" in note for note in parts.notes)


@pytest.mark.parametrize("wrong", [{"labels_per_class": 0}, {"test_share": 0.0}, {"test_share": 1.0}])
def test_arguments_out_of_range(wrong):
    data, hashes = plain({"a": 5, "b": 5})
    with pytest.raises(UsageError):
        split(data, hashes, seed=0, **wrong)


def test_an_example_between_the_parts_is_an_error():
    examples = [Example("1", "a", "train"), Example("2", "b")]
    with pytest.raises(DataError, match="2 without one"):
        split(dataset(examples), ["1", "2"], seed=0)


@st.composite
def labelled(draw: st.DrawFn) -> tuple[list[Example], list[str], list[int]]:
    """Examples of 2 to 4 classes, some of them copies or in groups, and an order to shuffle them into."""
    examples, hashes = [], []
    for label in "abcd"[: draw(st.integers(2, 4))]:
        for number in range(draw(st.integers(2, 25))):
            group = draw(st.sampled_from([None, None, None, f"{label}1", f"{label}2", f"{label}3"]))
            examples.append(Example(f"{label}/{number}", label, group=group))
            hashes.append(content(draw(st.sampled_from([f"{label}{number}", f"{label}{number}", f"{label} copy"]))))
    return examples, hashes, draw(st.permutations(range(len(examples))))


@given(labelled(), st.integers(0, 2**32), st.floats(0.05, 0.95))
@settings(max_examples=150)
def test_a_drawn_split_keeps_its_promises(found, seed, share):
    examples, hashes, order = found
    try:
        parts = split(dataset(examples), hashes, seed=seed, test_share=share)
    except DataError as error:
        assert "two sides of a split" in str(error)  # noqa: PT017 - a class of one unit cannot be split
        return
    train, test = set(parts.train), set(parts.test)
    assert not train & test
    assert train | test == set(range(len(examples)))
    assert not {hashes[at] for at in train} & {hashes[at] for at in test}
    assert not ({examples[at].group for at in train} - {None}) & ({examples[at].group for at in test} - {None})
    labels = {example.label for example in examples}
    assert {examples[at].label for at in train} == {examples[at].label for at in test} == labels
    again = split(dataset([examples[at] for at in order]), [hashes[at] for at in order], seed=seed, test_share=share)
    assert {examples[order[at]].id for at in again.test} == {examples[at].id for at in test}


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(2, 60), min_size=1), st.integers(0, 99), st.floats(0.1, 0.9)
)
@settings(max_examples=60)
def test_without_copies_and_groups_each_class_is_within_one_of_its_share(counts, seed, share):
    data, hashes = plain(counts)
    found = Counter(data.examples[at].label for at in split(data, hashes, seed=seed, test_share=share).test)
    for label, count in counts.items():
        assert abs(found[label] - count * share) <= 1
        assert 1 <= found[label] < count


def relatives_of(names: Sequence[str | None], parts: Sequence[Split | None]) -> tuple[Dataset, list[str]]:
    """Return examples of two classes, in turn, that have relatives and parts as named; and their hashes."""
    rows = enumerate(zip(names, parts, strict=True))
    examples = tuple(Example(f"e{at}", "ab"[at % 2], part, relatives=name) for at, (name, part) in rows)
    return dataset(examples), [f"{at:064x}" for at in range(len(examples))]


def test_relatives_stay_on_one_side_of_a_drawn_split__f31() -> None:
    names = [str(at // 4) for at in range(80)]
    data, hashes = relatives_of(names, [None] * 80)
    for seed in range(5):
        parts = split(data, hashes, seed=seed)
        assert not {names[at] for at in parts.train} & {names[at] for at in parts.test}
        assert parts.related == ()
        rest, out = hold_out(data, hashes, parts.train, share=0.2, seed=seed)
        assert out and not {names[at] for at in rest} & {names[at] for at in out}


def test_relatives_across_given_parts_are_counted_named_and_dropped__f31() -> None:
    names = ["x", "y", None, None, "x", "y", None, None]
    data, hashes = relatives_of(names, ["train"] * 4 + ["test"] * 4)
    parts = split(data, hashes, seed=0)
    assert parts.related == (4, 5)
    assert "2 examples of other parts are near copies of training examples (e4, e5)" in " ".join(parts.notes)
    dropped = split(data, hashes, seed=0, drop_test_duplicates=True)
    assert (dropped.train, dropped.related) == ((2, 3), ())
    assert "2 training examples are near copies" in " ".join(dropped.notes)


def test_a_class_that_is_one_cluster_of_relatives_is_divided_all_the_same() -> None:
    data, hashes = relatives_of(["x", None] * 10, [None] * 20)
    parts = split(data, hashes, seed=0)
    assert len(parts.test) == 6 and len(parts.related) == 3


def test_where_every_training_example_leaks_the_remedy_is_another_one__f31() -> None:
    data, hashes = relatives_of(["x", "y", "x", "y"], ["train", "train", "test", "test"])
    assert "given in one part" in " ".join(split(data, hashes, seed=0).notes)
    with pytest.raises(DataError, match="leave --drop-test-duplicates out, or give all examples in one part"):
        split(data, hashes, seed=0, drop_test_duplicates=True)


def test_clusters_are_named_after_their_first_member() -> None:
    examples = [
        Example("a", "x", relatives="1"),
        Example("b", "x"),
        Example("c", "x", relatives="1", group="g"),
        Example("d", "x", group="g"),
        Example("e", "x"),
        Example("f", "x"),
    ]
    hashes = ["0", "1", "2", "3", "4", "1"]
    assert clusters(examples, range(6), hashes).tolist() == [0, 1, 0, 0, 4, 1]
    assert clusters(examples, (3, 4, 5), hashes).tolist() == [3, 4, 5]
