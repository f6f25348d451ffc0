"""The local cluster: real Kubernetes programs on this machine, for the demo, the tests and the benchmarks."""
