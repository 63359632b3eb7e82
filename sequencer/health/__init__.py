"""Is a node, or a whole network, well? Facts that nodes tell, judged by fixed limits, for people and for monitoring.

`facts` reads what a node says at /v1/status and /metrics, `checks` judges it and is pure, `rendering` makes text, JSON,
Prometheus' textfile format or a plugin's line of it.
"""
