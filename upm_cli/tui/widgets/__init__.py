"""What screens are made of: each takes values and draws them, and reads nothing."""
