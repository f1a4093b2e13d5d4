"""Smart search: pictures and texts as vectors in one space."""
