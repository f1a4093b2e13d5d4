"""What the machine says of itself: limits, cards, folders. Imports nothing of ours."""
