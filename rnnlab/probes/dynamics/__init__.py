"""The network as a dynamical system."""
