"""What is offered and when: the schedule, the choice of operations, the windows."""

from collections import Counter

import pytest

from faultlab.contract.load import Arrival, Keys, Mix
from faultlab.load.choice import LIST_LENGTH, Chooser, Operation
from faultlab.load.schedule import MISSED_AFTER_NS, Schedule

SECOND = 1_000_000_000


def test_a_constant_rate_spaces_arrivals_evenly_whoever_takes_them() -> None:
    schedule = Schedule(Arrival("constantRate", 100.0), workers=1)
    taken = [schedule.take(0) for _ in range(300)]
    assert taken == [n * SECOND // 100 for n in range(300)]


def test_workers_share_the_rate() -> None:
    schedule = Schedule(Arrival("constantRate", 100.0), workers=4)
    assert [schedule.take(0) for _ in range(3)] == [0, SECOND // 25, 2 * SECOND // 25]


def test_arrivals_overdue_by_more_than_the_limit_are_given_up_and_counted() -> None:
    schedule = Schedule(Arrival("constantRate", 10.0), workers=1)
    assert schedule.take(0) == 0
    intended = schedule.take(5 * SECOND)
    assert intended == 5 * SECOND - MISSED_AFTER_NS
    assert schedule.missed == 39


def test_a_closed_loop_has_no_schedule() -> None:
    assert Schedule(Arrival("closedLoop"), workers=1).take(123) is None


def _draw(seed: int, keys: Keys, mix: Mix, count: int = 4000) -> list[tuple[str, str, object]]:
    chooser = Chooser(mix, keys, seed=seed, worker=1)
    drawn = []
    for _ in range(count):
        operation = chooser.next()
        if operation.f == "write":
            chooser.saw(operation.key, str(operation.value))
        drawn.append((operation.f, operation.key, operation.value))
    return drawn


def test_the_seed_decides_everything() -> None:
    assert _draw(7, Keys(), Mix(1, 1, 1)) == _draw(7, Keys(), Mix(1, 1, 1))
    assert _draw(7, Keys(), Mix(1, 1, 1)) != _draw(8, Keys(), Mix(1, 1, 1))


def test_no_value_is_written_twice() -> None:
    values = [
        v if f == "write" else v[1] for f, _, v in _draw(1, Keys(), Mix(0, 1, 1)) if isinstance(v, str | list)
    ]
    assert len(values) == len(set(values)) == 4000


def test_the_mix_is_met_within_a_few_percent() -> None:
    kinds = Counter(f for f, _, _ in _draw(3, Keys(count=5), Mix(50, 35, 15), count=20_000))
    assert kinds["read"] / 20_000 == pytest.approx(0.50, abs=0.02)
    assert kinds["cas"] / 20_000 == pytest.approx(0.15, abs=0.02)


def test_zipfian_keys_follow_zipfs_law_and_uniform_ones_do_not() -> None:
    zipf = Counter(k for _, k, _ in _draw(5, Keys(100, "zipfian", 1.0), Mix(1, 0, 0), count=50_000))
    assert zipf["k0"] / zipf["k9"] == pytest.approx(10, rel=0.25)
    flat = Counter(k for _, k, _ in _draw(5, Keys(100, "uniform"), Mix(1, 0, 0), count=50_000))
    assert max(flat.values()) < 1.3 * min(flat.values())


EVERYTHING = Mix(read=40, write=15, cas=15, append=20, incr=10)


def _operations(mix: Mix, keys: Keys, count: int) -> tuple[Chooser, list[Operation]]:
    chooser = Chooser(mix, keys, seed=3, worker=0)
    return chooser, [chooser.next() for _ in range(count)]


def test_each_key_is_one_thing_only() -> None:
    _, drawn = _operations(EVERYTHING, Keys(count=5), 5000)
    types: dict[str, set[str]] = {}
    for operation in drawn:
        types.setdefault(operation.key, set()).add(operation.type)
    assert all(len(found) == 1 for found in types.values())
    assert {found for each in types.values() for found in each} == {"register", "list", "counter"}


def test_reads_are_spread_as_what_changes_the_keys_is() -> None:
    _, drawn = _operations(EVERYTHING, Keys(count=5), 20_000)
    reads = Counter(operation.type for operation in drawn if operation.f == "read")
    assert reads["register"] / reads.total() == pytest.approx(0.5, abs=0.03)
    assert reads["counter"] / reads.total() == pytest.approx(1 / 6, abs=0.03)


def test_no_list_is_offered_more_than_its_share_and_the_final_reads_reach_all_of_them() -> None:
    chooser, drawn = _operations(EVERYTHING, Keys(count=2), 5000)
    appended = Counter(operation.key for operation in drawn if operation.f == "append")
    assert max(appended.values()) == LIST_LENGTH
    assert len(appended) > 10
    assert {operation.key for operation in drawn} <= {read.key for read in chooser.reads()}


def test_appended_values_can_be_told_apart_when_they_are_written_one_after_the_other() -> None:
    _, drawn = _operations(Mix(0, 0, 0, 1, 0), Keys(count=1), LIST_LENGTH)
    values = [operation.value for operation in drawn]
    assert len(set(values)) == LIST_LENGTH
    assert all(isinstance(value, str) and value.endswith(",") and "," not in value[:-1] for value in values)


def test_commands_are_those_of_the_keys_type() -> None:
    _, drawn = _operations(EVERYTHING, Keys(count=2), 500)
    sent = {(operation.f, operation.type): operation.command()[0] for operation in drawn}
    assert sent == {
        ("read", "register"): "GET",
        ("read", "counter"): "GET",
        ("read", "list"): "LRANGE",
        ("write", "register"): "SET",
        ("append", "list"): "RPUSH",
        ("incr", "counter"): "INCR",
    }
