"""Grafana dashboards as Python: what each panel asks, its unit, and how it is to be read.

deploy/grafana/dashboards holds the JSON that `python -m sequencer.dashboards` makes of them; a test fails when it is
stale. Queries speak of one network (`$network`) and of the instances that are chosen (`$instance`).
"""
