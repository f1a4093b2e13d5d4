"""The engine for Hailo-8 cards, through HailoRT."""
