"""What `scripts/smoke.py` does, step by step: it asks a deployment what a browser and an integrator would ask it."""
