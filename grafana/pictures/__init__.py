"""Pictures of the dashboards, from a real Prometheus' data and without a Grafana: for docs/, and for looking at them.

The key decision: what is drawn is the JSON that Grafana reads, its grid, units, thresholds and legends; so a picture
shows whether a dashboard says anything, though not each of Grafana's own strokes.
"""
