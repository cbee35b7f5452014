"""What agents predicted and what came of it: joined, scored, and held against each other."""
