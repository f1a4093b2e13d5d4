"""Files into pixels: the structure of a file is read before it is decoded, in this process or in the helper."""
