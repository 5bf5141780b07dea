"""The downsampling network (DSN) and its file."""
