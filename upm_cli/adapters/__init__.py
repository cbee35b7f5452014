"""Handing models to agents: what every kind of adapter has to do, and the kinds."""
