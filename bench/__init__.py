"""Benchmarks: ratios against hand-written code, plain loops, peers and the bare limit. See README.md."""
