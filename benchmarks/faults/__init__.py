"""What happens when things break: each row of benchmarks/results/faults.json, from real servers."""
