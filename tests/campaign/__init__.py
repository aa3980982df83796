"""The fault campaign: clients that talk while everything breaks, and an oracle that compares what they heard."""
