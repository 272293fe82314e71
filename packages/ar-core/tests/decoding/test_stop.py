"""Where a row ends, and what may be streamed before it does."""

import pytest
from ar_core.decoding import Finish, StopRule, text_before
from ar_core.decoding.token_stream import TokenStream
from ar_core.errors import ConfigError

WORDS = {0: "one ", 1: "two ", 2: "three", 3: ".\n", 4: "\nQ", 5: ": ", 6: "end", 9: "!"}
BYTES = {20: b"\xc3", 21: b"\xa9", 22: b"caf"}


def decode(ids: list[int]) -> str:
    return b"".join(BYTES.get(i, WORDS.get(i, "").encode()) for i in ids).decode(errors="replace")


def rule(**settings) -> StopRule:
    defaults = {"stop_ids": frozenset({9}), "max_new_tokens": 6, "decode": decode}
    return StopRule(**{**defaults, **settings})


@pytest.mark.parametrize("at", range(6))
@pytest.mark.parametrize("keep", [False, True])
def test_stop_id_at_every_position(at, keep):
    tokens = [0] * at + [9] + [1] * 5
    assert rule(keep_stop=keep).check(tokens) == Finish(at + keep, "stop_id")


def test_length_is_exact_and_a_stop_id_behind_it_does_not_count():
    assert rule().check([0] * 5) is None
    assert rule().check([0] * 6) == Finish(6, "length")
    assert rule().check([0] * 6 + [9]) == Finish(6, "length")
    assert rule(keep_stop=True).check([0] * 5 + [9]) == Finish(6, "stop_id")


def test_several_stop_ids_the_first_counts():
    assert rule(stop_ids=frozenset({9, 6})).check([0, 6, 9]) == Finish(1, "stop_id")


def test_only_new_tokens_are_looked_at():
    assert rule().check([9, 0, 0], seen=1) is None
    assert rule().check([0, 0, 9], seen=2) == Finish(2, "stop_id")


def test_stop_string_across_tokens_cuts_before_it_begins():
    stops = rule(stop_strings=("\nQ: ",))
    assert stops.check([0, 1, 4]) is None
    assert stops.check([0, 1, 4, 5, 2]) == Finish(2, "stop_string")
    assert rule(stop_strings=("\nQ: ",), keep_stop=True).check([0, 1, 4, 5, 2]) == Finish(4, "stop_string")


def test_stop_string_that_begins_inside_a_token_drops_that_token():
    assert rule(stop_strings=("ree.",)).check([0, 2, 3]) == Finish(1, "stop_string")


def test_tokens_of_a_stop_string_are_kept_where_the_text_is_to_be_cut():
    stops = rule(stop_strings=("ree.",), keep_string=True)
    assert stops.check([0, 2, 3, 1]) == Finish(3, "stop_string")
    assert text_before(decode([0, 2, 3]), stops.stop_strings) == "one th"
    assert stops.settled([0, 2]) == 2
    assert stops.check([0, 2, 9]) == Finish(2, "stop_id"), "a stop token goes as ever"


def test_text_ends_before_the_first_of_the_stop_strings():
    assert text_before("a\nclass\ndef", ("\ndef", "\nclass")) == "a"
    assert text_before("abc", ("x",)) == text_before("abc", ()) == "abc"


def test_the_earliest_of_several_strings_counts_and_an_id_goes_first():
    assert rule(stop_strings=("three", "two")).check([0, 1, 2]) == Finish(1, "stop_string")
    assert rule(stop_strings=("!",)).check([0, 9]) == Finish(1, "stop_id")
    assert rule(stop_strings=("one",), max_new_tokens=1).check([0]) == Finish(0, "stop_string")


def test_settled_holds_back_what_may_begin_a_stop_string():
    stops = rule(stop_strings=("\nQ: ", "three!"))
    assert stops.settled([0, 1]) == 2
    assert stops.settled([0, 3]) == 1, "the token ends with the first character of a stop string"
    assert stops.settled([0, 3, 0]) == 3
    assert stops.settled([0, 4]) == 1
    assert stops.settled([0, 2]) == 1
    assert stops.settled([0, 2, 1]) == 3
    assert rule(stop_strings=("\nQ: ",), keep_stop=True).settled([0, 4]) == 2
    assert rule().settled([0, 4]) == 2


def test_settled_holds_back_half_a_character():
    stops = rule(stop_strings=("é!",))
    assert stops.settled([22, 20]) == 1
    assert stops.settled([22, 20, 21]) == 1
    assert stops.settled([22, 20, 21, 0]) == 4


@pytest.mark.parametrize("strings", [(), ("\nQ: ",), ("two t",)])
@pytest.mark.parametrize("tokens", [[0, 1, 2, 3, 4, 5], [0, 4, 0, 4, 5, 1], [1, 1, 2, 9], [0, 0, 0, 4, 9]])
def test_streamed_tokens_are_exactly_the_output(strings, tokens):
    stops, sent = rule(stop_strings=strings), []
    stream = TokenStream(3, lambda row, new: sent.append((row, new)), stops)
    row: list[int] = []
    for token in tokens:
        row.append(token)
        end = stops.check(row, seen=len(row) - 1)
        if end:
            del row[end.length :]
        stream.advance(row, finished=end is not None)
        if end:
            break
    assert [t for _, new in sent for t in new] == row
    assert all(new and number == 3 for number, new in sent)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0; it must be at least 1"),
        ({"max_new_tokens": 4.5}, "max_new_tokens is 4.5; give an integer"),
        ({"max_new_tokens": None}, "max_new_tokens is None; give an integer"),
        ({"stop_ids": 2}, "stop_ids is 2; give a set of token ids"),
        ({"stop_ids": "ab"}, "stop_ids is 'ab'; give a set of token ids"),
        ({"stop_strings": "ab"}, "stop_strings is 'ab'; give a sequence of non-empty strings"),
        ({"stop_strings": ("",)}, "non-empty"),
        ({"stop_strings": ("a",), "decode": None}, "without decode; give the function that turns ids into text"),
    ],
)
def test_impossible_rules_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        rule(**settings)
