"""Grafana dashboards: their source (`vocero_dashboards`), what is made of it (`dashboards`), and pictures of them.

The key decision: nobody edits the JSON. `python -m grafana.generate` writes it, and a test holds both in step, so that
a dashboard is reviewed as code and a metric that is renamed is found here as well.
"""
