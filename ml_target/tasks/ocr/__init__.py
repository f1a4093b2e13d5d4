"""Text in pictures: lines found, cut out, read."""
