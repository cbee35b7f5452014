"""What an agent imports: open a model directory or URL, verify, predict, follow what is live, tell what came of it."""
