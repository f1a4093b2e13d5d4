"""HailoRT's two packages in a folder: fetching them, which are there, which fits the driver, unpacking, loading."""
