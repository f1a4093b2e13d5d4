"""The page that a browser gets at `/status`: what it shows, and `/try`, which answers the photos tried on it."""
