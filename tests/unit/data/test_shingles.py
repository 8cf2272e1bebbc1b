"""Texts that repeat each other are told from texts of one template (issue 16)."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.data.shingles import Wordings, normal_form

TEXTS = (
    "The quick brown fox jumps over the lazy dog near the river bank.",
    "What is the capital of Portugal, and how many people live there?",
    "What is the capital of Denmark, and how many people live there?",
    "My card was declined at the supermarket yesterday evening.",
    "The weather will be fine on Sunday, at least in the south.",
)
CHANGES = {
    "case": str.upper,
    "white space and marks": lambda text: "  " + text.replace(" ", "\n ").replace(".", " !!"),
    "a sentence more": lambda text: f"{text} Please tell me soon.",
    "a word before": lambda text: f"FW: {text}",
    "cut": lambda text: text[: int(0.8 * len(text))],
    "a word less": lambda text: text.replace(" the", "", 1).replace(" was", ""),
    "letters exchanged": lambda text: text.replace("ve", "ev"),
    "a letter other": lambda text: text.replace("river", "rivex").replace("capital", "kapital").replace("card", "cord"),
    "a space exchanged": lambda text: text.replace("n f", " nf").replace("s t", "st ").replace("d w", " dw"),
}


def related(*texts: str) -> np.ndarray:
    rows = np.arange(len(texts))
    pairs = np.stack(np.meshgrid(rows, rows, indexing="ij"), axis=-1).reshape(-1, 2)
    return Wordings([normal_form(text) for text in texts]).related(pairs).reshape(len(rows), len(rows))


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_text_repeats_its_original_alone(change: str) -> None:
    for text in (TEXTS[0], TEXTS[1], TEXTS[3]):
        changed = CHANGES[change](text)
        assert changed != text
        wordings = Wordings([normal_form(one) for one in (*TEXTS, changed)])
        assert wordings.repeats().tolist() == [[TEXTS.index(text), len(TEXTS)]]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (TEXTS[1], TEXTS[2]),  # another word in the place of the one that matters
        ("What is the capital of Portugal?", "Who lives in the capital of Portugal?"),
        ("Jackson Pollock is of what nationality?", "What nationality was Jackson Pollock?"),  # another order
        ("Please call 09061743810 at once", "Please call 09061743811 at once"),  # no slip: digits
        ("I saw the cat", "I saw the car"),
    ],
)
def test_texts_that_say_something_else_do_not_repeat_each_other(first: str, second: str) -> None:
    assert not related(*TEXTS[3:], first, second)[-2, -1]


def test_a_number_more_or_less_does_not_tell_long_texts_apart() -> None:
    text = (
        "Congratulations, you have been chosen to receive a prize worth five hundred pounds, call {} now to claim "
        "before the end of this week, standard rates apply to every network"
    )
    assert related(*TEXTS, text.format("0906174"), text.format("0871234"))[-2, -1]


def test_equal_texts_repeat_each_other_also_where_every_text_is_the_same() -> None:
    assert related("ok", "OK!").all()


def test_each_of_very_many_repeats_is_found() -> None:
    random = np.random.default_rng(0)
    words = ["".join(random.choice(list("abcdefghijk"), 6)) for _ in range(200)]
    text = "win a holiday for two in sunny spain today if you call"
    campaign = [f"{text} {words[row // 3]}" for row in range(300)]  # each text thrice, and a hundred of one template
    others = [" ".join(random.choice(words, 9)) for _ in range(200)]
    pairs = Wordings([*campaign, *others]).repeats()
    assert set(pairs.ravel().tolist()) == set(range(300))
    assert (pairs[:, 0] // 3 == pairs[:, 1] // 3).all()


def test_texts_without_a_word_are_no_repeats() -> None:
    assert len(Wordings(["", ""]).repeats()) == 0


def test_marks_within_words_and_spaces_do_not_set_texts_apart() -> None:
    assert normal_form("Isn\u2019t it o'clock?") == "isnt it oclock"
    same = related("My top-up for the shop isn't working", "my topup for the shop isnt working!", *TEXTS)
    assert same[0, 1] and not same[0, 2:].any()


def test_two_letters_exchanged_in_a_word_of_two_are_a_slip() -> None:
    assert related("Can I carry a parcel back to the depot?", "Can I carry a parcel back ot the depot?", *TEXTS)[0, 1]


def test_a_beginning_that_many_share_makes_no_repeat_and_a_rare_one_does() -> None:
    endings = ("at home", "from abroad", "on my old phone", "without the letter", "before Monday", "if it is blocked")
    common = [f"How do I reset my code {ending}?" for ending in endings]
    singles = ["Grandmother baked seventeen plum tarts.", "Grandmother baked seventeen plum tarts. Come and help us."]
    wordings = Wordings([normal_form(text) for text in (*common, "How do I reset my code?", *singles)])
    assert wordings.repeats().tolist() == [[7, 8]]


def test_rows_stay_as_they_were_written_where_words_stand_in_a_text_twice() -> None:
    first = "the cat saw the dog and the dog saw the cat and the mouse"
    assert Wordings([first, f"{first} ran", *map(normal_form, TEXTS)]).repeats().tolist() == [[0, 1]]


def test_what_is_no_letter_parts_words_and_apostrophes_do_not() -> None:
    assert normal_form("d\u00e9j\u00e0-vu, O\u2019Neill''s snake_case\t\u0967\u0968 \u2116 5") == (
        "d\u00e9j\u00e0 vu oneills snake_case \u0967\u0968 no 5"
    )


def test_plain_and_other_letters_come_to_one_spelling() -> None:
    text = "".join(map(chr, range(128))) * 2
    assert normal_form(f"{text} \u00e9").split() == [*normal_form(text).split(), "\u00e9"]


def test_the_quick_look_denies_no_pair_that_the_slow_one_takes() -> None:
    random = np.random.default_rng(0)
    vocabulary = np.array([f"{a}{b}{c}o" for a in "bdfglm" for b in "aeiu" for c in "nrst"])
    originals = [random.choice(vocabulary, random.integers(2, 30)) for _ in range(60)]
    changed = [np.where(random.random(len(words)) < 0.1, random.choice(vocabulary), words) for words in originals]
    wordings = Wordings([*(" ".join(words) for words in (*originals, *changed)), ""])
    rows = np.arange(121)
    pairs = np.stack(np.meshgrid(rows, rows), axis=-1).reshape(-1, 2)
    likely = wordings._may_be_related(pairs)
    assert likely.sum() > 121 and wordings._may_share_words(pairs)[likely].all()
    assert not wordings._may_share_words(pairs).all()
