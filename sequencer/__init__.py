"""The node, and what people touch: sockets, disk, HTTP and command line around the pure rules of `consensus`."""

__version__ = "0.1.0"
