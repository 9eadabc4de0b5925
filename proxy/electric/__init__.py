"""Electric: requests to it, what its answers mean, and the shapes that the proxy follows itself."""
