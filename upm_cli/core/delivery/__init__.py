"""What is handed to agents, in what form, when they take it, and in which order it is sent."""
