"""`python -m benchmarks` is `python -m benchmarks.calls`."""

from benchmarks.calls import main

main()
