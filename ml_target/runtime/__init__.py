"""The running worker: loading, the way of a request, and the memory it may use."""
