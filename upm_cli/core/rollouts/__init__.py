"""The parts of core/rollout.py: what a rollout is, sees, may, decides; and the check of all it can get into."""
