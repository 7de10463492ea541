"""What benchmarks/raft.py reads out of the clients' reports, which rounds count, and what it calls met."""

from pathlib import Path

import pytest
from side_by_side import targets
from side_by_side.cluster import Cluster
from side_by_side.failover import Times
from side_by_side.load import Round, Workload, read_etcd, read_redis
from side_by_side.prober import Prober, Success
from side_by_side.processes import file_system, free_ports

REDIS = """\r                                                    \r====== SET key:__rand_int__ aaaa ======
  50000 requests completed in 0.92 seconds
  multi-thread: no

Latency by percentile distribution:
0.000% <= 0.127 milliseconds (cumulative count 1)
50.000% <= 0.495 milliseconds (cumulative count 25764)
99.805% <= 3.895 milliseconds (cumulative count 49903)
99.902% <= 4.383 milliseconds (cumulative count 49952)
100.000% <= 4.855 milliseconds (cumulative count 50000)

Cumulative distribution of latencies:
0.000% <= 0.103 milliseconds (cumulative count 0)
100.000% <= 5.103 milliseconds (cumulative count 50000)

Summary:
  throughput summary: 54347.82 requests per second
  latency summary (msec):
          avg       min       p50       p95       p99       max
        0.532     0.120     0.495     0.719     1.047     4.855
"""
ETCD = """
Summary:
  Total:	0.1012 secs.
  Slowest:	0.0178 secs.
  Requests/sec:	3952.569170

Latency distribution:
  10% in 0.0075 secs.
  50% in 0.009925679 secs.
  99% in 0.0178 secs.
"""


def test_a_report_of_redis_benchmark_is_read() -> None:
    found = read_redis(REDIS)
    assert (found.per_second, found.p50_ms, found.p99_ms, found.p999_ms) == (54347.82, 0.495, 1.047, 4.383)


def test_a_report_of_etcds_benchmark_is_read_and_a_percentile_without_operations_is_the_highest() -> None:
    found = read_etcd(ETCD)
    assert found.per_second == pytest.approx(3952.57, abs=0.01)
    assert found.p50_ms == pytest.approx(9.925679)
    assert found.p99_ms == found.p999_ms == pytest.approx(17.8)
    assert read_etcd(ETCD + "  99.9% in 0.02 secs.\n").p999_ms == pytest.approx(20)


@pytest.mark.parametrize("output", ["", "Error from server: BUSY", REDIS + "Error from server: BUSY"])
def test_a_client_that_met_errors_gives_no_numbers(output: str) -> None:
    with pytest.raises((IndexError, TypeError, ValueError)):
        read_redis(output)
    with pytest.raises((IndexError, TypeError, ValueError)):
        read_etcd(ETCD + "\nError distribution:\n  [3]	etcdserver: request timed out\n" if output else "")


def measured(
    per_second: float = 1000.0, client: float = 1.0, server: float = 9.0, elections: int = 0
) -> Round:
    return Round(1000, per_second, 1.0, 5.0, 9.0, client, server, [50.0], elections)


def test_a_round_counts_unless_the_client_did_most_of_the_work_or_leaders_changed() -> None:
    assert measured(client=5, server=5).counts
    assert not measured(client=5.1, server=4.9).counts
    assert not measured(elections=1).counts


def test_the_median_is_of_the_rounds_that_count() -> None:
    cell = targets.Cell([measured(100), measured(300), measured(900, client=99)])
    assert cell.median("per_second") == 200
    assert targets.Cell([measured(900, client=99)]).median("per_second") == 900


def test_a_target_is_met_by_the_ratio_and_not_told_when_no_round_counts() -> None:
    workload = Workload("write", 64, 50)
    [ratio, p99] = targets.load_verdicts({workload: {"faultlab": [measured(3000)], "etcd": [measured(1000)]}})
    assert ratio.met is True
    assert p99.met is True
    [ratio, _] = targets.load_verdicts({workload: {"faultlab": [measured(2999)], "etcd": [measured(1000)]}})
    assert ratio.met is False
    slow_client = {workload: {"faultlab": [measured(9000)], "etcd": [measured(1000, client=99)]}}
    assert [verdict.met for verdict in targets.load_verdicts(slow_client)] == [None, None]


def test_a_failover_is_held_to_its_median_and_its_maximum() -> None:
    assert [v.met for v in targets.kill_verdicts(Times([100.0] * 49 + [1200.0]))] == [True, True]
    assert [v.met for v in targets.kill_verdicts(Times([501.0] * 26 + [100.0] * 24 + [1201.0]))] == [
        False,
        False,
    ]


def test_a_gap_reaches_from_the_last_write_before_to_the_first_after() -> None:
    prober = Prober(Cluster.__new__(Cluster), [])
    prober.successes = [Success(at - 0.001, at) for at in (1.0, 1.01, 1.02, 1.08, 1.09)]
    assert prober.longest_gap_s(1.03) == pytest.approx(0.06)
    assert prober.longest_gap_s(1.085) == pytest.approx(0.01)


def test_ports_are_free_and_all_different_and_a_file_system_has_a_name(tmp_path: Path) -> None:
    assert len(set(free_ports(9))) == 9
    assert file_system(Path("/proc")) == "proc"
    assert file_system(tmp_path) != "unknown"
