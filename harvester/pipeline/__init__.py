"""The pipeline: wires the stages, with bounded queues between them (read harvest.py first)."""
