"""perf_analyzer is found or asked for in one line, and its report is read."""

import os
import sysconfig

import pytest

from visrec_bench.errors import BenchError
from visrec_bench.perf_analyzer import Load, PerfAnalyzer, Target, read_report

COLUMNS = (
    "Concurrency,Inferences/Second,Client Send,p50 latency,p90 latency,p95 latency,p99 latency,Avg latency"
)


@pytest.mark.parametrize("given", [{}, {"concurrency": 1, "rate": 2.0}, {"concurrency": 0}, {"rate": -1.0}])
def test_a_load_is_a_concurrency_or_a_rate(given):
    with pytest.raises(ValueError, match="give one of them"):
        Load(**given)


def test_the_installed_one_is_found_although_two_libraries_have_other_names(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    analyzer = PerfAnalyzer.find(tmp_path / "lib")
    target = Target(url="localhost:1", model="recommender", input_data=tmp_path / "requests.json")
    line = analyzer.line(analyzer.command(target, Load(rate=12.5), 6))
    assert line.startswith(f"LD_LIBRARY_PATH={tmp_path / 'lib'} ")
    assert "--request-distribution poisson" in line
    with pytest.raises(BenchError, match=r"perf_analyzer failed at 12\.5/s"):
        analyzer.run(target, Load(rate=12.5), 1, tmp_path / "report.csv")


def test_without_one_the_user_is_told_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(BenchError, match=r"pip install 'visrec\[bench\]'"):
        PerfAnalyzer.find(tmp_path / "lib")


def test_a_report_is_read_in_milliseconds(tmp_path):
    report = tmp_path / "report.csv"
    report.write_text(f"{COLUMNS}\n32,177.5,26,174800,200100,210000,230500,176000\n\nModel: encoder\n")
    latencies = read_report(report)
    assert (latencies.throughput, latencies.p50_ms, latencies.p99_ms) == (177.5, 174.8, 230.5)


def test_an_empty_report_is_an_error(tmp_path):
    report = tmp_path / "report.csv"
    report.write_text(COLUMNS + "\n")
    with pytest.raises(BenchError, match="can't be read"):
        read_report(report)
