"""Files into pixels: what a file is made of is read before it is decoded, in this process or outside."""
