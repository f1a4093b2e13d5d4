"""HailoRT's two packages in a folder: which are there, which fits the driver, unpacking, loading."""
