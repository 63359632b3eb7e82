"""What lies in deploy/: held against schemas and tools, and played as far as can be without a cluster or an engine."""
